// Attention of one head in plain loops, in the order of docs/numbers.md, with the faults of rows 10
// and 14 to 18, 24 and 26.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fault/faults.h"
#include "op/program.h"

namespace assay::fault {

using Floats = std::vector<float>;

/// Keys and values of one layer and sequence, by slot; a slot's row has all KV heads.
struct Cache {
  std::vector<Floats> keys, values;

  void store(uint32_t slot, Floats key, Floats value);
  void truncate(uint32_t slots);
};

/// Where a token stands.
struct Place {
  uint32_t position = 0;
  bool decoding = false;    ///< alone in its step, with a past
  uint32_t graph_keys = 0;  ///< keys of the first decode step; 0 up to it
};

/// All heads of one token: query (heads·key_dim) to (heads·value_dim).
Floats attend(std::span<const float> query, const Cache& cache, const Place& place,
              const op::AttentionShape& shape, Active fault);

}  // namespace assay::fault
