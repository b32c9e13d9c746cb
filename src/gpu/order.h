// The order in which a device runs a program's operations. It is the program's order, except that
// operations that one node of the plan computes together become neighbours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/program.h"

namespace assay::gpu {

/// Values of disjoint lifetime share a buffer, so it is not enough to look at values. Two
/// operations may be exchanged if neither writes a place in memory (a buffer, a cache) that the
/// other reads or writes. Every move consists of such exchanges, so each operation still reads what
/// it reads in the program's order.
class Order {
 public:
  explicit Order(const op::Program& program);

  /// The operations in the order so far.
  std::span<const uint32_t> operations() const { return operations_; }
  /// Makes these operations neighbours, at the place of the first of them or, if an operation in
  /// between forbids that, at the place of the last. Returns false, and moves nothing, if both are
  /// forbidden. Earlier neighbours stay neighbours.
  bool bring_together(std::span<const uint32_t> members);
  /// True if neither operation writes a place that the other reads or writes.
  bool may_exchange(uint32_t a, uint32_t b) const;

 private:
  struct Touched {
    std::vector<uint32_t> reads;  // buffers, then caches
    uint32_t written;
  };

  std::vector<Touched> touched_;      // by operation
  std::vector<uint32_t> operations_;  // in order
  std::vector<uint32_t> places_;      // by operation: its index in operations_
};

}  // namespace assay::gpu
