#include "nearest.h"

#include <algorithm>
#include <cctype>

namespace {

std::string plain(std::string_view name) {
  std::string out(name);
  std::ranges::transform(out, out.begin(),
                         [](unsigned char c) { return char(c == '_' ? '-' : std::tolower(c)); });
  out.erase(0, std::min(out.find_first_not_of('-'), out.size()));
  return out;
}

/// Characters to insert, delete, replace or swap with their neighbour (optimal string alignment).
size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<size_t>> d(a.size() + 1, std::vector<size_t>(b.size() + 1));
  for (size_t i = 0; i <= a.size(); ++i) d[i][0] = i;
  for (size_t j = 0; j <= b.size(); ++j) d[0][j] = j;
  for (size_t i = 1; i <= a.size(); ++i)
    for (size_t j = 1; j <= b.size(); ++j) {
      d[i][j] =
          std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

}  // namespace

std::string nearest(std::string_view name, const std::vector<std::string>& known) {
  constexpr size_t longest = 64;  // no option is longer, and the table grows with the square
  const std::string wanted = plain(name);
  if (wanted.empty() || wanted.size() > longest) return "";
  const size_t most = wanted.size() < 3 ? 0 : std::max<size_t>(1, wanted.size() / 3);
  std::string best;
  size_t least = most + 1;
  for (const std::string& one : known) {
    const std::string candidate = plain(one);
    // Of one or two letters, only the other case is near.
    const bool letters = candidate.size() < 3 || wanted.size() < 3;
    const size_t apart = distance(wanted, candidate);
    if (apart < least && (!letters || apart == 0)) {
      least = apart;
      best = one;
    }
  }
  if (!best.empty() || wanted.size() < 2) return best;
  for (const std::string& one : known) {
    const std::string candidate = plain(one);
    if (candidate.starts_with(wanted) || (candidate.size() > 2 && wanted.starts_with(candidate)))
      return one;
  }
  return "";
}
