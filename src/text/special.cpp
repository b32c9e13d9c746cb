#include "text/special.h"

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

SpecialTokens::Match SpecialTokens::longest(std::string_view text, bool parse_special) const {
  Match found;
  uint32_t node = 0;
  for (uint64_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == 0) break;
    const SpecialToken& special = nodes_[node];
    if (special.token >= 0 && (parse_special || special.always)) found = {i + 1, &special};
  }
  return found;
}

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool parse_special,
                                           std::span<const uint64_t> plain_at) const {
  std::vector<Fragment> fragments;
  uint64_t begin = 0;  // of the ordinary text not yet given out
  for (uint64_t i = 0; i < text.size();) {
    if (!begins_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    while (!plain_at.empty() && plain_at.front() < i) plain_at = plain_at.subspan(1);
    const bool plain = !plain_at.empty() && plain_at.front() == i;
    const Match match = longest(text.substr(i), parse_special && !plain);
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

std::vector<uint64_t> SpecialTokens::starts(std::string_view text) const {
  std::vector<uint64_t> offsets;
  for (uint64_t i = 0; i < text.size(); ++i) {
    if (!begins_[static_cast<uint8_t>(text[i])]) continue;
    uint32_t node = 0;
    for (uint64_t j = i; j < text.size() && (node = child(node, text[j])) != 0; ++j) {
      if (nodes_[node].token < 0 || nodes_[node].always) continue;
      offsets.push_back(i);
      break;
    }
  }
  return offsets;
}

}  // namespace assay::text
