// The numbers of a decoder, read from a file's keys and checked.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "model/architecture.h"
#include "model/reader.h"
#include "op/program.h"

namespace assay::model {

/// The numbers of one block.
struct LayerNumbers {
  uint32_t heads = 0;     ///< 0: no attention
  uint32_t kv_heads = 0;  ///< 0, where there are heads: attention is one matrix (deci)
  uint32_t key_dim = 0, value_dim = 0;
  uint32_t ffn_width = 0;    ///< 0: no feed-forward part
  uint32_t window = 0;       ///< 0: none
  uint32_t rope = op::none;  ///< index of a table; none: RoPE does not turn
  uint32_t cache_of = 0;     ///< the block whose keys and values are read
  bool experts = false;
};

struct ExpertNumbers {
  uint32_t count = 0, width = 0;
  uint32_t shared_width = 0;  ///< 0: no shared expert
  op::Route router;
  std::vector<float> clamp;  ///< of each block; 0: none
};

struct Numbers {
  uint32_t width = 0, vocabulary = 0, blocks = 0;
  uint32_t trained_context = 0;
  uint32_t context = 0;           ///< most positions of a sequence
  uint32_t original_context = 0;  ///< before RoPE was stretched
  bool layer_norm = false;        ///< the norms are LayerNorms
  float eps = 0;
  op::Activation activation = op::Activation::silu;  ///< of the feed-forward part
  std::vector<LayerNumbers> layers;
  ExpertNumbers experts;
  std::vector<op::RopeTable> tables;
  uint32_t temperature = op::none;  ///< index of a table of growth; none: no temperature
  std::string rope_factors;         ///< "long", "short" or empty
};

/// Errors are the reader's.
Numbers read_numbers(Reader& read, const gguf::File& file, const Architecture& architecture,
                     uint32_t context);

// The parts of read_numbers(), in this order.
void read_windows(Reader& read, const Architecture& architecture, Numbers& n);
void read_experts(Reader& read, const Architecture& architecture, Numbers& n);
void read_rope(Reader& read, const Architecture& architecture, Numbers& n);

inline constexpr uint32_t largest_width = 1u << 20;  ///< above any model's, below what could wrap
inline constexpr uint64_t most_positions = UINT32_MAX;

}  // namespace assay::model
