#include "fault/list.h"

#include <utility>

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
bool super_block(const Program& program, const Operation& o) {
  return format(program, o, []<class F>() { return F::block_size > F::group_size; });
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
                []<class F>() { return F::id == quant::IQ4_NL::id || F::code_bits == 4; });
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
    if (const auto* norm = reader.as<op::RmsNorm>();
        norm && norm->parts > 1 && reads(reader, o.output))
      return true;
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

constexpr Needs prompt{2}, decode{2, 1}, decode_twice{2, 2};
constexpr Fits matmul = is<op::Matmul>, rope = is<op::Rope>, attention = is<op::Attend>,
               norm = is<op::RmsNorm>, gate = is<op::Gate>, addition = is<op::Add>;

std::vector<Entry> weight_faults() {
  return {
      // 2: the tensor is read as (columns, rows); some rows or blocks late; as another type of the
      // same size; with Q and K's rows in the other pairing's order; the embedding as the head
      {Bug::weight_transposed, "weight-transposed", 2, matmul},
      Entry{Bug::weight_row_shift, "weight-row-shift", 2, matmul}.counting("rows", 1, {1, 2, 3}),
      Entry{Bug::weight_block_shift, "weight-block-shift", 2, several_blocks}.counting("blocks", 1,
                                                                                       {1, 2, 3}),
      {Bug::weight_type, "weight-type", 2, has_twin},
      {Bug::weight_permuted, "weight-permuted", 2, projects_to_rope},
      {Bug::weight_tied_head, "weight-tied-head", 2, untied_head},
      // 3: Q4_K, Q5_K: the top two bits of groups 4 to 7 are lost
      {Bug::scale_high_bits, "scale-high-bits", 3, six_bit_scales},
      // 4: six-bit scales read as if they lay one after another; group 0's scale for all
      {Bug::scale_map, "scale-map", 4, six_bit_scales},
      {Bug::scale_stuck, "scale-stuck", 4, super_block},
      {Bug::minimum_ignored, "minimum-ignored", 5, with_minimum},
      {Bug::minimum_sign, "minimum-sign", 5, with_minimum},
      // 6: high nibbles first; byte j as weights 2j and 2j + 1; Q6_K's middle quarters exchanged
      {Bug::nibbles_swapped, "nibbles-swapped", 6, nibbles},
      {Bug::nibbles_interleaved, "nibbles-interleaved", 6, nibbles},
      {Bug::q6k_order, "q6k-order", 6, q6k},
      // 7: d and dmin exchanged; their f16 bits read as bf16
      {Bug::d_dmin_swapped, "d-dmin-swapped", 7, with_dmin},
      {Bug::scale_bf16, "scale-bf16", 7, block_format},
  };
}

std::vector<Entry> shape_faults() {
  return {
      // 8: the last `tail` columns are not summed
      Entry{Bug::k_tail, "k-tail", 8, matmul}.counting("tail", 32, {}),
      // 9: the last rows stay unwritten; the tokens beyond whole tiles; the last row computes the
      // one before it
      Entry{Bug::row_tail, "row-tail", 9, matmul}.counting("tail", 1, {1, 3, 7}),
      Entry{Bug::token_tail, "token-tail", 9, within_a_layer}.beyond("tile", 4, {4, 8}),
      {Bug::edge_row, "edge-row", 9, matmul},
      // 10: beyond `limit` tokens the last 32 columns are lost (a shorter step tells it from
      // k-tail);
      // beyond `limit` keys attention runs
      // in two halves, combined without their maxima
      Entry{Bug::matmul_path, "matmul-path", 10, within_a_layer}.beyond("limit", 8, {2, 4, 8}),
      Entry{Bug::attention_path, "attention-path", 10, attention}.beyond("limit", 8, {4, 8, 16}),
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
      // 13: the step's first position for all its tokens; positions count from the step's start;
      // decoding one position late; Q one position ahead; and the benign twin: Q and K both ahead
      turning(Bug::position_stuck, "position-stuck", 13),
      turning(Bug::position_restarts, "position-restarts", 13, decode),
      turning(Bug::position_stale, "position-stale", 13, decode),
      {Bug::position_off_by_one, "position-off-by-one", 13, query_rope},
      turning(Bug::position_shifted, "position-shifted", 13, {})
          .counting("shift", 1, {1, 3, 100})
          .harmless(),
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
      attending(Bug::score_softcap, "score-softcap", 17).with("cap", 50, {1, 2, 5}),
      // 18: slots up to a multiple of `multiple` count as keys of zeros; 0 times what unwritten
      // memory holds; a chunk in which every key is masked
      attending(Bug::softmax_padding, "softmax-padding", 18, {})
          .counting("multiple", 32, {32, 64, 256}),
      attending(Bug::softmax_nan, "softmax-nan", 18, {}).called("softmax-not-finite"),
      attending(Bug::softmax_infinite, "softmax-infinite", 18, {}).called("softmax-not-finite"),
      // 24: the last `window` keys only
      attending(Bug::sliding_window, "sliding-window", 24).beyond("window", 8, {2, 4, 8}),
      // 26: from the second decode step on, as many keys as in the first
      attending(Bug::stale_graph, "stale-graph", 26, decode_twice),
      // not in the catalogue: 2^x for e^x
      attending(Bug::unlisted_base_two, "unlisted-base-two", 0).called("softmax-base-two"),
  };
}

