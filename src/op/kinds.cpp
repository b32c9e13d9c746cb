#include "op/kinds.h"

#include <fmt/format.h>

#include <array>

#include "op/program.h"

namespace assay::op {

namespace {

using Names = std::array<std::string_view, 3>;
constexpr Names x = {"x"}, gated = {"gate", "up"}, summed = {"residual", "branch"},
                cached = {"keys", "values"}, attended = {"queries", "keys", "values"},
                routed = {"x", "routing"}, logits = {"logits"};

constexpr std::span<const std::string_view> first(const Names& names, size_t count) {
  return std::span(names).first(count);
}

constexpr std::array<KindRow, kind_count> rows = {{
    {.kind = Kind::embed,
     .name = "embed",
     .formula = "y[t] = weight[token[t]], or weight[position[t]]",
     .reads = {},
     .inputs = 0,
     .weight = WeightShape::table},
    {.kind = Kind::rms_norm,
     .name = "rms_norm",
     .formula =
         "y[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i], in each of `parts` equal parts of a row",
     .reads = first(x, 1),
     .inputs = 1,
     .weight = WeightShape::vector,
     .of_rows = true},
    {.kind = Kind::layer_norm,
     .name = "layer_norm",
     .formula = "y[i] = (x[i] - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight[i] (+ "
                "bias[i]), in each of `parts` equal parts of a row",
     .reads = first(x, 1),
     .inputs = 1,
     .weight = WeightShape::vector,
     .bias = true,
     .of_rows = true},
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
         "head h of the query at position p: softmax_j(s[j]) V[j] over j <= p, in a window the "
         "last `window` of them (or from a multiple of it on, where `chunked`), with KV head h / "
         "(heads / kv_heads); s[j] = scale * q.K[j], cap * tanh(s / cap) where `soft_cap` is not "
         "0, less slope[h] * (p - j) with ALiBi; weight[h] is a sink, one more score without a "
         "value; row j of keys and values is position j",
     .reads = first(attended, 3),
     .inputs = 1,
     .weight = WeightShape::vector,
     .optional = true,
     .cache = true},
    {.kind = Kind::gate,
     .name = "gate",
     .formula = "y[i] = f(gate[i]) * up[i]",
     .reads = first(gated, 2),
     .inputs = 2,
     .of_rows = true},
    {.kind = Kind::activate,
     .name = "activate",
     .formula = "y[i] = f(x[i])",
     .reads = first(x, 1),
     .inputs = 1,
     .of_rows = true},
    {.kind = Kind::xielu,
     .name = "xielu",
     .formula = "y[i] = (x > 0 ? alpha_p * x^2 : alpha_n * (exp(min(x, eps)) - 1 - x)) + beta * x, "
                "x = x[i]",
     .reads = first(x, 1),
     .inputs = 1,
     .of_rows = true},
    {.kind = Kind::add,
     .name = "add",
     .formula = "y[i] = residual[i] + branch[i]",
     .reads = first(summed, 2),
     .inputs = 2,
     .of_rows = true},
    {.kind = Kind::scale,
     .name = "scale",
     .formula = "y[i] = x[i] * factor (+ bias[i])",
     .reads = first(x, 1),
     .inputs = 1,
     .bias = true,
     .of_rows = true},
    {.kind = Kind::soft_cap,
     .name = "soft_cap",
     .formula = "y[i] = cap * tanh(x[i] / cap)",
     .reads = first(x, 1),
     .inputs = 1,
     .of_rows = true},
    {.kind = Kind::clamp,
     .name = "clamp",
     .formula = "y[i] = min(max(x[i], low), high)",
     .reads = first(x, 1),
     .inputs = 1,
     .of_rows = true},
    {.kind = Kind::position_scale,
     .name = "position_scale",
     .formula = "y[t, i] = x[t, i] * (1 + slope * log(1 + floor((position[t] + offset) / every)))",
     .reads = first(x, 1),
     .inputs = 1},
    {.kind = Kind::slice,
     .name = "slice",
     .formula = "y = values first to first + width - 1 of each of `parts` equal parts of a row",
     .reads = first(x, 1),
     .inputs = 1,
     .moves = true},
    {.kind = Kind::route,
     .name = "route",
     .formula =
         "the ids of the `used` experts of the highest logits (with a bias: of probability + "
         "bias; of the `used_groups` best groups alone), best first, then their weights: "
         "softmax(logits), sigmoid(logits) or the softmax of the chosen, over their sum "
         "where `renormalise`, times `scale`",
     .reads = first(logits, 1),
     .inputs = 1,
     .bias = true},
    {.kind = Kind::matmul_experts,
     .name = "matmul_experts",
     .formula =
         "y[t, u, r] = sum_c weight[e, r, c] * x[t, (u,) c] (+ bias[e, r]), e = the routing's "
         "id u",
     .reads = first(routed, 2),
     .inputs = 2,
     .weight = WeightShape::matrix,
     .bias = true},
    {.kind = Kind::scale_experts,
     .name = "scale_experts",
     .formula = "y[t, u, i] = x[t, u, i] * weight[e] (+ bias[e, i]), e = the routing's id u",
     .reads = first(routed, 2),
     .inputs = 2,
     .weight = WeightShape::vector,
     .bias = true},
    {.kind = Kind::spread_experts,
     .name = "spread_experts",
     .formula = "y[t, u, i] = x[t, i] * w, w = the routing's weight u",
     .reads = first(routed, 2),
     .inputs = 2},
    {.kind = Kind::mix_experts,
     .name = "mix_experts",
     .formula = "y[t, i] = sum_u x[t, u, i] * w, w = the routing's weight u, or 1",
     .reads = first(routed, 2),
     .inputs = 2},
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
  /// The experts that the routing, input 1, chooses for a row.
  uint32_t used() const { return width(1) / 2; }
};

uint32_t width_of(const Facts& facts) {
  return visit(
      facts.operation,                                                 //
      [&](const Embed&) { return uint32_t(facts.weight().columns); },  //
      [&](const Matmul&) { return uint32_t(facts.weight().rows); },    //
      [&](const KvStore&) { return 0u; },                              //
      [&](const Attend& p) { return p.heads * facts.program.caches[p.cache].value_dim; },
      [&](const Gate&) { return facts.width(1); },        //
      [&](const Slice& p) { return p.parts * p.width; },  //
      [&](const Route& p) { return 2 * p.used; },         //
      [&](const MatmulExperts& p) {
        return facts.used() * uint32_t(facts.weight().rows / p.experts);
      },
      [&](const SpreadExperts&) { return facts.used() * facts.width(0); },  //
      [&](const MixExperts&) { return facts.width(0) / facts.used(); },     //
      [&](const auto&) { return facts.width(0); });
}

/// The shape of the operation's bias.
struct Shape {
  uint64_t rows, columns;
};
Shape bias_of(const Facts& facts) {
  const Weight* weight = facts.operation.weight == none ? nullptr : &facts.weight();
  return visit(
      facts.operation,  //
      [&](const LayerNorm&) {
        return Shape{1, weight->columns};
      },
      [&](const Route&) {
        return Shape{1, facts.width(0)};
      },
      [&](const MatmulExperts& p) {
        return Shape{p.experts, weight->rows / p.experts};
      },
      [&](const ScaleExperts&) {
        return Shape{weight->columns, facts.width(0) / facts.used()};
      },
      [&](const auto&) {
        return Shape{1, width_of(facts)};
      });
}

std::string problem(const Facts&, const Embed&) {
  return {};
}

std::string problem_of_norm(const Facts& facts, float eps, uint32_t parts) {
  if (!(eps > 0)) return "eps must be above 0";
  if (parts == 0 || facts.width(0) % parts)
    return fmt::format("{} values are not {} equal parts", facts.width(0), parts);
  if (facts.weight().rows != 1) return "the norm's weight must be one row";
  const uint64_t columns = facts.weight().columns, part = facts.width(0) / parts;
  if (columns == part || columns == facts.width(0)) return {};
  return fmt::format("the weight has rows of {}, the input of {}", columns, part);
}
std::string problem(const Facts& facts, const RmsNorm& p) {
  return problem_of_norm(facts, p.eps, p.parts);
}
std::string problem(const Facts& facts, const LayerNorm& p) {
  return problem_of_norm(facts, p.eps, p.parts);
}

std::string problem(const Facts& facts, const Matmul&) {
  if (facts.weight().columns == facts.width(0)) return {};
  return fmt::format("the weight has rows of {}, the input of {}", facts.weight().columns,
                     facts.width(0));
}

std::string problem(const Facts& facts, const Rope& p) {
  if (!facts.has_table(p.table)) return fmt::format("there is no rotary table {}", p.table);
  if (facts.program.rope_tables[p.table].growth) return "the table does not turn";
  if (p.heads == 0 || facts.width(0) % p.heads)
    return fmt::format("{} values per row are not {} heads", facts.width(0), p.heads);
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
  if (p.chunked && p.window == 0) return "chunks need a window";
  if (facts.operation.weight != none && facts.weight().columns != p.heads)
    return fmt::format("{} sinks for {} heads", facts.weight().columns, p.heads);
  return {};
}

std::string same_widths(const Facts& facts) {
  if (facts.width(0) == facts.width(1)) return {};
  return fmt::format("inputs of {} and {} values", facts.width(0), facts.width(1));
}
std::string problem(const Facts& facts, const Gate&) {
  if (facts.width(0) > 0 && facts.width(1) % facts.width(0) == 0) return {};
  return fmt::format("{} values are not {} gates' alike", facts.width(1), facts.width(0));
}
std::string problem(const Facts& facts, const Add&) {
  return same_widths(facts);
}

std::string problem(const Facts&, const Scale&) {
  return {};
}
std::string problem(const Facts&, const Activate&) {
  return {};
}
std::string problem(const Facts&, const Xielu&) {
  return {};
}
std::string problem(const Facts&, const SoftCap& p) {
  return p.cap > 0 ? "" : "the cap must be above 0";
}
std::string problem(const Facts&, const Clamp& p) {
  return p.low <= p.high ? "" : "the lower limit must not be above the higher";
}
std::string problem(const Facts& facts, const PositionScale& p) {
  if (facts.has_table(p.table) && facts.program.rope_tables[p.table].growth) return {};
  return fmt::format("there is no growth in table {}", p.table);
}

std::string problem(const Facts& facts, const Slice& p) {
  const uint32_t width = facts.width(0);
  if (p.parts == 0 || width % p.parts || p.width == 0 ||
      uint64_t(p.first) + p.width > width / p.parts)
    return fmt::format("{} values have no {} to {} in each of {} parts", width, p.first,
                       uint64_t(p.first) + p.width, p.parts);
  return {};
}

std::string problem(const Facts& facts, const Route& p) {
  const uint32_t experts = facts.width(0);
  if (p.groups == 0 || experts % p.groups)
    return fmt::format("{} experts are not {} equal groups", experts, p.groups);
  if (p.used_groups == 0 || p.used_groups > p.groups)
    return fmt::format("{} of {} groups", p.used_groups, p.groups);
  if (p.by_two && experts / p.groups < 2) return "a group of one expert has no best two";
  if (p.used == 0 || p.used > experts / p.groups * p.used_groups)
    return fmt::format("{} experts cannot be chosen of {}", p.used,
                       experts / p.groups * p.used_groups);
  if (p.of_chosen && p.sigmoid) return "the softmax of the chosen has no sigmoid";
  return {};
}

std::string problem_of_routing(const Facts& facts) {
  const Value& routing = facts.program.values[facts.operation.inputs[1]];
  if (routing.width > 0 && routing.width % 2 == 0) return {};
  return fmt::format("'{}' with {} values is no routing", routing.name, routing.width);
}
/// The input must be a row for each chosen expert.
std::string problem_of_slots(const Facts& facts) {
  if (std::string wrong = problem_of_routing(facts); !wrong.empty()) return wrong;
  if (facts.width(0) % facts.used() == 0) return {};
  return fmt::format("{} values are not {} equal rows", facts.width(0), facts.used());
}

std::string problem(const Facts& facts, const MatmulExperts& p) {
  if (std::string wrong = problem_of_routing(facts); !wrong.empty()) return wrong;
  const Weight& weight = facts.weight();
  if (p.experts == 0 || weight.rows % p.experts)
    return fmt::format("{} rows are not {} equal experts", weight.rows, p.experts);
  if (facts.width(0) == weight.columns || facts.width(0) == facts.used() * weight.columns)
    return {};
  return fmt::format("the weight has rows of {}, the input of {}", weight.columns, facts.width(0));
}
std::string problem(const Facts& facts, const ScaleExperts&) {
  return problem_of_slots(facts);
}
std::string problem(const Facts& facts, const SpreadExperts&) {
  return problem_of_routing(facts);
}
std::string problem(const Facts& facts, const MixExperts&) {
  return problem_of_slots(facts);
}

std::string problem(const Facts&, const SelectRows&) {
  return {};
}

/// What the row says of inputs and weight.
std::string problem_with_row(const Facts& facts, const KindRow& row) {
  const Operation& operation = facts.operation;
  if (operation.inputs.size() != row.inputs)
    return fmt::format("{} inputs, {} wanted", operation.inputs.size(), row.inputs);
  const bool wants = row.weight != WeightShape::absent, has = operation.weight != none;
  if (wants != has && !(row.optional && !has))
    return wants ? "it needs a weight" : "it has no weight";
  if (!row.bias && operation.bias != none) return "it has no bias";
  return {};
}

}  // namespace

const KindRow& row_of(Kind kind) {
  return rows[size_t(kind)];
}

std::string_view name_of(const Parameters& of) {
  if (const auto* gate = std::get_if<Gate>(&of)) return row_of(gate->activation).gated;
  if (const auto* p = std::get_if<Activate>(&of)) return row_of(p->activation).name;
  return rows[of.index()].name;
}

std::string_view formula_of(const Parameters& of) {
  if (const auto* gate = std::get_if<Gate>(&of)) return row_of(gate->activation).formula;
  if (const auto* p = std::get_if<Activate>(&of)) return row_of(p->activation).plain;
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
  if (const auto activation = activation_named(name)) return Activate{*activation};
  for (size_t i = 0; i < rows.size(); ++i)
    if (rows[i].name == name && rows[i].kind != Kind::gate && rows[i].kind != Kind::activate)
      return nth(i, std::make_index_sequence<kind_count>());
  return std::nullopt;
}

std::vector<std::string_view> kind_names() {
  std::vector<std::string_view> names;
  for (const KindRow& row : rows) {
    if (row.kind == Kind::gate)
      for (const ActivationRow& activation : activations) names.push_back(activation.gated);
    else if (row.kind == Kind::activate)
      for (const ActivationRow& activation : activations) names.push_back(activation.name);
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
  if (const Weight* bias = program.bias_of(operation)) {
    const Shape shape = bias_of(facts);
    if (bias->columns != shape.columns || bias->rows != shape.rows)
      return fmt::format("the bias has {} values, the output {}", bias->columns * bias->rows,
                         shape.columns * shape.rows);
  }
  if (operation.output != none && program.values[operation.output].width != width)
    return fmt::format("the output has {} values, {} are made",
                       program.values[operation.output].width, width);
  return {};
}

}  // namespace assay::op
