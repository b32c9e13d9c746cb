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
  if (info.block_size < 256) {
    Sizes sizes = {info.block_size, 256 + info.block_size};
    if (full) sizes = {32, 64, 96, 224, 256, 288, 320, 544, 992, 2048};
    std::erase_if(sizes, [&](uint32_t size) { return size % info.block_size != 0; });
    return sizes;
  }
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

/// Norms of parts, with a weight (and bias) of one part or of a whole row.
Case parts_case(Level level) {
  Builder builder(batch_tokens);
  const Sizes sizes = level == Level::full ? Sizes{1, 31, 32, 33, 64, 128, 257, 512} : Sizes{1, 33};
  for (const uint32_t n : sizes)
    for (const uint32_t parts : {2u, 7u}) {
      const uint32_t x = builder.input(n * parts);
      for (const uint32_t width : {n, n * parts}) {
        const auto row = [&] { return builder.weight(activations(0, width, builder.random())); };
        const uint32_t weight = row(), bias = row();
        builder.add(op::RmsNorm{1e-5f, parts}, {x}, weight);
        builder.add(op::LayerNorm{1e-5f, parts}, {x}, weight);
        builder.add(op::LayerNorm{1e-5f, parts}, {x}, weight, bias);
      }
    }
  return in_batches(builder.finish("norms of parts"));
}

/// A gate for several values each; parts of a row; a table by position.
Case shape_case(const Sizes& widths) {
  Builder builder(batch_tokens);
  for (const uint32_t width : widths) {
    const uint32_t gate = builder.input(width), up = builder.input(3 * width);
    builder.add(op::Gate{op::Activation::sigmoid}, {gate, up});
    builder.add(op::Gate{op::Activation::silu_clamped}, {gate, up});
    builder.add(op::Slice{0, width, 1}, {up});
    builder.add(op::Slice{width, width, 1}, {up});
    builder.add(op::Slice{width - 1, 1, 3}, {up});
    builder.add(op::Embed{.of_position = true}, {},
                builder.weight_rows(batch_tokens, activations(0, uint64_t(batch_tokens) * width,
                                                              builder.random())));
  }
  return in_batches(builder.finish("gates, slices, positions"));
}

struct Router {
  uint32_t experts;
  op::Route route;
  bool bias = false;
};

/// Routers of every kind: few experts and many, one chosen and all, groups, ties among the logits.
Case route_case(Level level) {
  std::vector<Router> routers;
  Sizes counts = {1, 2, 33, 128};
  if (level == Level::full) counts.insert(counts.end(), {7, 8, 31, 32, 60, 64, 127, 160, 256, 512});
  for (const uint32_t experts : counts)
    for (const uint32_t used : {1u, 2u, 8u}) {
      if (used > experts) continue;
      routers.push_back({experts, {.used = used}});
      routers.push_back({experts, {.used = used, .renormalise = 1, .scale = 2.5f}});
      routers.push_back({experts, {.used = used, .of_chosen = 1}});
      routers.push_back({experts, {.used = used, .sigmoid = 1, .renormalise = 1}, true});
      routers.push_back({experts, {.used = used, .sigmoid = 1}});
      routers.push_back({experts, {.used = used, .scale = 0.5f}, true});
    }
  for (const uint32_t by_two : {0u, 1u})
    for (const uint32_t sigmoid : {0u, 1u})
      for (const bool bias : {false, true}) {
        routers.push_back(
            {32,
             {.used = 6, .groups = 4, .used_groups = 2, .by_two = by_two, .sigmoid = sigmoid},
             bias});
        routers.push_back({160,
                           {.used = 8,
                            .groups = 8,
                            .used_groups = 3,
                            .by_two = by_two,
                            .sigmoid = sigmoid,
                            .renormalise = 1,
                            .scale = 2.5f},
                           bias});
      }
  Builder builder(batch_tokens);
  for (const Router& router : routers) {
    const uint32_t bias =
        router.bias ? builder.weight(activations(0, router.experts, builder.random())) : op::none;
    builder.add(router.route, {builder.input(router.experts)}, op::none, bias);
  }
  return in_batches(builder.finish("routers"));
}

/// Products of a format with experts' matrices: a row for all slots, and one for each.
Case experts_case(const quant::Info& info, Level level) {
  constexpr uint32_t experts = 5, used = 2;
  Builder builder(batch_tokens);
  const uint32_t routing = builder.routing(experts, used);
  for (const uint32_t columns : columns_of(info, level)) {
    const uint32_t one = builder.input(columns), each = builder.input(used * columns);
    for (const uint32_t rows : {1u, 33u}) {
      const uint32_t weight = builder.weight(info.id, uint64_t(experts) * rows, columns);
      const uint32_t bias =
          builder.weight_rows(experts, activations(0, uint64_t(experts) * rows, builder.random()));
      builder.add(op::MatmulExperts{experts}, {one, routing}, weight);
      builder.add(op::MatmulExperts{experts}, {each, routing}, weight, bias);
    }
  }
  return in_batches(builder.finish(fmt::format("matmul_experts {}", info.name)));
}

