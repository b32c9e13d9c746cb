#include "fault/list.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "quant/fields.h"
#include "quant/formats.h"

namespace assay::fault {

namespace {

using op::Operation;
using op::Program;

template <class Parameters>
bool is(const Program&, const Operation& o) {
  return o.is<Parameters>();
}

/// The weight of a matmul; null for other operations.
const op::Weight* matrix(const Program& program, const Operation& o) {
  return o.is<op::Matmul>() ? &program.weights[o.weight] : nullptr;
}

/// Whether the operation is a matmul whose format F has `test.template operator()<F>()`.
template <class Test>
bool format(const Program& program, const Operation& o, Test test) {
  bool found = false;
  if (const op::Weight* weight = matrix(program, o))
    quant::visit(weight->type, [&]<class F>() {
      if constexpr (!quant::is_float_format<F>) found = test.template operator()<F>();
    });
  return found;
}

bool block_format(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return true; });
}
bool f16_scale(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return quant::scale_field<F>().found; });
}
bool super_block(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return quant::is_super_block<F>; });
}
/// Groups whose scales differ: a byte of random bits changes one and not another.
bool several_scales(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return quant::has_several_scales<F>(); });
}
bool with_minimum(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return F::has_minimum; });
}
bool with_dmin(const Program& program, const Operation& o) {
  return super_block(program, o) && with_minimum(program, o);
}
bool six_bit_scales(const Program& program, const Operation& o) {
  return format(program, o,
                []<class F>() { return F::id == quant::Q4_K::id || F::id == quant::Q5_K::id; });
}
bool nibbles(const Program& program, const Operation& o) {
  return format(program, o,
                []<class F>() { return F::code_bits == 4 && quant::nibble_distance<F>() != 0; });
}
bool q6k(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return F::id == quant::Q6_K::id; });
}
/// A shift by blocks is one by rows where a row is one block.
bool several_blocks(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return weight && weight->columns > quant::info(weight->type).block_size;
}
bool has_twin(const Program& program, const Operation& o) {
  return matrix(program, o) && twin_type(program.weights[o.weight].type) != op::none;
}

/// The head where the embedding is another matrix of the same shape.
bool untied_head(const Program& program, const Operation& o) {
  if (o.name != "logits" || !program.operations[0].is<op::Embed>()) return false;
  const op::Weight &head = program.weights[o.weight],
                   &embedding = program.weights[program.operations[0].weight];
  return head.data.data() != embedding.data.data() && head.rows == embedding.rows &&
         head.columns == embedding.columns;
}

bool reads(const Operation& o, uint32_t value) {
  for (uint32_t input : o.inputs)
    if (input == value) return true;
  return false;
}
template <class Parameters>
bool is_read_by(const Program& program, const Operation& o) {
  for (const Operation& reader : program.operations)
    if (reader.is<Parameters>() && reads(reader, o.output)) return true;
  return false;
}

/// Queries and keys: they go to RoPE, or to the norm of each head before it.
bool projects_to_rope(const Program& program, const Operation& o) {
  if (!o.is<op::Matmul>()) return false;
  for (const Operation& reader : program.operations)
    if (op::parts_of(reader) > 1 && reads(reader, o.output)) return true;
  return is_read_by<op::Rope>(program, o);
}
bool query_rope(const Program& program, const Operation& o) {
  return o.is<op::Rope>() && is_read_by<op::Attend>(program, o);
}
bool within_a_layer(const Program&, const Operation& o) {
  return o.is<op::Matmul>() && o.layer != op::none;  // the head sees the wanted rows only
}
bool grouped_attention(const Program& program, const Operation& o) {
  if (!o.is<op::Attend>()) return false;
  const op::AttentionShape a = program.attention_of(o);
  return a.kv_heads > 1 && a.kv_heads < a.heads;
}
/// A wrong slot is written by kv_store and read by attention, where it shows.
bool cache(const Program&, const Operation& o) {
  return o.is<op::KvStore>() || o.is<op::Attend>();
}
bool after_norm(const Program& program, const Operation& o) {
  return normalised_residual(program, o) != op::none;
}
bool second_residual(const Program& program, const Operation& o) {
  return earlier_residual(program, o) != op::none;
}
/// Results that large activations make larger still.
bool can_overflow(const Program&, const Operation& o) {
  return o.layer != op::none && (o.is<op::Matmul>() || o.is<op::Gate>() || o.is<op::Add>());
}

// --- what only some models have ---

