// Where each attention head of a trace looks: the softmax of its queries and cached keys, computed
// again in f64.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::trace {

enum class HeadState {
  usual,
  not_finite,  ///< a weight is NaN
  one_hot,     ///< one key has 0.999 of the weight or more
  uniform      ///< the entropy is 0.999 or more of log2(keys)
};
std::string_view name_of(HeadState state);

/// The weights p[j] = softmax_j(q·K[j]·scale) of one head and token.
struct HeadWeights {
  uint32_t layer = 0, head = 0;
  uint64_t keys = 0;
  double entropy = 0;        ///< −Σ p·log2 p, in bits; log2(keys) at most
  double largest = 0;        ///< max p
  uint64_t largest_key = 0;  ///< its position
  HeadState state = HeadState::usual;
};

/// Of every layer and head, for the query of `token`, counted over all steps. From q_rope and the
/// cached keys; k_rope stands for keys that the trace doesn't have. Errors: a trace of statistics,
/// a token beyond the trace, keys or queries that are missing or of another shape than the model's.
Result<std::vector<HeadWeights>> attention_weights(const op::Program& program, const Trace& trace,
                                                   uint64_t token);

}  // namespace assay::trace
