// A string of a template, which knows where its bytes come from.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace assay::jinja {

/// Where a byte comes from: the template itself, or a variable, whose text it only quotes. What a
/// template makes of a quoted character (its upper case, its escape) is quoted, too.
enum class Origin : char {
  own,     ///< the template's
  quoted,  ///< of a variable
  asked,   ///< of the one value that the caller asked about
};

struct Text {
  std::string bytes;    ///< valid UTF-8
  std::string origins;  ///< an Origin a byte; empty where all are the template's own

  Text() = default;
  explicit Text(std::string text, Origin origin = Origin::own) : bytes(std::move(text)) {
    mark(0, origin);
  }

  uint64_t size() const { return bytes.size(); }
  bool empty() const { return bytes.empty(); }
  bool is_own() const { return origins.empty(); }
  Origin origin(uint64_t i) const { return origins.empty() ? Origin::own : Origin{origins[i]}; }

  /// Gives all bytes from `begin` on this origin.
  void mark(uint64_t begin, Origin origin);

  // Text of the template's own.
  Text& operator+=(std::string_view own);
  Text& operator+=(char own) { return *this += std::string_view(&own, 1); }

  Text& operator+=(const Text& other) { return append(other, 0); }
  Text& append(const Text& other, uint64_t begin, uint64_t count = std::string::npos);

  Text part(uint64_t begin, uint64_t count = std::string::npos) const;
  /// The part that `inside`, a view of `bytes`, shows.
  Text part(std::string_view inside) const;
};

}  // namespace assay::jinja