/// From one expert to many, one chosen and all of few: products, scales, what is spread and mixed.
Case chosen_case(Level level) {
  const bool full = level == Level::full;
  const Sizes counts = full ? Sizes{1, 2, 8, 32, 128} : Sizes{1, 8, 128};
  Builder builder(batch_tokens);
  for (const uint32_t experts : counts)
    for (const uint32_t used : {1u, 4u, 8u}) {
      if (used > experts) continue;
      const uint32_t routing = builder.routing(experts, used);
      for (const uint32_t width : full ? Sizes{32, 64, 257} : Sizes{32, 33}) {
        const uint32_t one = builder.input(width), each = builder.input(used * width);
        const auto row = [&](uint64_t n) { return activations(0, n, builder.random()); };
        const uint32_t scale = builder.weight(row(experts));
        const uint32_t bias = builder.weight_rows(experts, row(uint64_t(experts) * width));
        builder.add(op::MatmulExperts{experts}, {one, routing},
                    builder.weight(quant::F32::id, uint64_t(experts) * 3, width));
        builder.add(op::ScaleExperts{}, {each, routing}, scale);
        builder.add(op::ScaleExperts{}, {each, routing}, scale, bias);
        builder.add(op::SpreadExperts{}, {one, routing});
        builder.add(op::MixExperts{1}, {each, routing});
        builder.add(op::MixExperts{0}, {each, routing});
      }
    }
  return in_batches(builder.finish("experts"));
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
  op::RopeParameters plain, yarn;
  plain.dimensions = yarn.dimensions = turn.dimensions;
  yarn.scaling = op::RopeScaling::yarn;
  yarn.factor = 4;
  yarn.original_context = 4096;
  builder.program().rope_tables = {op::make_rope(plain, turn.adjacent),
                                   op::make_rope(yarn, turn.adjacent),
                                   op::make_growth({.slope = 0.1, .every = 16, .offset = 1})};
  const uint32_t x = builder.input(turn.heads * turn.key_dim);
  builder.add(op::Rope{.table = 0, .heads = turn.heads}, {x});
  builder.add(op::Rope{.table = 1, .heads = turn.heads}, {x});
  builder.add(op::PositionScale{2}, {x});
  Case one = builder.finish(fmt::format("rope from position {}", turn.first_position));
  one.first_position = turn.first_position;
  return in_batches(std::move(one));
}

struct Heads {
  uint32_t heads, kv_heads, key_dim, value_dim;
};

/// Keys and values of a layer, and the queries that read them: once for each of `kinds`, whose
/// cache, heads and scale are filled in, with sinks where `sinks`.
Case attention_case(const Heads& of, uint32_t tokens, std::vector<op::Attend> kinds = {{}},
                    bool sinks = false) {
  Builder builder(tokens);
  builder.program().caches = {{of.kv_heads, of.key_dim, of.value_dim}};
  // queries so small that u of a score stays far below the distance between two: the bound is sharp
  const uint32_t q = builder.input(of.heads * of.key_dim, 0x1p-14f);
  const uint32_t k = builder.input(of.kv_heads * of.key_dim),
                 v = builder.input(of.kv_heads * of.value_dim);
  builder.add(op::KvStore{0}, {k, v});
  for (op::Attend& kind : kinds) {
    kind.heads = of.heads;
    kind.scale = 1 / std::sqrt(float(of.key_dim));
    builder.add(kind, {q},
                sinks ? builder.weight(activations(0, of.heads, builder.random())) : op::none);
  }
  return builder.finish(fmt::format("attention, {} keys{}", tokens, sinks ? ", sinks" : ""));
}

/// Windows on both sides of a chunk's 64 keys, caps, ALiBi, sinks, wide heads.
void add_attention_kinds(Level level, std::vector<Case>& cases) {
  constexpr uint32_t tokens = 150;
  const auto add = [&](Case one) {
    one.judged = {{1, 2, 33, 64, 1, 49}};
    one.schedules = {{{64, 86}, 2}, {{63, 1, 1, 85}, 3, true}, {{tokens}, 9}};
    if (level == Level::full) one.schedules.push_back({Sizes(tokens, 1)});
    cases.push_back(std::move(one));
  };
  std::vector<op::Attend> windows;
  for (const uint32_t window : {1u, 5u, 63u, 64u, 65u, 128u})
    for (const bool chunked : {false, true})
      windows.push_back({.window = window, .chunked = chunked});
  std::vector<op::Attend> scores = {{.soft_cap = 30},
                                    {.alibi = 8},
                                    {.window = 70, .soft_cap = 50},
                                    {.window = 64, .alibi = 8},
                                    {.soft_cap = 5, .alibi = 4}};
  const Heads small{6, 2, 16, 16};  // not a power of two: ALiBi's odd steps
  for (const bool sinks : {false, true}) {
    add(attention_case(small, tokens, windows, sinks));
    add(attention_case(small, tokens, scores, sinks));
  }
  add(attention_case({4, 1, 192, 128}, tokens, {{}, {.window = 65}}, true));
  add(attention_case({2, 1, 512, 512}, tokens, {{}, {.window = 64, .soft_cap = 50}}));
  if (level == Level::full) add(attention_case({8, 8, 256, 512}, tokens, scores, true));
}

void add_attention(Level level, std::vector<Case>& cases) {
  for (const Heads& heads :
       {Heads{3, 3, 5, 7}, {8, 1, 64, 48}, {2, 1, 1, 1}, {4, 2, 80, 128}, {9, 3, 64, 64}}) {
    Case one = attention_case(heads, 70);
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
  Case one = attention_case(full ? Heads{9, 3, 64, 64} : Heads{2, 1, 16, 16}, tokens);
  one.judged = {pieces};
  one.schedules = {{{1, 2, 33, 509, tokens - 545}}, {{545, tokens - 546, 1}, 1, true}};
  if (full) one.schedules.push_back({Sizes(tokens, 1)});
  cases.push_back(std::move(one));
  add_attention_kinds(level, cases);
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
    cases.push_back(experts_case(info, level));
  };
  [&]<class... F>(quant::List<F...>) { (add_format(quant::info(F::id)), ...); }(quant::All{});
  cases.push_back(row_case(level));
  cases.push_back(parts_case(level));
  cases.push_back(shape_case(level == Level::full ? Sizes{1, 31, 32, 257} : Sizes{1, 33}));
  cases.push_back(route_case(level));
  cases.push_back(chosen_case(level));
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
