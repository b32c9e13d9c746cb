// Arguments of the kernels: the same bytes on host and device, at most 512. Pointers are device
// addresses. Rows are tokens, values (rows, width) row-major f32 unless said otherwise.
#pragma once

#include "lang/lang.h"

namespace assay {

K_TABLE uint32_t lanes = 32;                // threads of a simd
K_TABLE uint32_t quantum = 32;              // activations that share a scale
K_TABLE uint32_t chunk_columns = 256;       // columns whose sum is kept apart
K_TABLE uint32_t key_chunk = 64;            // keys of attention whose softmax is kept apart
K_TABLE uint32_t tile_rows = 32;            // rows of a weight that are packed together
K_TABLE uint32_t attention_queries = 8;     // of a tile (kernel/attention_tile.h)
K_TABLE uint32_t most_tile_head_dim = 128;  // widest head that tiles take
K_TABLE uint32_t most_head_dim = 512;       // widest head that attention takes
K_TABLE uint32_t most_whole_keys = 512;     // of a query whose head one group takes
K_TABLE uint32_t most_split_tokens = 4;     // of a step whose heads several groups share
K_TABLE uint32_t most_parts = 3;            // weights that one launch multiplies
K_TABLE uint32_t elementwise_group = 256;   // threads of a group
K_TABLE uint32_t matmul_group = 128;
K_TABLE uint32_t matvec_group = 768;  // at most
K_TABLE uint32_t top_k_group = 512;
K_TABLE uint32_t sorted_keys = 2048;  // of a group of top_k
K_TABLE uint32_t most_best = 256;     // logits that top_k chooses
K_TABLE uint32_t most_drawn = 8;      // tokens that a device draws before the host sees them
K_TABLE uint32_t not_in_step = 0xffffffffu;

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
  K_DEV const float* rope;  // (tokens, dimensions): cos, sin of each pair
};

/// A weight matrix in the layout of kernel/weights.h, with what is added to its product.
struct Matrix {
  K_DEV const uint8_t* data;
  K_DEV const float* bias;  // (rows), or null
  K_DEV const float* add;   // (tokens, rows), or null: y = RN(product + add), for the residual
  K_DEV float* y;           // (tokens, rows)
  uint32_t format;          // a GGUF tensor type
  uint32_t rows;
  uint32_t first_group;  // group_x at which its rows begin
  uint32_t unused;
};

struct EmbedArgs {
  K_DEV const uint8_t* data;
  K_DEV const int32_t* tokens;
  K_DEV float* y;
  uint32_t format, columns;
};

struct RmsNormArgs {
  K_DEV const float* x;
  K_DEV const float* weight;
  K_DEV float* y;       // null: only the quantised form is wanted
  Quantised quantised;  // codes null: only y is wanted
  uint32_t columns;
  float eps;
  uint32_t stride, unused;
};

struct QuantiseArgs {
  K_DEV const float* x;
  Quantised y;
  uint32_t blocks;  // rows·columns / 32
  uint32_t unused;
};

struct MatmulArgs {
  Quantised x;
  K_DEV const float* x_f32;  // float formats read these
  Matrix parts[3];
  uint32_t part_count, columns, tokens, unused;
};

struct GateUpArgs {
  Quantised x, y;
  K_DEV const uint8_t* gate;
  K_DEV const uint8_t* up;
  uint32_t gate_format, up_format, rows, columns;
};

struct RopeArgs {
  K_DEV const float* x;
  K_DEV const float* table;
  K_DEV float* y;
  uint32_t heads, head_dim, dimensions, adjacent;
};

/// The cache of one layer. Keys: (pages, kv_heads, key_dim, 64); values: (pages, kv_heads, 64,
/// value_dim); f16, or f32 where `f32`. Chunk c of sequence s lies in page table[s·stride + c]. The
/// table is in device memory: it changes while recordings don't.
struct CacheView {
  K_DEV uint8_t* keys;
  K_DEV uint8_t* values;
  K_DEV const uint32_t* table;  // (sequences, stride)
  uint32_t stride, kv_heads, key_dim, value_dim;
  uint32_t f32, unused;
};

struct StoreArgs {
  CacheView cache;
  StepInputs step;
  K_DEV const float* keys;
  K_DEV const float* values;
};

/// Rotates queries and keys, and stores keys and values: rope, rope and kv_store in one.
struct RopeStoreArgs {
  CacheView cache;
  StepInputs step;
  K_DEV const float* queries;
  K_DEV float* rotated;
  K_DEV const float* keys;
  K_DEV const float* values;
  uint32_t heads, dimensions, adjacent, unused;
};

