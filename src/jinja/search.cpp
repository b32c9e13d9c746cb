#include "jinja/search.h"

#include <vector>

namespace assay::jinja {

namespace {

constexpr uint64_t npos = std::string_view::npos;
constexpr uint64_t short_enough = 32;  // bytes of a pattern whose n·m is still fine

/// Knuth, Morris and Pratt, "Fast pattern matching in strings" (1977).
uint64_t find_long(std::string_view text, std::string_view wanted, uint64_t from) {
  std::vector<uint64_t> border(wanted.size() + 1, 0);
  for (uint64_t i = 1, k = 0; i < wanted.size(); ++i) {
    while (k > 0 && wanted[i] != wanted[k]) k = border[k];
    k += wanted[i] == wanted[k];
    border[i + 1] = k;
  }
  for (uint64_t i = from, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != wanted[k]) k = border[k];
    k += text[i] == wanted[k];
    if (k == wanted.size()) return i + 1 - k;
  }
  return npos;
}

}  // namespace

uint64_t find_text(std::string_view text, std::string_view wanted, uint64_t from) {
  if (wanted.size() <= short_enough) return text.find(wanted, from);
  return from > text.size() ? npos : find_long(text, wanted, from);
}

}  // namespace assay::jinja
