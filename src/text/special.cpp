#include "text/special.h"

namespace assay::text {
namespace {

uint64_t edge(uint32_t node, char byte) {
  return uint64_t{node} << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

SpecialTokens::SpecialTokens() : nodes_(1) {}

uint32_t SpecialTokens::child(uint32_t node, char byte) const {
  const auto found = children_.find(edge(node, byte));
  return found == children_.end() ? 0 : found->second;
}

void SpecialTokens::add(std::string_view spelling, int32_t token, bool always) {
  if (spelling.empty()) return;
  begins_[static_cast<uint8_t>(spelling[0])] = true;
  uint32_t node = 0;
  for (const char byte : spelling) {
    const auto [place, inserted] =
        children_.try_emplace(edge(node, byte), static_cast<uint32_t>(nodes_.size()));
    if (inserted) nodes_.emplace_back();
    node = place->second;
  }
  nodes_[node] = {token, always};
}

Fragment SpecialTokens::longest(std::string_view text, bool parse_special) const {
  Fragment found;
  uint32_t node = 0;
  for (uint64_t i = 0; i < text.size(); ++i) {
    node = child(node, text[i]);
    if (node == 0) break;
    if (nodes_[node].token >= 0 && (parse_special || nodes_[node].always)) {
      found = {text.substr(0, i + 1), nodes_[node].token};
    }
  }
  return found;
}

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool parse_special) const {
  std::vector<Fragment> fragments;
  uint64_t begin = 0;  // of the ordinary text not yet given out
  uint64_t i = 0;
  while (i < text.size()) {
    if (!begins_[static_cast<uint8_t>(text[i])]) {
      ++i;
      continue;
    }
    const Fragment special = longest(text.substr(i), parse_special);
    if (special.token < 0) {
      ++i;
      continue;
    }
    if (i > begin) fragments.push_back({text.substr(begin, i - begin)});
    fragments.push_back(special);
    i += special.text.size();
    begin = i;
  }
  if (begin < text.size()) fragments.push_back({text.substr(begin)});
  return fragments;
}

}  // namespace assay::text
