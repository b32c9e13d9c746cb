// What the arguments of several kernels share. A kernel's own arguments stand in its file: the same
// bytes on host and device, at most 512. Pointers are device addresses. Rows are tokens, values
// (rows, width) row-major f32 unless said otherwise.
#pragma once

#include "lang/lang.h"

namespace assay {

K_TABLE uint32_t lanes = 32;           // threads of a simd
K_TABLE uint32_t quantum = 32;         // activations that share a scale
K_TABLE uint32_t chunk_columns = 256;  // columns whose sum is kept apart
K_TABLE uint32_t key_chunk = 64;       // keys of attention whose softmax is kept apart
K_TABLE uint32_t tile_rows = 32;       // rows of a weight that are packed together
K_TABLE uint32_t most_parts = 3;       // weights that one launch multiplies

/// Activations (rows, columns) in int8: codes four to a word; per 32 columns the scale d and the
/// sums of the codes of both halves, as two int16 (the first half's low).
struct Quantised {
  K_DEV uint32_t* codes;
  K_DEV float* scale;
  K_DEV uint32_t* sums;
};

/// What a step brings, in device memory: it changes while the arguments of a recording don't.
struct StepInputs {
  K_DEV const int32_t* tokens;
  K_DEV const uint32_t* positions;
  K_DEV const uint32_t* sequences;
  K_DEV const uint32_t* selected;
  K_DEV const float* rope;  // by rotary table (tokens, dimensions): cos, sin of each pair
};

/// The cache of one layer. Keys: (pages, kv_heads, key_dim, 64); values: (pages, kv_heads, 64,
/// value_dim); f16, or f32 where `f32`. Chunk c of sequence s lies in page table[s·stride + c]. The
/// table is in device memory: it changes while recordings don't.
struct CacheView {
  K_DEV uint8_t* keys;
  K_DEV uint8_t* values;
  K_DEV const uint32_t* table;  // (sequences, stride): this cache's group of each sequence
  uint32_t stride, kv_heads, key_dim, value_dim;
  uint32_t f32, unused;
};

static_assert(sizeof(Quantised) == 24, "the host and every device agree");
static_assert(sizeof(StepInputs) == 40, "the host and every device agree");
static_assert(sizeof(CacheView) == 48, "the host and every device agree");

}  // namespace assay