bool norm_of_any(const Program&, const Operation& o) {
  return o.is<op::RmsNorm>() || o.is<op::LayerNorm>();
}
/// Whose weights are not all 1.
bool weighted_norm(const Program& program, const Operation& o) {
  if (!norm_of_any(program, o)) return false;
  const op::Weight& weight = program.weights[o.weight];
  std::vector<float> values(weight.columns);
  quant::decode_row(weight.type, weight.row(0), values);
  return std::ranges::any_of(values, [](float value) { return value != 1; });
}
bool norm_of_parts(const Program&, const Operation& o) {
  return op::parts_of(o) > 1;
}
/// A matrix of more than a few rows.
bool tall_matmul(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return weight && weight->rows >= 8;
}
/// A product whose activations the contract quantises.
bool block_product(const Program& program, const Operation& o) {
  return op::multiplies(o) && quant::info(program.weights[o.weight].type).block_size > 1;
}
bool with_bias(const Program&, const Operation& o) {
  return o.bias != op::none && (op::multiplies(o) || o.is<op::LayerNorm>());
}
bool inner_block_product(const Program& program, const Operation& o) {
  return o.is<op::Matmul>() && o.layer != op::none && block_product(program, o);
}
/// Blocks of four rows that lie one after another.
bool repackable(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return weight && block_format(program, o) && weight->rows % 4 == 0 && several_blocks(program, o);
}
bool splits(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return weight && (split_tail(weight->columns, 3) > 0 || split_tail(weight->columns, 5) > 0 ||
                    split_tail(weight->columns, 8) > 0);
}
bool wraps(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return weight && weight->rows > 32;
}

op::AttentionShape shape_of(const Program& program, const Operation& o) {
  return o.is<op::Attend>() ? program.attention_of(o) : op::AttentionShape{};
}
bool whole_attention(const Program& program, const Operation& o) {
  return o.is<op::Attend>() && shape_of(program, o).window == 0;
}
bool uncapped_attention(const Program& program, const Operation& o) {
  return o.is<op::Attend>() && shape_of(program, o).soft_cap == 0;
}
bool without_sinks(const Program&, const Operation& o) {
  return o.is<op::Attend>() && o.weight == op::none;
}
/// The score's exponent is the scaled product alone.
bool plain_scores(const Program& program, const Operation& o) {
  return without_sinks(program, o) && shape_of(program, o).soft_cap == 0 &&
         shape_of(program, o).alibi == 0;
}
bool windowed(const Program& program, const Operation& o) {
  return shape_of(program, o).window > 1;
}
bool capped(const Program& program, const Operation& o) {
  return shape_of(program, o).soft_cap != 0;
}
bool with_alibi(const Program& program, const Operation& o) {
  return shape_of(program, o).alibi != 0;
}
bool with_sinks(const Program&, const Operation& o) {
  return o.is<op::Attend>() && o.weight != op::none;
}
bool unequal_dims(const Program& program, const Operation& o) {
  const op::AttentionShape a = shape_of(program, o);
  return a.key_dim != a.value_dim;
}
bool exchangeable(const Program& program, const Operation& o) {
  return o.is<op::KvStore>() &&
         program.values[o.inputs[0]].width == program.values[o.inputs[1]].width;
}
/// Keys that no RoPE turned, where another layer has one.
bool unturned_keys(const Program& program, const Operation& o) {
  if (!o.is<op::KvStore>() || program.rope_tables.empty()) return false;
  const op::RopeTable& rope = program.rope_tables[0];
  if (rope.growth || rope.dimensions > program.caches[o.as<op::KvStore>()->cache].key_dim)
    return false;
  for (const Operation& made : program.operations)
    if (made.is<op::Rope>() && made.output == o.inputs[0]) return false;
  return true;
}
bool several_pairs(const Program& program, const Operation& o) {
  return o.is<op::Rope>() && program.rope_of(o).dimensions % 4 == 0;
}
bool other_frequencies(const Program& program, const Operation& o) {
  return o.is<op::Rope>() && other_table(program, o) != op::none;
}

const op::Activation* activation_of(const Operation& o) {
  if (const auto* gate = o.as<op::Gate>()) return &gate->activation;
  if (const auto* plain = o.as<op::Activate>()) return &plain->activation;
  return nullptr;
}
template <op::Activation... Not>
bool activates(const Program&, const Operation& o) {
  const op::Activation* own = activation_of(o);
  return own && *own != op::Activation::silu_clamped && ((*own != Not) && ...);
}
/// A gate as wide as what it opens.
bool even_gate(const Program& program, const Operation& o) {
  return o.is<op::Gate>() && program.values[o.inputs[0]].width == program.values[o.inputs[1]].width;
}
bool narrow_gate(const Program& program, const Operation& o) {
  return o.is<op::Gate>() && !even_gate(program, o);
}

