#include "run/stop_strings.h"

#include <algorithm>
#include <utility>

namespace assay::run {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  std::erase_if(stops_, [](const std::string& stop) { return stop.empty(); });
  // Longest first: of two that end at the same byte the longer is found first.
  std::stable_sort(stops_.begin(), stops_.end(),
                   [](const std::string& a, const std::string& b) { return a.size() > b.size(); });
}

StopStrings::Out StopStrings::add(std::string_view piece) {
  Out out;
  out.stopped = stopped_;
  if (stopped_) return out;
  for (const char byte : piece) {
    held_ += byte;
    for (const std::string& stop : stops_) {
      if (!held_.ends_with(stop)) continue;
      out.text.append(held_, 0, held_.size() - stop.size());
      held_.clear();
      stopped_ = out.stopped = true;
      return out;
    }
    // Give out from the front until the rest begins a stop string (the empty rest begins every
    // one).
    const std::string_view held = held_;
    size_t given = 0;
    while (std::none_of(
               stops_.begin(), stops_.end(),
               [&](const std::string& stop) { return stop.starts_with(held.substr(given)); }) &&
           given < held.size())
      ++given;
    out.text.append(held_, 0, given);
    held_.erase(0, given);
  }
  return out;
}

std::string StopStrings::finish() {
  return std::exchange(held_, {});
}

}  // namespace assay::run
