// y[t] = W[token[t]]: rows of a packed table, decoded.
#pragma once

#include "kernel/dispatch.h"

namespace assay {

struct EmbedBlock {
  K_CONST const EmbedArgs* a;
  Thread t;
  template <class F>
  void run() const {
    const uint32_t row = uint32_t(a->tokens[t.group_y]);
    const uint32_t column = t.group_x * t.group_size + t.index;
    if (column < a->columns)
      a->y[uint64_t(t.group_y) * a->columns + column] =
          load_weight<F>(a->data, a->columns, row, column);
  }
};

struct EmbedFloat {
  K_CONST const EmbedArgs* a;
  Thread t;
  template <class F>
  void run() const {
    const uint32_t row = uint32_t(a->tokens[t.group_y]);
    const uint32_t column = t.group_x * t.group_size + t.index;
    if (column < a->columns)
      a->y[uint64_t(t.group_y) * a->columns + column] =
          load_float<F>(a->data, a->columns, row / tile_rows, column, row % tile_rows);
  }
};

}  // namespace assay

/// Grid: (columns / group size, tokens).
K_KERNEL(embed, assay::EmbedArgs, assay::NoShared) {
  const assay::EmbedBlock block = {&a, t};
  assay::for_block_format(a.format, block);
}
K_KERNEL(embed_float, assay::EmbedArgs, assay::NoShared) {
  const assay::EmbedFloat plain = {&a, t};
  assay::for_float_format(a.format, plain);
}