template <class Test>
bool route(const Operation& o, Test test) {
  const auto* router = o.as<op::Route>();
  return router && test(*router);
}
/// Where the sigmoid, or softmax over all and over the chosen, make another weight. A softmax over the
/// chosen is that over all, over the sum: route-renormalised.
bool other_function(const Program&, const Operation& o) {
  return route(o, [](const op::Route& r) {
    return r.used > 1 && (r.sigmoid || (r.of_chosen && !r.renormalise));
  });
}
bool biased_choice(const Program&, const Operation& o) {
  return o.is<op::Route>() && o.bias != op::none;
}
bool biased_weights(const Program& program, const Operation& o) {
  return biased_choice(program, o) && !o.as<op::Route>()->of_chosen;
}
bool limited_groups(const Program&, const Operation& o) {
  return route(o, [](const op::Route& r) { return r.used_groups < r.groups; });
}
bool renormalises(const Program&, const Operation& o) {
  return route(o, [](const op::Route& r) { return r.renormalise && !r.of_chosen; });
}
bool not_renormalised(const Program&, const Operation& o) {
  return route(o, [](const op::Route& r) { return !r.renormalise && !r.of_chosen; });
}
bool scaled_route(const Program&, const Operation& o) {
  return route(o, [](const op::Route& r) { return r.scale != 1; });
}
bool several_chosen(const Program&, const Operation& o) {
  return route(o, [](const op::Route& r) { return r.used > 1; });
}
bool weighs(const Program&, const Operation& o) {
  const auto* mix = o.as<op::MixExperts>();
  return o.is<op::SpreadExperts>() || (mix && mix->weighted);
}
bool scales(const Program&, const Operation& o) {
  const auto* scale = o.as<op::Scale>();
  return scale && scale->factor != 1;
}
bool of_position(const Program&, const Operation& o) {
  const auto* embed = o.as<op::Embed>();
  return embed && embed->of_position;
}
bool of_token(const Program&, const Operation& o) {
  const auto* embed = o.as<op::Embed>();
  return embed && !embed->of_position;
}

constexpr Needs prompt{2}, decode{2, 1}, decode_twice{2, 2};
constexpr Fits matmul = is<op::Matmul>, rope = is<op::Rope>, attention = is<op::Attend>,
               norm = is<op::RmsNorm>, addition = is<op::Add>, experts = is<op::MatmulExperts>;

std::vector<Entry> weight_faults() {
  return {
      // 2: the tensor is read as (columns, rows); some rows or blocks late; as another type of the
      // same size; with Q and K's rows in the other pairing's order; the embedding as the head
      {Bug::weight_transposed, "weight-transposed", 2, tall_matmul},
      Entry{Bug::weight_row_shift, "weight-row-shift", 2, tall_matmul}.counting("rows", 1,
                                                                                {1, 2, 3}),
      Entry{Bug::weight_block_shift, "weight-block-shift", 2, several_blocks}.counting("blocks", 1,
                                                                                       {1, 2, 3}),
      {Bug::weight_type, "weight-type", 2, has_twin},
      {Bug::weight_permuted, "weight-permuted", 2, projects_to_rope},
      {Bug::weight_tied_head, "weight-tied-head", 2, untied_head},
      // 3: Q4_K, Q5_K: the top two bits of groups 4 to 7 are lost
      {Bug::scale_high_bits, "scale-high-bits", 3, six_bit_scales},
      // 4: six-bit scales read as if they lay one after another; group 0's scale for all
      {Bug::scale_map, "scale-map", 4, six_bit_scales},
      {Bug::scale_stuck, "scale-stuck", 4, several_scales},
      {Bug::minimum_ignored, "minimum-ignored", 5, with_minimum},
      {Bug::minimum_sign, "minimum-sign", 5, with_minimum},
      // 6: high nibbles first; byte j as weights 2j and 2j + 1; Q6_K's middle quarters exchanged
      {Bug::nibbles_swapped, "nibbles-swapped", 6, nibbles},
      {Bug::nibbles_interleaved, "nibbles-interleaved", 6, nibbles},
      {Bug::q6k_order, "q6k-order", 6, q6k},
      // 7: d and dmin exchanged; their f16 bits read as bf16
      {Bug::d_dmin_swapped, "d-dmin-swapped", 7, with_dmin},
      {Bug::scale_bf16, "scale-bf16", 7, f16_scale},
      // 2: blocks of four rows, one of each in turn, read as whole rows; a row's offset that begins
      // again
      {Bug::weight_repacked, "weight-repacked", 2, repackable},
      Entry{Bug::row_wraps, "row-wraps", 2, wraps}.counting("rows", 32, {7, 16, 32}),
      // 5: what a minimum meets, Σ x of a group, is kept as f16
      {Bug::sums_f16, "sums-f16", 5, with_minimum},
      Entry{Bug::bias_missing, "bias-missing", 2, with_bias}.called("bias"),
  };
}

