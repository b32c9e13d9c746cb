#include "op/kinds.h"

#include <fmt/format.h>

#include <array>

#include "op/program.h"

namespace assay::op {

namespace {

using Names = std::array<std::string_view, 3>;
constexpr Names x = {"x"}, gated = {"gate", "up"}, summed = {"residual", "branch"},
                cached = {"keys", "values"}, attended = {"queries", "keys", "values"};

constexpr std::span<const std::string_view> first(const Names& names, size_t count) {
  return std::span(names).first(count);
}

constexpr std::array<KindRow, kind_count> rows = {{
    {.kind = Kind::embed,
     .name = "embed",
     .formula = "y[t] = weight[input0[t]]",
     .reads = {},
     .inputs = 0,
     .weight = WeightShape::table},
    {.kind = Kind::rms_norm,
     .name = "rms_norm",
     .formula =
         "y[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i], in each of `parts` equal parts of a row",
     .reads = first(x, 1),
     .inputs = 1,
     .weight = WeightShape::vector},
    {.kind = Kind::matmul,
     .name = "matmul",
     .formula = "y[t, r] = sum_c weight[r, c] * x[t, c] (+ bias[r])",
     .reads = first(x, 1),
     .inputs = 1,
     .weight = WeightShape::matrix,
     .bias = true},
    {.kind = Kind::rope,
     .name = "rope",
     .formula =
         "each head's first `dimensions` lanes turn in pairs by position * frequency: (a, b) -> (a "
         "cos - b sin, a sin + b cos) * magnitude; pairs are lanes (2i, 2i + 1) where `pairing` "
         "is adjacent, else (i, i + dimensions / 2). cos_sin.npy is (tokens, pairs, 2), times "
         "the magnitude",
     .reads = first(x, 1),
     .inputs = 1},
    {.kind = Kind::kv_store,
     .name = "kv_store",
     .formula = "the cache's rows at the step's positions = keys, values",
     .reads = first(cached, 2),
     .inputs = 2,
     .cache = true,
     .moves = true},
    {.kind = Kind::attention,
     .name = "attention",
     .formula =
         "head h of the query at position p: softmax_j(scale * q.K[j]) V[j] over j <= p, with KV "
         "head h / (heads / kv_heads); row j of keys and values is position j",
     .reads = first(attended, 3),
     .inputs = 1,
     .cache = true},
    {.kind = Kind::gate,
     .name = "gate",
     .formula = "y[i] = f(gate[i]) * up[i]",
     .reads = first(gated, 2),
     .inputs = 2},
    {.kind = Kind::add,
     .name = "add",
     .formula = "y[i] = residual[i] + branch[i]",
     .reads = first(summed, 2),
     .inputs = 2},
    {.kind = Kind::scale,
     .name = "scale",
     .formula = "y[i] = x[i] * factor (+ bias[i])",
     .reads = first(x, 1),
     .inputs = 1,
     .bias = true},
    {.kind = Kind::select_rows,
     .name = "select_rows",
     .formula = "y = the rows whose logits are wanted",
     .reads = first(x, 1),
     .inputs = 1,
     .moves = true},
}};

constexpr bool rows_stand_in_order() {
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].kind != Kind(i) || rows[i].name.empty()) return false;
  for (size_t i = 0; i < activations.size(); ++i)
    if (activations[i].activation != Activation(i)) return false;
  return true;
}
static_assert(rows_stand_in_order(), "a row per kind and activation, in the order of the lists");
static_assert(Kind::select_rows == Kind(kind_count - 1), "Kind and Parameters list the same kinds");

/// The facts of an operation that its checks ask for.
struct Facts {
  const Program& program;
  const Operation& operation;

  uint32_t width(size_t i) const { return program.values[operation.inputs[i]].width; }
  const Weight& weight() const { return program.weights[operation.weight]; }
  bool has_table(uint32_t table) const { return table < program.rope_tables.size(); }
  bool has_cache(uint32_t cache) const { return cache < program.caches.size(); }
};

uint32_t width_of(const Facts& facts) {
  return visit(
      facts.operation,                                                 //
      [&](const Embed&) { return uint32_t(facts.weight().columns); },  //
      [&](const Matmul&) { return uint32_t(facts.weight().rows); },    //
      [&](const KvStore&) { return 0u; },                              //
      [&](const Attend& p) { return p.heads * facts.program.caches[p.cache].value_dim; },
      [&](const auto&) { return facts.width(0); });
}

std::string problem(const Facts&, const Embed&) {
  return {};
}

std::string problem(const Facts& facts, const RmsNorm& p) {
  if (!(p.eps > 0)) return "eps must be above 0";
  if (p.parts == 0 || facts.width(0) % p.parts)
    return fmt::format("{} values are not {} equal parts", facts.width(0), p.parts);
  if (facts.weight().rows != 1) return "the norm's weight must be one row";
  if (facts.weight().columns == facts.width(0) / p.parts) return {};
  return fmt::format("the weight has rows of {}, the input of {}", facts.weight().columns,
                     facts.width(0) / p.parts);
}