/// What the cache holds at the step's positions, as f32: for traces.
struct LoadArgs {
  CacheView cache;
  StepInputs step;
  K_DEV float* keys;
  K_DEV float* values;
};

struct AttentionArgs {
  CacheView cache;
  StepInputs step;
  K_DEV const float* queries;
  K_DEV float* y;       // null: only the quantised form is wanted
  Quantised quantised;  // codes null: only y is wanted
  uint32_t heads;
  float scale;
  uint32_t tokens, unused;
};

/// Attention whose chunks of keys are left in memory, to be combined by another kernel.
struct AttentionChunksArgs {
  AttentionArgs of;
  K_DEV float* outputs;  // (tokens, heads, chunks, value_dim)
  K_DEV float* softmax;  // (tokens, heads, chunks): max and sum
  uint32_t chunks;       // that there is room for
  uint32_t parts;        // groups that share a head
};

/// y = f(a, b) over n elements.
struct PairArgs {
  K_DEV const float* a;
  K_DEV const float* b;
  K_DEV float* y;
  uint32_t count, unused;
};

struct ScaleArgs {
  K_DEV const float* x;
  K_DEV const float* bias;  // (columns), or null
  K_DEV float* y;
  uint32_t count, columns;
  float factor;
  uint32_t unused;
};

struct SelectArgs {
  K_DEV const float* x;
  K_DEV const uint32_t* selected;
  K_DEV float* y;
  uint32_t columns, unused;
};

/// One pass of kernel/top_k.h.
struct TopKArgs {
  K_DEV const float* logits;   // (rows, count), or null: `from` holds keys
  K_DEV const uint64_t* from;  // (rows, count)
  K_DEV uint64_t* to;          // (rows, groups, k)
  uint32_t count, k;
};

/// How a sequence's tokens are drawn. In device memory: it changes while recordings don't.
struct SampleRule {
  uint32_t seed_low, seed_high;
  float temperature;   // <= 0: the best
  float top_p, min_p;  // >= 1 and <= 0: all
  uint32_t k;          // of the best that are there
  uint32_t first;      // position of the first token that is drawn
  uint32_t steps;      // tokens that are drawn
};

/// Draws each row's token and makes it the next step's.
struct SampleArgs {
  K_DEV const uint64_t* best;  // (rows, k): top_k's
  K_DEV const SampleRule* rules;
  K_DEV const float* rope_ahead;  // (steps, rows, dimensions): of the positions first, first + 1 …
  K_DEV int32_t* drawn;           // (steps, rows); −1: nothing to draw from
  K_DEV int32_t* tokens;          // the step's inputs
  K_DEV uint32_t* positions;
  K_DEV float* rope;
  uint32_t k, rows, dimensions, unused;
};

/// Questions to the arithmetic (kernel/probe_cases.h): x (cases, 3), y (questions, cases).
struct ProbeArgs {
  K_DEV const float* x;
  K_DEV uint32_t* y;
  uint32_t cases, unused;
};

static_assert(sizeof(Quantised) == 24, "the host and every device agree");
static_assert(sizeof(StepInputs) == 40, "the host and every device agree");
static_assert(sizeof(Matrix) == 48, "the host and every device agree");
static_assert(sizeof(EmbedArgs) == 32, "the host and every device agree");
static_assert(sizeof(RmsNormArgs) == 64, "the host and every device agree");
static_assert(sizeof(QuantiseArgs) == 40, "the host and every device agree");
static_assert(sizeof(MatmulArgs) == 192, "the host and every device agree");
static_assert(sizeof(GateUpArgs) == 80, "the host and every device agree");
static_assert(sizeof(RopeArgs) == 40, "the host and every device agree");
static_assert(sizeof(CacheView) == 48, "the host and every device agree");
static_assert(sizeof(StoreArgs) == 104, "the host and every device agree");
static_assert(sizeof(RopeStoreArgs) == 136, "the host and every device agree");
static_assert(sizeof(LoadArgs) == 104, "the host and every device agree");
static_assert(sizeof(AttentionArgs) == 144, "the host and every device agree");
static_assert(sizeof(AttentionChunksArgs) == 168, "the host and every device agree");
static_assert(sizeof(PairArgs) == 32, "the host and every device agree");
static_assert(sizeof(ScaleArgs) == 40, "the host and every device agree");
static_assert(sizeof(ProbeArgs) == 24, "the host and every device agree");
static_assert(sizeof(SelectArgs) == 32, "the host and every device agree");
static_assert(sizeof(SampleRule) == 32, "the host and every device agree");
static_assert(sizeof(SampleArgs) == 72, "the host and every device agree");
static_assert(sizeof(TopKArgs) == 32, "the host and every device agree");

}  // namespace assay
