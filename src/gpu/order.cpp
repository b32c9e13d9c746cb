#include "gpu/order.h"

#include <algorithm>
#include <numeric>

namespace assay::gpu {

Order::Order(const op::Program& program)
    : operations_(program.operations.size()), places_(program.operations.size()) {
  std::iota(operations_.begin(), operations_.end(), 0u);
  std::iota(places_.begin(), places_.end(), 0u);
  for (const op::Operation& operation : program.operations) {
    const auto* store = operation.as<op::KvStore>();
    const auto* attend = operation.as<op::Attend>();
    Touched touched{{}, op::none};
    if (store) touched.written = program.buffers + store->cache;
    for (uint32_t input : operation.inputs) touched.reads.push_back(program.values[input].buffer);
    if (operation.output != op::none) touched.written = program.values[operation.output].buffer;
    if (attend) touched.reads.push_back(program.buffers + attend->cache);
    touched_.push_back(std::move(touched));
  }
}

bool Order::may_exchange(uint32_t a, uint32_t b) const {
  const Touched &first = touched_[a], &second = touched_[b];
  return first.written != second.written &&
         std::ranges::find(first.reads, second.written) == first.reads.end() &&
         std::ranges::find(second.reads, first.written) == second.reads.end();
}

bool Order::bring_together(std::span<const uint32_t> members) {
  const auto is_member = [&](uint32_t i) { return std::ranges::find(members, i) != members.end(); };
  const auto place = [&](uint32_t i) { return places_[i]; };
  const uint32_t first = place(*std::ranges::min_element(members, {}, place));
  const uint32_t last = place(*std::ranges::max_element(members, {}, place));
  bool to_first = true, to_last = true;
  for (uint32_t between = first + 1; between < last; ++between) {
    const uint32_t other = operations_[between];
    if (is_member(other)) continue;
    for (uint32_t member : members)
      if (!may_exchange(member, other)) (place(member) < between ? to_last : to_first) = false;
  }
  if (!to_first && !to_last) return false;
  const auto begin = operations_.begin() + first, end = operations_.begin() + last + 1;
  std::stable_partition(begin, end, [&](uint32_t i) { return is_member(i) == to_first; });
  for (uint32_t i = first; i <= last; ++i) places_[operations_[i]] = i;
  return true;
}

}  // namespace assay::gpu
