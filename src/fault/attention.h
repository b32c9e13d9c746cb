// Attention of one head in plain loops, in the order of docs/numbers.md, with the faults of rows 10,
// 14 to 19, 24 and 26.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fault/faults.h"
#include "op/program.h"

namespace assay::fault {

using Floats = std::vector<float>;

/// Keys and values of one layer, (pages·64) rows of all KV heads; empty where nothing was written.
struct Pool {
  std::vector<Floats> keys, values;
};

/// A sequence's part of a pool: its slots are positions, found by its pages. A slot before a window
/// may have no page.
struct Cache {
  Pool& pool;
  std::span<const uint32_t> pages;
  uint32_t& held;  ///< slots that the sequence has

  uint32_t row(uint32_t slot) const {
    return pages[slot / op::page_positions] * op::page_positions + slot % op::page_positions;
  }
  const Floats& key(uint32_t slot) const { return pool.keys[row(slot)]; }
  const Floats& value(uint32_t slot) const { return pool.values[row(slot)]; }
  /// The sequence then has this slot and those before it.
  void store(uint32_t slot, Floats key, Floats value);
};

/// Where a token stands.
struct Place {
  uint32_t position = 0;
  bool decoding = false;    ///< alone in its step, with a past
  uint32_t graph_keys = 0;  ///< keys of the first decode step; 0 up to it
};

/// All heads of one token: query (heads·key_dim) to (heads·value_dim). `sinks`: (heads) or none.
Floats attend(std::span<const float> query, const Cache& cache, const Place& place,
              const op::AttentionShape& shape, std::span<const float> sinks, Active fault);

}  // namespace assay::fault