std::vector<Entry> shape_faults() {
  return {
      // 8: the last `tail` columns are not summed
      Entry{Bug::k_tail, "k-tail", 8, matmul}.counting("tail", 32, {}),
      // 9: the last rows stay unwritten; the tokens beyond whole tiles; the last row computes the
      // one before it
      Entry{Bug::row_tail, "row-tail", 9, tall_matmul}.counting("tail", 1, {1, 3, 7}),
      Entry{Bug::token_tail, "token-tail", 9, within_a_layer}.beyond("tile", 4, {4, 8}),
      {Bug::edge_row, "edge-row", 9, tall_matmul},
      // 10: beyond `limit` tokens the last 32 columns are lost (a shorter step tells it from
      // k-tail);
      // beyond `limit` keys attention runs
      // in two halves, combined without their maxima
      Entry{Bug::matmul_path, "matmul-path", 10, within_a_layer}.beyond("limit", 8, {2, 4, 8}),
      Entry{Bug::attention_path, "attention-path", 10, whole_attention}.beyond("limit", 8,
                                                                               {4, 8, 16}),
      // 8: each of `parts` parts of a row is summed up to its last whole 32
      Entry{Bug::split_columns, "split-columns", 8, splits}
          .counting("parts", 3, {3, 5, 8})
          .called("k-tail"),
      // 9: results of tokens beyond the grid's limit stay unwritten
      Entry{Bug::grid_limit, "grid-limit", 9, norm_of_any}
          .beyond("limit", 8, {4, 8})
          .called("unwritten"),
  };
}

std::vector<Entry> rope_faults() {
  const auto turning = [](Bug bug, std::string_view name, int row, Needs needs = prompt) {
    return Entry{bug, name, row, rope}.within(Scope::layer).needing(needs);
  };
  return {
      turning(Bug::rope_pairing, "rope-pairing", 11),
      // 12: another base; positions divided by `factor`; the slower half of the frequencies divided
      turning(Bug::rope_base, "rope-base", 12).with("base", 20000, {500, 5000, 20000, 500000, 1e6}),
      turning(Bug::rope_scaling, "rope-scaling", 12).with("factor", 4, {0.5, 2, 4, 8}),
      turning(Bug::rope_factors, "rope-factors", 12).with("factor", 8, {2, 8, 32}),
      // 12: half as many lanes turn, by their own frequencies; cos and sin are multiplied by
      // `factor`; another layer's table; keys turn in a layer without RoPE
      Entry{Bug::rope_dimensions, "rope-dimensions", 12, several_pairs}
          .within(Scope::layer)
          .needing(prompt),
      turning(Bug::rope_magnitude, "rope-magnitude", 12, {})
          .with("factor", 1.25, {0.75, 1.25, 1.5}),
      Entry{Bug::rope_table, "rope-table", 12, other_frequencies}
          .within(Scope::layer)
          .needing(prompt),
      Entry{Bug::rope_added, "rope-added", 12, unturned_keys}.needing(prompt),
      // 13: the step's first position for all its tokens; positions count from the step's start;
      // decoding one position late; Q one position ahead; and the benign twin: Q and K both ahead,
      // which is none where only some steps are
      turning(Bug::position_stuck, "position-stuck", 13),
      turning(Bug::position_restarts, "position-restarts", 13, decode),
      turning(Bug::position_stale, "position-stale", 13, decode),
      {Bug::position_off_by_one, "position-off-by-one", 13, query_rope},
      turning(Bug::position_shifted, "position-shifted", 13, {})
          .counting("shift", 1, {1, 3, 100})
          .harmless(),
      turning(Bug::position_ahead, "position-ahead", 13, decode).counting("shift", 1, {1, 2, 7}),
      // not in the catalogue: the rotation turns the other way
      turning(Bug::unlisted_backwards, "unlisted-backwards", 0).called("rope-backwards"),
  };
}

