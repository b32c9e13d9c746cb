#include "run/stop_strings.h"

#include <algorithm>
#include <utility>

namespace assay::run {

StopStrings::StopStrings(const std::vector<std::string>& stops) : nodes_(1) {
  for (const std::string& stop : stops) {
    uint32_t node = 0;
    for (const char byte : stop) {
      const auto [place, fresh] =
          nodes_[node].children.try_emplace(byte, static_cast<uint32_t>(nodes_.size()));
      const uint32_t child = place->second;
      if (fresh) nodes_.push_back({.length = nodes_[node].length + 1});
      node = child;
    }
    nodes_[node].stop = stop.size();
  }
  link();
}

/// Level by level: a child's shorter text is the child of its parent's shorter text.
void StopStrings::link() {
  std::vector<uint32_t> level = {0}, below;
  for (; !level.empty(); level = std::exchange(below, {})) {
    for (const uint32_t node : level) {
      for (const auto& [byte, child] : nodes_[node].children) {
        const uint32_t shorter = node == 0 ? 0 : next(nodes_[node].shorter, byte);
        nodes_[child].shorter = shorter;
        nodes_[child].stop = std::max(nodes_[child].stop, nodes_[shorter].stop);
        below.push_back(child);
      }
    }
  }
}

uint32_t StopStrings::next(uint32_t node, char byte) const {
  for (;; node = nodes_[node].shorter) {
    const auto found = nodes_[node].children.find(byte);
    if (found != nodes_[node].children.end()) return found->second;
    if (node == 0) return 0;
  }
}

StopStrings::Out StopStrings::add(std::string_view piece) {
  if (stopped_) return {"", true};
  for (const char byte : piece) {
    held_ += byte;
    at_ = next(at_, byte);
    if (const uint64_t stop = nodes_[at_].stop; stop > 0) {
      stopped_ = true;
      held_.resize(held_.size() - stop);
      return {std::exchange(held_, {}), true};
    }
  }
  const uint64_t certain = held_.size() - nodes_[at_].length;
  Out out{held_.substr(0, certain), false};
  held_.erase(0, certain);
  return out;
}

std::string StopStrings::finish() {
  at_ = 0;
  return std::exchange(held_, {});
}

}  // namespace assay::run
