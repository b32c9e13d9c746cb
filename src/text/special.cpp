#include "text/special.h"

#include <algorithm>

namespace assay::text {
namespace {

uint64_t edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
}

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

}  // namespace

SpecialTokens::SpecialTokens() : nodes_(1) {}

uint32_t SpecialTokens::child(uint32_t node, char byte) const {
  const auto found = children_.find(edge(node, byte));
  return found == children_.end() ? 0 : found->second;
}

int32_t SpecialTokens::add(std::string_view spelling, const SpecialToken& special) {
  if (spelling.empty()) return -1;
  begins_[static_cast<uint8_t>(spelling[0])] = true;
  uint32_t node = 0;
  for (const char byte : spelling) {
    const auto [place, inserted] =
        children_.try_emplace(edge(node, byte), static_cast<uint32_t>(nodes_.size()));
    if (inserted) nodes_.emplace_back();
    node = place->second;
  }
  const int32_t before = nodes_[node].token;
  if (before < 0) nodes_[node] = special;
  return before;
}

SpecialTokens::Match SpecialTokens::longest(std::string_view text, uint64_t parsed) const {
  Match found;
  uint32_t node = 0;
  for (uint64_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == 0) break;
    const SpecialToken& special = nodes_[node];
    if (special.token >= 0 && (i < parsed || special.always)) found = {i + 1, &special};
  }
  return found;
}

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool parse_special,
                                           std::span<const Span> plain) const {
  std::vector<Fragment> fragments;
  uint64_t begin = 0;  // of the ordinary text not yet given out
  for (uint64_t i = 0; i < text.size();) {
    if (!begins_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    while (!plain.empty() && plain.front().end <= i) plain = plain.subspan(1);
    const uint64_t stop = plain.empty() ? text.size() : std::max(plain.front().begin, i);
    const Match match = longest(text.substr(i), parse_special ? stop - i : 0);
    if (match.special == nullptr) {
      ++i;
      continue;
    }
    uint64_t end = i;
    while (match.special->strips_left && end > begin && is_space(text[end - 1])) --end;
    if (end > begin) fragments.push_back({text.substr(begin, end - begin)});
    fragments.push_back({text.substr(i, match.length), match.special->token});
    i += match.length;
    while (match.special->strips_right && i < text.size() && is_space(text[i])) ++i;
    begin = i;
  }
  if (begin < text.size()) fragments.push_back({text.substr(begin)});
  return fragments;
}

}  // namespace assay::text