std::vector<Entry> attention_faults() {
  const auto attending = [](Bug bug, std::string_view name, int row, Needs needs = prompt) {
    return Entry{bug, name, row, attention}.needing(needs);
  };
  return {
      // 14: head h reads KV head h mod kv_heads
      {Bug::gqa_modulo, "gqa-modulo", 14, grouped_attention},
      // 15: all keys that the cache holds; one key too many
      attending(Bug::mask_missing, "mask-missing", 15),
      attending(Bug::mask_off_by_one, "mask-off-by-one", 15),
      // 16, in decoding: a token does not see itself; it overwrites the slot before its own
      attending(Bug::newest_key_dropped, "newest-key-dropped", 16, decode),
      Entry{Bug::kv_slot, "kv-slot", 16, cache}.within(Scope::layer).needing(decode),
      attending(Bug::score_scale_missing, "score-scale-missing", 17),
      attending(Bug::score_scale_twice, "score-scale-twice", 17),
      Entry{Bug::score_softcap, "score-softcap", 17, uncapped_attention}.needing(prompt).with(
          "cap", 50, {1, 2, 5}),
      // 16: keys are stored as values and values as keys; keys from `keys` on have no column; the
      // second block's values, where keys and values differ in size, are the first's
      {Bug::kv_exchanged, "kv-exchanged", 16, exchangeable},
      Entry{Bug::keys_lost, "keys-lost", 16, whole_attention}.beyond("keys", 32768, {4, 8}),
      Entry{Bug::value_block, "value-block", 16, unequal_dims}.needing({66, 1}),
      // 17: the model's cap left out, or put on the product before its scale; its ALiBi left out, or
      // each head's that of the one before; its sinks left out
      Entry{Bug::score_cap_missing, "score-cap-missing", 17, capped}.needing(prompt),
      Entry{Bug::score_cap_before_scale, "score-cap-before-scale", 17, capped}.needing(prompt),
      Entry{Bug::alibi_missing, "alibi-missing", 17, with_alibi}.needing(prompt),
      Entry{Bug::alibi_steps, "alibi-steps", 17, with_alibi}.needing(prompt),
      {Bug::sink_missing, "sink-missing", 17, with_sinks},
      // 18: slots up to a multiple of `multiple` count as keys of zeros; 0 times what unwritten
      // memory holds; a chunk in which every key is masked
      attending(Bug::softmax_padding, "softmax-padding", 18, {})
          .counting("multiple", 32, {32, 64, 256}),
      attending(Bug::softmax_nan, "softmax-nan", 18, {}).called("softmax-not-finite"),
      attending(Bug::softmax_infinite, "softmax-infinite", 18, {}).called("softmax-not-finite"),
      // 18: a leading chunk in which every key is masked (−∞ − −∞); a first token that sees no key;
      // 0/0 at one number of keys
      Entry{Bug::softmax_masked_chunk, "softmax-masked-chunk", 18, windowed}.needing({90}).called(
          "softmax-not-finite"),
      Entry{Bug::softmax_masked_row, "softmax-masked-row", 18, without_sinks}.called(
          "softmax-not-finite"),
      attending(Bug::softmax_one_shape, "softmax-one-shape", 18, {})
          .beyond("keys", 5, {1, 3, 5})
          .called("softmax-not-finite"),
      // 19: sums of values are kept as f16 and overflow; scores are; what parts are rescaled by is
      attending(Bug::value_sums_f16, "value-sums-f16", 19, {2, 0, true}),
      attending(Bug::scores_f16, "scores-f16", 19).called("f16-attention"),
      Entry{Bug::rescale_f16, "rescale-f16", 19, whole_attention}.needing({96}),
      // 24: the last `window` keys only; the model's window one shorter, one longer, left out
      Entry{Bug::sliding_window, "sliding-window", 24, whole_attention}.needing(prompt).beyond(
          "window", 8, {2, 4, 8}),
      Entry{Bug::window_short, "window-short", 24, windowed}.needing({24}).called("window-size"),
      Entry{Bug::window_long, "window-long", 24, windowed}.needing({24}).called("window-size"),
      Entry{Bug::window_missing, "window-missing", 24, windowed}.needing({24}),
      // 26: from the second decode step on, as many keys as in the first
      attending(Bug::stale_graph, "stale-graph", 26, decode_twice),
      // not in the catalogue: 2^x for e^x
      Entry{Bug::unlisted_base_two, "unlisted-base-two", 0, plain_scores}.needing(prompt).called(
          "softmax-base-two"),
  };
}

