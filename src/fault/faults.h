// Seeded faults: every row of the fault catalogue (docs of `diagnose`) as a bug that this folder's
// executor can be told to have, so that a judge can be asked whether it finds operation, layer and
// cause. The bug stands in the executor, where a real engine would have it; nothing here knows how
// a judge looks for it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "op/program.h"

namespace assay::fault {

/// What each does stands in list.cpp, with its name in kebab case.
enum class Bug {
  none,
  // rows 2 to 7: weights
  weight_transposed,
  weight_row_shift,
  weight_block_shift,
  weight_type,
  weight_permuted,
  weight_tied_head,
  scale_high_bits,
  scale_map,
  scale_stuck,
  minimum_ignored,
  minimum_sign,
  nibbles_swapped,
  nibbles_interleaved,
  q6k_order,
  d_dmin_swapped,
  scale_bf16,
  weight_repacked,
  row_wraps,
  sums_f16,
  bias_missing,
  // rows 8 to 10: edges and paths of a shape
  k_tail,
  row_tail,
  token_tail,
  edge_row,
  matmul_path,
  attention_path,
  split_columns,
  grid_limit,
  // rows 11 to 13: RoPE
  rope_pairing,
  rope_base,
  rope_scaling,
  rope_factors,
  rope_dimensions,
  rope_magnitude,
  rope_table,
  rope_added,
  position_stuck,
  position_restarts,
  position_stale,
  position_off_by_one,
  position_shifted,
  // rows 14 to 18: attention
  gqa_modulo,
  mask_missing,
  mask_off_by_one,
  newest_key_dropped,
  kv_slot,
  kv_exchanged,
  keys_lost,
  value_block,
  score_scale_missing,
  score_scale_twice,
  score_softcap,
  score_cap_missing,
  score_cap_before_scale,
  alibi_missing,
  alibi_steps,
  sink_missing,
  softmax_padding,
  softmax_nan,
  softmax_infinite,
  softmax_masked_chunk,
  softmax_masked_row,
  softmax_one_shape,
  value_sums_f16,
  scores_f16,
  rescale_f16,
  // rows 19 to 24
  f16_overflow,
  norm_eps,
  norm_plus_one,
  norm_weight_twice,
  norm_weight_omitted,
  norm_whole_row,
  norm_mean_kept,
  gate_up_swapped,
  gate_missing,
  activation_gelu_tanh,
  activation_gelu_erf,
  activation_gelu_quick,
  activation_relu,
  activation_silu,
  xielu_line_missing,
  residual_after_norm,
  residual_missing,
  branch_missing,
  residual_parallel,
  sliding_window,
  window_short,
  window_long,
  window_missing,
  // rows 26, 28, 31, 32
  stale_input,
  stale_graph,
  contract_f32,
  sum_order,
  clipped,
  embedding_scale,
  residual_scale,
  factor_missing,
  factor_divides,
  cap_missing,
  clamp_missing,
  temperature_missing,
  table_shifted,
  // row 33: routers
  route_other_function,
  route_bias_ignored,
  route_bias_in_weight,
  route_groups_ignored,
  route_not_renormalised,
  route_renormalised,
  route_scale_missing,
  route_one_short,
  // row 34: experts
  expert_off_by_one,
  expert_of_first_token,
  expert_tail,
  expert_scale_missing,
  experts_unweighted,
  experts_weighted_twice,
  // not in the catalogue: right operation, cause unknown
  unlisted_mean,
  unlisted_base_two,
  unlisted_neighbour,
  unlisted_backwards
};

/// What a run must have for the fault to show.
struct Needs {
  uint32_t tokens = 1;        ///< in the first step
  uint32_t decode_steps = 0;  ///< steps of one token after it
  bool large_values = false;  ///< a result or a sum beyond 65504, f16's greatest number
};

struct Fault {
  std::string name;
  Bug bug = Bug::none;
  int row = 0;                ///< of the catalogue; 0: the catalogue does not have it
  uint32_t layer = op::none;  ///< only in this block; none: in all
  std::string at;             ///< only in the operation of this name; empty: in all that fit
  double value = 0;           ///< its parameter, where it has one: base, eps, tail, …

  bool applies(const op::Program& program, const op::Operation& operation) const;
  /// Canonical name of the first operation in the program's order that is wrong; empty where none
  /// can have the fault.
  std::string expected_operation(const op::Program& program) const;
  /// What the judge should call it: the fault's name, but one name for those that no judge can tell
  /// apart, and "unknown" for those that are not in the catalogue.
  std::string expected_cause() const;
  Needs needs() const;
  /// Another contract, or a change that no logit shows: to be named, not to be called a fault.
  bool benign() const;
  /// "rope-base:base=20000,layer=3": what parse_fault reads.
  std::string text() const;
};

/// All names.
std::vector<std::string_view> names();

/// "rope-base", "rope-base:base=20000,layer=3", "k-tail:tail=32,at=blk.3.down". Errors: an unknown
/// name or parameter, a value that is not a number.
Result<Fault> parse_fault(std::string_view text);

/// A fault of this name at a place and with a parameter drawn from the seed. Errors: an unknown
/// name, a program of which no operation can have the fault (no weight of its format, say).
Result<Fault> draw(std::string_view name, uint64_t seed, const op::Program& program);

/// A fault at each place of a program that can have it: every fault in every sort of operation (by name
/// within a layer, and by its weight's format), at a layer and with a parameter drawn from the seed.
std::vector<Fault> everywhere(uint64_t seed, const op::Program& program);

/// What the executor's loops ask: the bug that the operation at hand has, if any.
struct Active {
  Bug bug = Bug::none;
  double value = 0;

  bool is(Bug other) const { return bug == other; }
  /// `usual`, or `wrong` where this bug is on.
  template <class T>
  T choose(Bug other, T wrong, T usual) const {
    return is(other) ? wrong : usual;
  }
};

}  // namespace assay::fault