std::string problem(const Facts& facts, const Matmul&) {
  if (facts.weight().columns == facts.width(0)) return {};
  return fmt::format("the weight has rows of {}, the input of {}", facts.weight().columns,
                     facts.width(0));
}

std::string problem(const Facts& facts, const Rope& p) {
  if (!facts.has_table(p.table)) return fmt::format("there is no rotary table {}", p.table);
  if (p.heads == 0 || facts.width(0) % p.heads)
    return fmt::format("{} values a row are not {} heads", facts.width(0), p.heads);
  const uint32_t head_dim = facts.width(0) / p.heads;
  const uint32_t lanes = facts.program.rope_tables[p.table].dimensions;
  if (lanes > head_dim) return fmt::format("{} lanes turn, a head has {}", lanes, head_dim);
  return {};
}

std::string problem(const Facts& facts, const KvStore& p) {
  if (!facts.has_cache(p.cache)) return fmt::format("there is no cache {}", p.cache);
  const CacheShape& shape = facts.program.caches[p.cache];
  if (facts.width(0) != shape.kv_heads * shape.key_dim)
    return fmt::format("keys of {} values are not {} heads of {}", facts.width(0), shape.kv_heads,
                       shape.key_dim);
  if (facts.width(1) != shape.kv_heads * shape.value_dim)
    return fmt::format("values of {} are not {} heads of {}", facts.width(1), shape.kv_heads,
                       shape.value_dim);
  return {};
}

std::string problem(const Facts& facts, const Attend& p) {
  if (!facts.has_cache(p.cache)) return fmt::format("there is no cache {}", p.cache);
  const CacheShape& shape = facts.program.caches[p.cache];
  if (shape.kv_heads == 0 || p.heads == 0 || p.heads % shape.kv_heads)
    return fmt::format("{} heads are not a multiple of {} KV heads", p.heads, shape.kv_heads);
  if (facts.width(0) != p.heads * shape.key_dim)
    return fmt::format("queries of {} values are not {} heads of {}", facts.width(0), p.heads,
                       shape.key_dim);
  return {};
}

std::string same_widths(const Facts& facts) {
  if (facts.width(0) == facts.width(1)) return {};
  return fmt::format("inputs of {} and {} values", facts.width(0), facts.width(1));
}
std::string problem(const Facts& facts, const Gate&) {
  return same_widths(facts);
}
std::string problem(const Facts& facts, const Add&) {
  return same_widths(facts);
}

std::string problem(const Facts&, const Scale&) {
  return {};
}
std::string problem(const Facts&, const SelectRows&) {
  return {};
}

/// What the row says of inputs and weight.
std::string problem_with_row(const Facts& facts, const KindRow& row) {
  const Operation& operation = facts.operation;
  if (operation.inputs.size() != row.inputs)
    return fmt::format("{} inputs, {} wanted", operation.inputs.size(), row.inputs);
  const bool wants = row.weight != WeightShape::absent;
  if (wants != (operation.weight != none)) return wants ? "it needs a weight" : "it has no weight";
  if (!row.bias && operation.bias != none) return "it has no bias";
  return {};
}

}  // namespace

const KindRow& row_of(Kind kind) {
  return rows[size_t(kind)];
}

std::string_view name_of(const Parameters& of) {
  if (const auto* gate = std::get_if<Gate>(&of)) return row_of(gate->activation).gated;
  return rows[of.index()].name;
}

std::string_view formula_of(const Parameters& of) {
  if (const auto* gate = std::get_if<Gate>(&of)) return row_of(gate->activation).formula;
  return rows[of.index()].formula;
}

namespace {

template <size_t... I>
Parameters nth(size_t index, std::index_sequence<I...>) {
  Parameters of;
  ((I == index ? void(of = std::variant_alternative_t<I, Parameters>{}) : void()), ...);
  return of;
}

}  // namespace

std::optional<Parameters> parameters_named(std::string_view name) {
  if (const auto activation = activation_of_gate(name)) return Gate{*activation};
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name == name && rows[i].kind != Kind::gate)
      return nth(i, std::make_index_sequence<kind_count>());
  return std::nullopt;
}

std::vector<std::string_view> kind_names() {
  std::vector<std::string_view> names;
  for (const KindRow& row : rows) {
    if (row.kind == Kind::gate)
      for (const ActivationRow& activation : activations) names.push_back(activation.gated);
    else
      names.push_back(row.name);
  }
  return names;
}

uint32_t output_width(const Program& program, const Operation& operation) {
  return width_of({program, operation});
}

std::string problem_of(const Program& program, const Operation& operation) {
  const Facts facts{program, operation};
  if (std::string wrong = problem_with_row(facts, row_of(operation)); !wrong.empty()) return wrong;
  if (std::string wrong =
          std::visit([&](const auto& p) { return problem(facts, p); }, operation.of);
      !wrong.empty())
    return wrong;
  const uint32_t width = width_of(facts);
  if (const Weight* bias = program.bias_of(operation); bias && bias->columns != width)
    return fmt::format("the bias has {} values, the output {}", bias->columns, width);
  if (operation.output != none && program.values[operation.output].width != width)
    return fmt::format("the output has {} values, {} are made",
                       program.values[operation.output].width, width);
  return {};
}

}  // namespace assay::op
