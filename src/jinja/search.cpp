#include "jinja/search.h"

#include <vector>

namespace assay::jinja {

namespace {

constexpr uint64_t npos = std::string_view::npos;
constexpr uint64_t short_enough = 32;  // bytes of a pattern whose n·m is still fine

/// Knuth, Morris and Pratt, "Fast pattern matching in strings" (1977).
uint64_t find_long(std::string_view text, std::string_view wanted, uint64_t from, bool last) {
  std::vector<uint64_t> border(wanted.size() + 1, 0);
  for (uint64_t i = 1, k = 0; i < wanted.size(); ++i) {
    while (k > 0 && wanted[i] != wanted[k]) k = border[k];
    k += wanted[i] == wanted[k];
    border[i + 1] = k;
  }
  uint64_t found = npos;
  for (uint64_t i = from, k = 0; i < text.size(); ++i) {
    while (k > 0 && text[i] != wanted[k]) k = border[k];
    k += text[i] == wanted[k];
    if (k < wanted.size()) continue;
    found = i + 1 - wanted.size();
    if (!last) break;
    k = border[k];
  }
  return found;
}

}  // namespace

uint64_t find_text(std::string_view text, std::string_view wanted, uint64_t from) {
  if (wanted.size() <= short_enough) return text.find(wanted, from);
  return from > text.size() ? npos : find_long(text, wanted, from, false);
}

uint64_t find_last_text(std::string_view text, std::string_view wanted) {
  return wanted.size() <= short_enough ? text.rfind(wanted) : find_long(text, wanted, 0, true);
}

uint64_t count_text(std::string_view text, std::string_view wanted) {
  uint64_t count = 0;
  for (uint64_t at = find_text(text, wanted, 0); at != npos;
       at = find_text(text, wanted, at + wanted.size())) {
    ++count;
  }
  return count;
}

}  // namespace assay::jinja
