// Routers and what chosen experts compute, of one row in plain loops, in the order of
// docs/numbers.md, with the faults of rows 33 and 34.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fault/faults.h"
#include "fault/matrix.h"
#include "op/program.h"

namespace assay::fault {

/// A row of logits to a routing: the ids of the chosen experts, then their weights. b: none or
/// (experts)
Floats route(std::span<const float> logits, std::span<const float> b, const op::Route& router,
             Active fault);

/// The expert of each slot of a routing's row; `experts` itself where an id is no expert's.
std::vector<uint32_t> experts_of(std::span<const float> routing, uint32_t experts);

/// The products of all tokens: x (tokens, columns or used·columns), routing (tokens, 2·used) →
/// (tokens, used·rows). `matrices` and `bias` are the experts'; bias (experts, rows) or none.
Floats multiply_experts(const std::vector<Matrix>& matrices, const Floats& bias,
                        std::span<const float> x, std::span<const float> routing, uint64_t tokens,
                        bool quantised, Active fault);

/// y[u, i] = x[u, i]·w[e(u)] (+ b[e(u), i])
Floats scale_experts(std::span<const float> x, std::span<const float> routing,
                     std::span<const float> w, std::span<const float> b, Active fault);
/// y[u, i] = x[i]·weight(u)
Floats spread_experts(std::span<const float> x, std::span<const float> routing, Active fault);
/// y[i] = Σ_u x[u, i]·weight(u), or Σ_u x[u, i]
Floats mix_experts(std::span<const float> x, std::span<const float> routing,
                   const op::MixExperts& p, Active fault);

}  // namespace assay::fault