std::vector<Entry> other_faults() {
  return {
      // 19: the result is kept as f16
      Entry{Bug::f16_overflow, "f16-overflow", 19, can_overflow}.needing({1, 0, true}),
      Entry{Bug::norm_eps, "norm-eps", 20, norm_of_any}.with("eps", 1e-3, {1e-3, 1e-2}),
      {Bug::norm_plus_one, "norm-plus-one", 21, norm_of_any},
      {Bug::norm_weight_twice, "norm-weight-twice", 21, weighted_norm},
      {Bug::norm_weight_omitted, "norm-weight-omitted", 21, weighted_norm},
      // 21: all heads together, where each is normed by itself; the mean stays, where it is taken
      // away
      {Bug::norm_whole_row, "norm-whole-row", 21, norm_of_parts},
      {Bug::norm_mean_kept, "norm-mean-kept", 21, is<op::LayerNorm>},
      {Bug::gate_up_swapped, "gate-up-swapped", 22, even_gate},
      {Bug::gate_missing, "gate-missing", 22, narrow_gate},
      {Bug::activation_gelu_tanh, "activation-gelu-tanh", 22, activates<op::Activation::gelu_tanh>},
      {Bug::activation_gelu_erf, "activation-gelu-erf", 22, activates<op::Activation::gelu_erf>},
      {Bug::activation_gelu_quick, "activation-gelu-quick", 22,
       activates<op::Activation::gelu_quick>},
      {Bug::activation_relu, "activation-relu", 22, activates<op::Activation::relu>},
      {Bug::activation_silu, "activation-silu", 22, activates<op::Activation::silu>},
      {Bug::xielu_line_missing, "xielu-line-missing", 22, is<op::Xielu>},
      // 23: norm(x) + branch; branch alone; x alone; the residual of the layer's start
      {Bug::residual_after_norm, "residual-after-norm", 23, after_norm},
      {Bug::residual_missing, "residual-missing", 23, addition},
      {Bug::branch_missing, "branch-missing", 23, addition},
      {Bug::residual_parallel, "residual-parallel", 23, second_residual},
      // 26: from the second decode step on, the token of the step before
      Entry{Bug::stale_input, "stale-input", 26, of_token}.needing(decode_twice),
      // 28, benign: activations unquantised; groups summed from the last to the first
      Entry{Bug::contract_f32, "contract-f32", 28, block_product}.within(Scope::program).harmless(),
      Entry{Bug::sum_order, "sum-order", 28, matmul}.harmless(),
      Entry{Bug::clipped, "clipped", 31, addition}.with("limit", 10, {0.0625, 0.125, 0.25}),
      // 32: a factor that the model does not have (Gemma's √width, Granite's multipliers)
      Entry{Bug::embedding_scale, "embedding-scale", 32, is<op::Embed>}.with("factor", 12,
                                                                             {0.5, 12, 16}),
      Entry{Bug::residual_scale, "residual-scale", 32, addition}.with("factor", 0.22,
                                                                      {0.22, 0.5, 2}),
      // 32: a factor of the model left out, or divided by; a cap, limits or a factor of the position
      // left out; a table of positions read two rows late
      {Bug::factor_missing, "factor-missing", 32, scales},
      {Bug::factor_divides, "factor-divides", 32, scales},
      {Bug::cap_missing, "cap-missing", 32, is<op::SoftCap>},
      {Bug::clamp_missing, "clamp-missing", 32, is<op::Clamp>},
      {Bug::temperature_missing, "temperature-missing", 32, is<op::PositionScale>},
      Entry{Bug::table_shifted, "table-shifted", 32, of_position}.counting("rows", 2, {1, 2}),
      // not in the catalogue: the mean is subtracted before the norm; a token reads its
      // neighbour's activations
      Entry{Bug::unlisted_mean, "unlisted-mean", 0, norm}.called("unknown"),
      Entry{Bug::unlisted_neighbour, "unlisted-neighbour", 0, within_a_layer}
          .needing(prompt)
          .called("tile-repeated"),
  };
}

