// What sets one decoder apart from another. A file of this folder defines one of these for each
// architecture, and list.cpp lists them.
#pragma once

#include <span>
#include <string_view>

#include "model/keys.h"

namespace assay::model {

/// Which tensors hold factors that divide RoPE's frequencies.
enum class RopeFactors {
  absent,
  rope_freqs,  ///< rope_freqs; with rope.scaling.type "longrope" as long_short
  long_short   ///< rope_factors_long and rope_factors_short, chosen by the context limit
};

/// A block is x += attention(norm(x)), x += ffn(norm(x)), with RMS norms, RoPE and SwiGLU.
struct Architecture {
  std::string_view name;        ///< general.architecture
  bool adjacent_pairs = false;  ///< RoPE turns lanes (2i, 2i+1); else (i, i + dimensions/2)
  bool head_norms = false;      ///< attn_q_norm and attn_k_norm: an RMS norm per head before RoPE
  bool fused_ffn = false;       ///< ffn_up holds the rows of the gate, then those of up
  bool ffn_scales = true;       ///< ffn_*.scale multiplies; else the tensors mean nothing
  bool inner_biases = false;    ///< attn_output and ffn_* may have biases; q, k and v always may
  bool output_bias = false;     ///< the head may have one
  RopeFactors factors = RopeFactors::absent;
  std::span<const std::string_view> unused_tensors = {};  ///< legal, and mean nothing here
  std::span<const KeyRow> keys = {};                      ///< where it differs from common_keys()
};

}  // namespace assay::model
