// The order in which a device runs a program's operations: the program's own, but for operations
// that one node of the plan computes together, which become neighbours.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "op/program.h"

namespace assay::gpu {

/// Values of disjoint lifetime share a buffer, so more than the values decides who may pass whom.
/// Two operations may change places where neither writes a place in memory (a buffer, a
/// cache) that the other reads or writes. Every move is made of such exchanges: each operation
/// still reads what it reads in the program's order.
class Order {
 public:
  explicit Order(const op::Program& program);

  /// The operations in the order so far.
  std::span<const uint32_t> operations() const { return operations_; }
  /// Makes these operations neighbours, at the place of the first of them, or where something
  /// between forbids that, at the place of the last. False, and nothing has moved, where it
  /// forbids both. Earlier neighbours stay neighbours.
  bool bring_together(std::span<const uint32_t> members);
  /// Whether an operation writes no place that the other reads or writes.
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