std::vector<Entry> expert_faults() {
  return {
      // 33: a softmax over all for one over the chosen, or for the sigmoid; the bias not asked, or
      // left in the weight; every group open; not over the sum, or over it where it should not be;
      // not scaled; the last of the chosen left out
      {Bug::route_other_function, "route-other-function", 33, other_function},
      {Bug::route_bias_ignored, "route-bias-ignored", 33, biased_choice},
      {Bug::route_bias_in_weight, "route-bias-in-weight", 33, biased_weights},
      {Bug::route_groups_ignored, "route-groups-ignored", 33, limited_groups},
      {Bug::route_not_renormalised, "route-not-renormalised", 33, renormalises},
      {Bug::route_renormalised, "route-renormalised", 33, not_renormalised},
      {Bug::route_scale_missing, "route-scale-missing", 33, scaled_route},
      {Bug::route_one_short, "route-one-short", 33, several_chosen},
      // 34: the next expert's rows; those of the first token's experts; an expert's tokens beyond
      // whole tiles; an expert's factor, or its weight, left out; its weight twice
      {Bug::expert_off_by_one, "expert-off-by-one", 34, experts},
      Entry{Bug::expert_of_first_token, "expert-of-first-token", 34, experts}.needing({9}),
      Entry{Bug::expert_tail, "expert-tail", 34, experts}.needing({29}).counting("tile", 4, {2, 4}),
      {Bug::expert_scale_missing, "expert-scale-missing", 34, is<op::ScaleExperts>},
      {Bug::experts_unweighted, "experts-unweighted", 34, weighs},
      {Bug::experts_weighted_twice, "experts-weighted-twice", 34, weighs},
  };
}

/// A product within a layer, of more than a few rows.
bool tall_inner(const Program& program, const Operation& o) {
  return tall_matmul(program, o) && within_a_layer(program, o);
}
bool several_heads(const Program&, const Operation& o) {
  const auto* turning = o.as<op::Rope>();
  return turning && turning->heads > 1;
}
bool several_groups(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return block_format(program, o) && weight->columns > quant::info(weight->type).block_size;
}
bool plain_bias(const Program&, const Operation& o) {
  return o.bias != op::none && (o.is<op::Matmul>() || o.is<op::LayerNorm>());
}
bool even_columns(const Program& program, const Operation& o) {
  const op::Weight* weight = matrix(program, o);
  return weight && weight->columns % 2 == 0;
}
bool has_other_weight(const Program& program, const Operation& o) {
  return within_a_layer(program, o) && other_weight(program, o) != op::none;
}
/// Frequencies that are powers of a base.
bool plain_frequencies(const Program& program, const Operation& o) {
  if (!o.is<op::Rope>()) return false;
  const op::RopeTable& table = program.rope_of(o);
  if (table.magnitude != 1 || table.frequency.size() < 2) return false;
  const double ratio = table.frequency[1] / table.frequency[0];
  for (size_t i = 1; i < table.frequency.size(); ++i)
    if (std::fabs(table.frequency[i] / table.frequency[i - 1] / ratio - 1) > 1e-9) return false;
  return table.frequency[0] == 1;
}

std::vector<Entry> part_faults() {
  return {
      // 35: four positions of the cache hold zeros, those of an earlier layer, those of four others;
      // the first key, or a token's own, is not seen
      Entry{Bug::kv_page, "kv-page", 35, whole_attention}.needing({9}).counting("content", 1,
                                                                                {1, 2, 3}),
      Entry{Bug::key_unseen, "key-unseen", 35, whole_attention}.needing({3}).counting("which", 1,
                                                                                      {1, 2}),
      // half of the heads do not turn; heads take each a KV head of their own while there are some
      Entry{Bug::head_part, "head-part", 35, several_heads}.needing(prompt),
      {Bug::head_count, "head-count", 35, grouped_attention},
      // of the result: a square of tokens and channels turned; a quarter of the channels that hold
      // what is the first quarter's, or zeros; one bit of one element; one bit of half the channels;
      // a token times 1.25
      Entry{Bug::tile_transposed, "tile-transposed", 35, tall_inner}.beyond("size", 4, {4, 8}),
      {Bug::tile_repeated, "tile-repeated", 35, tall_inner},
      {Bug::rows_not_written, "rows-not-written", 35, tall_inner},
      Entry{Bug::bit_flipped, "bit-flipped", 35, tall_inner}.counting("bit", 21, {19, 21, 24}),
      Entry{Bug::bit_stuck, "bit-stuck", 35, tall_inner}.counting("bit", 21, {20, 21, 22}),
      Entry{Bug::token_scale, "token-scale", 35, tall_inner}.beyond("token", 3, {1, 5}),
      // of the product: a group's scale times 1.25; its bias twice; neighbouring columns exchanged;
      // another tensor of its shape
      Entry{Bug::group_scale, "group-scale", 35, several_groups}.needing({4}).counting("row", 1,
                                                                                       {1, 3, 7}),
      Entry{Bug::bias_twice, "bias-twice", 35, plain_bias}.called("bias"),
      {Bug::columns_permuted, "columns-permuted", 35, even_columns},
      {Bug::weight_other, "weight-other", 35, has_other_weight},
      // a layer gives what it was given
      {Bug::layer_missing, "layer-missing", 35, second_residual},
      // YaRN where the model has none
      Entry{Bug::rope_yarn, "rope-yarn", 35, plain_frequencies}
          .within(Scope::layer)
          .needing(prompt)
          .with("factor", 4, {2, 4, 8}),
      // one token has another's row; all have the next one's
      Entry{Bug::wrong_token, "wrong-token", 35, of_token}.beyond("token", 3, {1, 5}),
      {Bug::embedding_row, "embedding-row", 35, of_token},
      // the scale of a block of activations is kept as f16 and overflows
      Entry{Bug::f16_scale_overflow, "f16-scale-overflow", 35, inner_block_product}.needing(
          {1, 0, true}),
  };
}

}  // namespace

