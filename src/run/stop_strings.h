// Cuts generated text at a stop string, even if the string arrives in several pieces.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay::run {

/// Takes text piece by piece. Text that can no longer be part of a stop string is returned at once;
/// the rest is held back. The first complete stop string ends the text (if two are complete at the
/// same byte, the longer one); it is not returned. The result does not depend on how the text is
/// cut into pieces. Empty stop strings are ignored.
class StopStrings {
 public:
  explicit StopStrings(std::vector<std::string> stops);

  struct Out {
    std::string text;      ///< may be shown now
    bool stopped = false;  ///< a stop string has been seen; later text is swallowed
  };
  Out add(std::string_view piece);

  /// The text still held back when the generation has ended otherwise; empty after a stop.
  std::string finish();

 private:
  std::vector<std::string> stops_;
  std::string held_;  ///< the longest end of the text that begins a stop string
  bool stopped_ = false;
};

}  // namespace assay::run
