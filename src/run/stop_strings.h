// Cuts generated text at a stop string, wherever the pieces that it arrives in are cut.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace assay::run {

/// Text goes in piece by piece; what can no longer belong to a stop string comes out at once, the
/// rest is held back. The first stop string to be complete ends the text (of two complete at the
/// same byte, the longer); it is not given out. The result does not depend on how the text is cut
/// into pieces. Empty stop strings are ignored.
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
