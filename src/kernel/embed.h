// y[t] = W[token[t]], or W[position[t]]: rows of a packed table, decoded.
#pragma once

#include "kernel/dispatch.h"

namespace assay {

struct EmbedArgs {
  K_DEV const uint8_t* data;
  K_DEV const int32_t* rows;  // (tokens): ids, or positions
  K_DEV float* y;
  uint32_t format, columns;
};
static_assert(sizeof(EmbedArgs) == 32, "the host and every device agree");

struct EmbedBlock {
  K_CONST const EmbedArgs* a;
  Thread t;
  template <class F>
  K_FN void run(K_THREAD const EmbedBlock& self) {
    const uint32_t row = uint32_t(self.a->rows[self.t.group_y]);
    const uint32_t column = self.t.group_x * self.t.group_size + self.t.index;
    if (column < self.a->columns)
      self.a->y[uint64_t(self.t.group_y) * self.a->columns + column] =
          load_weight<F>(self.a->data, self.a->columns, row, column);
  }
};

struct EmbedFloat {
  K_CONST const EmbedArgs* a;
  Thread t;
  template <class F>
  K_FN void run(K_THREAD const EmbedFloat& self) {
    const uint32_t row = uint32_t(self.a->rows[self.t.group_y]);
    const uint32_t column = self.t.group_x * self.t.group_size + self.t.index;
    if (column < self.a->columns)
      self.a->y[uint64_t(self.t.group_y) * self.a->columns + column] =
          load_float<F>(self.a->data, self.a->columns, row / tile_rows, column, row % tile_rows);
  }
};

}  // namespace assay

/// Grid: (columns / group size, tokens).
K_KERNEL(embed, assay::EmbedArgs, assay::NoShared, assay::AtMost<256>) {
  const assay::EmbedBlock block = {&a, t};
  assay::for_block_format(a.format, block);
}
K_KERNEL(embed_float, assay::EmbedArgs, assay::NoShared, assay::AtMost<256>) {
  const assay::EmbedFloat plain = {&a, t};
  assay::for_float_format(a.format, plain);
}