Entry Entry::with(std::string_view parameter_name, double usually,
                  std::vector<double> drawn) const {
  Entry entry = *this;
  entry.parameter = parameter_name;
  entry.usual = usually;
  entry.choices = std::move(drawn);
  return entry;
}
Entry Entry::counting(std::string_view parameter_name, double usually,
                      std::vector<double> drawn) const {
  Entry entry = with(parameter_name, usually, std::move(drawn));
  entry.whole = true;
  return entry;
}
Entry Entry::beyond(std::string_view parameter_name, double usually,
                    std::vector<double> drawn) const {
  Entry entry = counting(parameter_name, usually, std::move(drawn));
  entry.beyond_value = true;
  return entry;
}
Entry Entry::within(Scope wider) const {
  Entry entry = *this;
  entry.scope = wider;
  return entry;
}
Entry Entry::needing(Needs what) const {
  Entry entry = *this;
  entry.needs = what;
  return entry;
}
Entry Entry::called(std::string_view by_the_judge) const {
  Entry entry = *this;
  entry.cause = by_the_judge;
  return entry;
}
Entry Entry::harmless() const {
  Entry entry = *this;
  entry.benign = true;
  return entry;
}

const std::vector<Entry>& list() {
  static const std::vector<Entry> made = [] {
    std::vector<Entry> all;
    for (const auto& part : {weight_faults(), shape_faults(), rope_faults(), attention_faults(),
                             other_faults(), expert_faults(), part_faults()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return made;
}

uint32_t normalised_residual(const Program& program, const Operation& operation) {
  if (!operation.is<op::Add>()) return op::none;
  for (const Operation& norm : program.operations)
    if ((norm.is<op::RmsNorm>() || norm.is<op::LayerNorm>()) && norm.layer == operation.layer &&
        norm.inputs[0] == operation.inputs[0])
      return norm.output;
  return op::none;
}

uint32_t earlier_residual(const Program& program, const Operation& operation) {
  if (!operation.is<op::Add>()) return op::none;
  for (const Operation& first : program.operations)
    if (first.is<op::Add>() && first.layer == operation.layer &&
        first.output == operation.inputs[0])
      return first.inputs[0];
  return op::none;
}

float eps_of(const Operation& operation) {
  if (const auto* norm = operation.as<op::LayerNorm>()) return norm->eps;
  return operation.as<op::RmsNorm>()->eps;
}

uint64_t split_tail(uint64_t columns, uint64_t parts) {
  const uint64_t part = columns / parts / 32 * 32;
  return part == 0 ? 0 : columns - parts * part;
}

uint32_t other_table(const Program& program, const Operation& operation) {
  const op::RopeTable& own = program.rope_of(operation);
  for (uint32_t i = 0; i < program.rope_tables.size(); ++i) {
    const op::RopeTable& other = program.rope_tables[i];
    if (!other.growth && other.dimensions == own.dimensions && other.adjacent == own.adjacent &&
        other.frequency != own.frequency)
      return i;
  }
  return op::none;
}

uint32_t other_weight(const Program& program, const Operation& operation) {
  if (!operation.is<op::Matmul>()) return op::none;
  const op::Weight& own = program.weights[operation.weight];
  for (const Operation& other : program.operations) {
    if (!other.is<op::Matmul>() || other.layer == op::none) continue;
    const op::Weight& weight = program.weights[other.weight];
    if (weight.data.data() != own.data.data() && weight.rows == own.rows &&
        weight.columns == own.columns && weight.type == own.type)
      return other.weight;
  }
  return op::none;
}

uint32_t twin_type(uint32_t type) {
  switch (type) {
    case quant::F16::id:
      return quant::BF16::id;
    case quant::BF16::id:
      return quant::F16::id;
    case quant::Q4_0::id:
      return quant::IQ4_NL::id;
    case quant::IQ4_NL::id:
      return quant::Q4_0::id;
    default:
      return op::none;
  }
}

}  // namespace assay::fault
