// What another engine calls its tensors, as a YAML file maps it to the names of docs/trace-format.md.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::trace {

/// What a tensor of the engine is.
struct MappedName {
  std::string canonical;  ///< "blk.3.q"; empty: none of them, and not to be listed as unknown
  bool halves =
      false;  ///< lanes i and i + d/2 of a head are partners, which the file has as 2i and 2i + 1
};

class NameMap {
 public:
  /// Errors, one sentence each: cannot be read; not YAML; not a map of texts; a name that stands twice;
  /// a name with {n} for one without, or the reverse.
  static Result<NameMap> open(const std::string& path);
  static Result<NameMap> parse(const std::string& text, const std::string& path);
  /// Every name is its own: what a trace holds, whatever it is called, and be it that two are called so.
  static NameMap as_they_are();
  bool is_as_they_are() const { return as_they_are_; }

  bool empty() const { return names_.empty() && patterns_.empty() && !as_they_are_; }
  /// Nothing where the map doesn't have it.
  std::optional<MappedName> find(std::string_view name) const;

 private:
  struct Pattern {
    std::string before, after;  ///< of {n}, which stands for digits
    MappedName mapped;
  };
  std::map<std::string, MappedName, std::less<>> names_;
  std::vector<Pattern> patterns_;
  bool as_they_are_ = false;
};

}  // namespace assay::trace
