#include "verify/synthetic.h"

#include <fmt/format.h>

#include <cmath>

#include "op/kinds.h"
#include "op/rope.h"
#include "quant/formats.h"
#include "verify/builder.h"

namespace assay::verify {

namespace {

using Sizes = std::vector<uint32_t>;

const Sizes batches = {1, 2, 9, 33};
constexpr uint32_t batch_tokens = 45;

Sizes edges(Level level) {
  Sizes sizes = {1, 31, 32, 33, 127, 255, 257};
  if (level == Level::full) sizes.insert(sizes.end(), {2, 63, 64, 65, 256, 509, 1021, 2048});
  return sizes;
}

/// The judged run in steps of 1, 2, 9 and 33 tokens; the others token by token, backwards, and
/// beside other sequences.
Case in_batches(Case one) {
  one.judged = {batches};
  one.schedules = {{Sizes(batch_tokens, 1)}, {{33, 9, 2, 1}}, {{batch_tokens}, 2}, {{40, 5}, 9}};
  return one;
}

/// Multiples of the format's block on both sides of 256 columns.
Sizes columns_of(const quant::Info& info, Level level) {
  const bool full = level == Level::full;
  if (info.block_size == 1)
    return full ? Sizes{1, 2, 31, 32, 33, 127, 255, 256, 257, 509, 1021} : Sizes{1, 33, 257};
  if (info.block_size == 32)
    return full ? Sizes{32, 64, 96, 224, 256, 288, 544, 992, 2048} : Sizes{32, 288};
  return full ? Sizes{256, 512, 768, 1280, 2816} : Sizes{256, 768};
}

Case matmul_case(const quant::Info& info, Level level) {
  const Sizes rows = level == Level::full ? edges(level) : Sizes{1, 31, 33, 257};
  Builder builder(batch_tokens);
  for (const uint32_t columns : columns_of(info, level)) {
    const uint32_t x = builder.input(columns);
    for (const uint32_t count : rows) {
      const uint32_t weight = builder.weight(info.id, count, columns);
      const uint32_t bias =
          count == 33 ? builder.weight(activations(0, count, builder.random())) : op::none;
      builder.add(op::Matmul{}, {x}, weight, bias);
    }
  }
  return in_batches(builder.finish(fmt::format("matmul {}", info.name)));
}

Case embed_case(const quant::Info& info) {
  Builder builder(batch_tokens);
  for (const uint32_t blocks : {1, 3, 11})
    builder.add(op::Embed{}, {}, builder.weight(info.id, batch_tokens, blocks * info.block_size));
  return in_batches(builder.finish(fmt::format("embed {}", info.name)));
}

/// The kind of this name, its numbers as a test takes them.
op::Parameters usual(std::string_view name) {
  op::Parameters of = *op::parameters_named(name);
  op::each_number(of, [](const op::Number& is, auto& value) {
    value = std::decay_t<decltype(value)>(is.usual);
  });
  return of;
}

/// Every kind that is `of_rows`, every activation among them, with and without a bias, and
/// select_rows: each at every width.
Case row_case(Level level) {
  Builder builder(batch_tokens);
  for (const uint32_t width : edges(level)) {
    const auto row = [&] { return builder.weight(activations(0, width, builder.random())); };
    const uint32_t a = builder.input(width), b = builder.input(width);
    const uint32_t weight = row(), bias = row();
    for (const std::string_view name : op::kind_names()) {
      const op::Parameters of = usual(name);
      const op::KindRow& kind = op::row_of(of);
      if (!kind.of_rows) continue;
      const uint32_t own = kind.weight == op::WeightShape::vector ? weight : op::none;
      const std::vector<uint32_t> inputs = kind.inputs == 2 ? std::vector{a, b} : std::vector{a};
      builder.add(of, inputs, own);
      if (kind.bias) builder.add(of, inputs, own, bias);
    }
    builder.add(usual("rms_norm"), {builder.add(op::SelectRows{}, {b})}, weight);
  }
  Case one = builder.finish("rows");
  one.some_rows = true;
  return in_batches(std::move(one));
}

struct Turn {
  uint32_t heads, key_dim, dimensions;
  bool adjacent;
  uint32_t first_position;
};

Case rope_case(const Turn& turn) {
  Builder builder(batch_tokens);
  op::RopeParameters parameters;
  parameters.dimensions = turn.dimensions;
  builder.program().rope_tables = {op::make_rope(parameters, turn.adjacent)};
  builder.add(op::Rope{.table = 0, .heads = turn.heads},
              {builder.input(turn.heads * turn.key_dim)});
  Case one = builder.finish(fmt::format("rope from position {}", turn.first_position));
  one.first_position = turn.first_position;
  return in_batches(std::move(one));
}

/// Keys and values of a layer, and the queries that read them.
Case attention_case(uint32_t heads, uint32_t kv_heads, uint32_t key_dim, uint32_t value_dim,
                    uint32_t tokens) {
  Builder builder(tokens);
  builder.program().caches = {{kv_heads, key_dim, value_dim}};
  // queries so small that u of a score stays far below the distance between two: the bound is sharp
  const uint32_t q = builder.input(heads * key_dim, 0x1p-14f);
  const uint32_t k = builder.input(kv_heads * key_dim), v = builder.input(kv_heads * value_dim);
  builder.add(op::KvStore{0}, {k, v});
  builder.add(op::Attend{0, heads, 1 / std::sqrt(float(key_dim))}, {q});
  return builder.finish(fmt::format("attention, {} keys", tokens));
}

void add_attention(Level level, std::vector<Case>& cases) {
  struct Shape {
    uint32_t heads, kv_heads, key_dim, value_dim;
  };
  for (const Shape& s :
       {Shape{3, 3, 5, 7}, {8, 1, 64, 48}, {2, 1, 1, 1}, {4, 2, 80, 128}, {9, 3, 64, 64}}) {
    Case one = attention_case(s.heads, s.kv_heads, s.key_dim, s.value_dim, 70);
    one.judged = {{1, 2, 33, 1, 33}};
    one.schedules = {
        {Sizes(70, 1)}, {{64, 6}, 2}, {{33, 37}, 9}, {{1, 63, 6}, 9, true}, {{70}, 33}};
    cases.push_back(std::move(one));
  }
  // past 256 and 1024 keys one by one, then 33 decode steps
  Sizes pieces = {254, 1, 1, 1, 764, 1, 1, 1, 1, 1, 1, 1};
  pieces.insert(pieces.end(), 33, 1);
  uint32_t tokens = 0;
  for (const uint32_t piece : pieces) tokens += piece;
  const bool full = level == Level::full;
  Case one = full ? attention_case(9, 3, 64, 64, tokens) : attention_case(2, 1, 16, 16, tokens);
  one.judged = {pieces};
  one.schedules = {{{1, 2, 33, 509, tokens - 545}}, {{545, tokens - 546, 1}, 1, true}};
  if (full) one.schedules.push_back({Sizes(tokens, 1)});
  cases.push_back(std::move(one));
}

}  // namespace

std::string_view name_of(Level level) {
  return level == Level::full ? "full" : "quick";
}

std::vector<Case> synthetic_cases(Level level) {
  std::vector<Case> cases;
  const auto add_format = [&](const quant::Info& info) {
    cases.push_back(embed_case(info));
    cases.push_back(matmul_case(info, level));
  };
  [&]<class... F>(quant::List<F...>) { (add_format(quant::info(F::id)), ...); }(quant::All{});
  cases.push_back(row_case(level));
  for (const uint32_t position : {0u, 4080u, 100000u}) {
    cases.push_back(rope_case({3, 64, 64, true, position}));
    cases.push_back(rope_case({2, 64, 64, false, position}));
    cases.push_back(rope_case({5, 80, 32, false, position}));
    cases.push_back(rope_case({1, 6, 2, true, position}));
  }
  add_attention(level, cases);
  return cases;
}

}  // namespace assay::verify