std::vector<Entry> other_faults() {
  return {
      // 19: the result is kept as f16
      Entry{Bug::f16_overflow, "f16-overflow", 19, can_overflow}.needing({1, 0, true}),
      Entry{Bug::norm_eps, "norm-eps", 20, norm}.with("eps", 1e-3, {1e-3, 1e-2}),
      {Bug::norm_plus_one, "norm-plus-one", 21, norm},
      {Bug::norm_weight_twice, "norm-weight-twice", 21, norm},
      {Bug::norm_weight_omitted, "norm-weight-omitted", 21, norm},
      {Bug::gate_up_swapped, "gate-up-swapped", 22, gate},
      {Bug::activation_gelu_tanh, "activation-gelu-tanh", 22, gate},
      {Bug::activation_gelu_erf, "activation-gelu-erf", 22, gate},
      {Bug::activation_relu, "activation-relu", 22, gate},
      // 23: norm(x) + branch; branch alone; x alone; the residual of the layer's start
      {Bug::residual_after_norm, "residual-after-norm", 23, after_norm},
      {Bug::residual_missing, "residual-missing", 23, addition},
      {Bug::branch_missing, "branch-missing", 23, addition},
      {Bug::residual_parallel, "residual-parallel", 23, second_residual},
      // 26: from the second decode step on, the token of the step before
      Entry{Bug::stale_input, "stale-input", 26, is<op::Embed>}.needing(decode_twice),
      // 28, benign: activations unquantised; groups summed from the last to the first
      Entry{Bug::contract_f32, "contract-f32", 28, block_format}.within(Scope::program).harmless(),
      Entry{Bug::sum_order, "sum-order", 28, matmul}.harmless(),
      Entry{Bug::clipped, "clipped", 31, addition}.with("limit", 10, {0.125, 0.25, 0.5}),
      // 32: a factor that the model does not have (Gemma's √width, Granite's multipliers)
      Entry{Bug::embedding_scale, "embedding-scale", 32, is<op::Embed>}.with("factor", 12,
                                                                             {0.5, 12, 16}),
      Entry{Bug::residual_scale, "residual-scale", 32, addition}.with("factor", 0.22,
                                                                      {0.22, 0.5, 2}),
      // not in the catalogue: the mean is subtracted before the norm; a token reads its
      // neighbour's activations
      Entry{Bug::unlisted_mean, "unlisted-mean", 0, norm}.called("unknown"),
      Entry{Bug::unlisted_neighbour, "unlisted-neighbour", 0, within_a_layer}
          .needing(prompt)
          .called("unknown"),
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
    for (const auto& part :
         {weight_faults(), shape_faults(), rope_faults(), attention_faults(), other_faults()})
      all.insert(all.end(), part.begin(), part.end());
    return all;
  }();
  return made;
}

uint32_t normalised_residual(const Program& program, const Operation& operation) {
  if (!operation.is<op::Add>()) return op::none;
  for (const Operation& norm : program.operations)
    if (norm.is<op::RmsNorm>() && norm.layer == operation.layer &&
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
