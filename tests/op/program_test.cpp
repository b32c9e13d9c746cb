#include "op/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <stdexcept>

#include "op/kinds.h"
#include "op/rope.h"

namespace assay::op {
namespace {

/// A chain of `count` operations, each of up to three earlier values of random width.
Program random_program(uint32_t seed, uint32_t count) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t n) { return uint32_t(random() % n); };
  Program program;
  for (uint32_t i = 0; i < count; ++i) {
    Operation operation{.name = std::to_string(i), .of = Add{}};
    for (uint32_t j = 0; j < 1 + below(3) && i > 0; ++j)
      operation.inputs.push_back(below(4) ? i - 1 - below(std::min(i, 5u)) : below(i));
    operation.output = program.add_value(std::to_string(i), 1 + below(4) * 16);
    program.operations.push_back(operation);
  }
  return program;
}

/// Runs the program on its buffers with each value's index as its content: a value that is read
/// after another was written over it shows a foreign index.
void expect_no_value_overwritten(const Program& program) {
  ASSERT_EQ(program.buffer_width.size(), program.buffers);
  std::vector<uint32_t> content(program.buffers, none);
  for (const Operation& operation : program.operations) {
    for (uint32_t input : operation.inputs) EXPECT_EQ(content[program.values[input].buffer], input);
    if (operation.output == none) continue;
    const Value& value = program.values[operation.output];
    ASSERT_LT(value.buffer, program.buffers);
    for (uint32_t input : operation.inputs)  // an executor may read inputs while it writes
      EXPECT_NE(program.values[input].buffer, value.buffer);
    EXPECT_GE(program.buffer_width[value.buffer], value.width);
    content[value.buffer] = operation.output;
  }
}

TEST(Program, NoTwoLiveValuesShareABuffer) {
  for (uint32_t seed = 0; seed < 300; ++seed) {
    Program program = random_program(seed, 2 + seed % 60);
    program.assign_buffers();
    expect_no_value_overwritten(program);
  }
}

TEST(Program, ValuesOfDisjointLifeShareABuffer) {
  // A chain where each value is read once, by the next operation: two buffers serve any length.
  Program program;
  for (uint32_t i = 0; i < 50; ++i) {
    Operation operation{.name = std::to_string(i), .of = Add{}};
    if (i > 0) operation.inputs = {i - 1};
    operation.output = program.add_value(std::to_string(i), 8 + i);
    program.operations.push_back(operation);
  }
  program.assign_buffers();
  EXPECT_EQ(program.buffers, 2u);
  expect_no_value_overwritten(program);
  EXPECT_EQ(std::max(program.buffer_width[0], program.buffer_width[1]), 57u);
}

TEST(Program, CachesOfEqualReachAreAGroup) {
  Program program;
  program.caches.assign(6, {2, 4, 4});
  const uint32_t q = program.add_value("q", 8);
  const auto attend = [&](uint32_t cache, uint32_t window, bool chunked = false) {
    program.append(
        {.name = std::to_string(program.operations.size()),
         .of = Attend{.cache = cache, .heads = 2, .scale = 1, .window = window, .chunked = chunked},
         .inputs = {q}});
  };
  EXPECT_EQ(program.window_of(5), 0u) << "before they are grouped";
  attend(0, 128), attend(1, 0), attend(2, 64, true), attend(3, 128);
  attend(4, 64), attend(4, 128);  // the farther one decides
  attend(2, 30), attend(1, 64);   // one that sees all does
  program.group_caches();         // nobody reads the last
  EXPECT_EQ(program.windows, (std::vector<uint32_t>{0, 64, 128}));
  EXPECT_EQ(program.groups, (std::vector<uint32_t>{2, 0, 1, 2, 2, 0}));
  EXPECT_EQ(program.window_of(4), 128u);
  program.caches.clear(), program.operations.clear();
  program.assign_buffers();
  EXPECT_EQ(program.windows, std::vector<uint32_t>{0});
}

TEST(Program, WeightOfTheSameNameIsOneWeight) {
  Program program;
  const std::vector<uint8_t> bytes(32);
  EXPECT_EQ(program.add_weight({"token_embd.weight", 0, 2, 4, bytes}), 0u);
  EXPECT_EQ(program.add_weight({"output_norm.weight", 0, 1, 4, std::span(bytes).first(16)}), 1u);
  EXPECT_EQ(program.add_weight({"token_embd.weight", 0, 2, 4, bytes}), 0u);
  EXPECT_EQ(program.weights.size(), 2u);
  EXPECT_EQ(program.weights[0].row_bytes(), 16u);
  EXPECT_EQ(program.weights[0].row(1).data(), bytes.data() + 16);
}

TEST(Kinds, HaveTheirTraceNames) {
  EXPECT_THAT(
      kind_names(),
      ::testing::ElementsAre(
          "embed", "rms_norm", "layer_norm", "matmul", "rope", "kv_store", "attention", "swiglu",
          "geglu_tanh", "geglu_erf", "geglu_quick", "reglu", "reglu_squared", "glu", "softplus_glu",
          "swiglu_clamped", "silu", "gelu_tanh", "gelu_erf", "gelu_quick", "relu", "relu_squared",
          "sigmoid", "softplus", "silu_clamped", "xielu", "add", "scale", "soft_cap", "clamp",
          "position_scale", "slice", "route", "matmul_experts", "scale_experts", "spread_experts",
          "mix_experts", "select_rows"));
  for (const std::string_view name : kind_names())
    EXPECT_EQ(name_of(*parameters_named(name)), name);
  EXPECT_FALSE(parameters_named("gate"));  // a gate has the name of its activation
  EXPECT_FALSE(parameters_named("activate"));
  EXPECT_FALSE(parameters_named(""));
}

TEST(Kinds, EachRowIsWhole) {
  for (size_t i = 0; i < kind_count; ++i) {
    const KindRow& row = row_of(Kind(i));
    EXPECT_FALSE(row.formula.empty()) << row.name;
    EXPECT_LE(row.inputs, row.reads.size()) << row.name;
    for (const std::string_view read : row.reads) EXPECT_FALSE(read.empty()) << row.name;
  }
}

/// A program with values of width 8 (0), 8 (1), 12 (2) and 4 (3), one F32 weight of (12, 8), one
/// vector of 8, one of 12, one of 4; rotary tables of 2 lanes and of 4, one of growth.
Program shapes() {
  static const std::vector<uint8_t> bytes(12 * 8 * 4);
  Program program;
  program.layers = 1;
  program.caches = {{2, 2, 2}};
  program.rope_tables.resize(3);
  program.rope_tables[2] = make_growth({0.1, 8, 0});
  program.rope_tables[0].dimensions = 2;
  program.rope_tables[1].dimensions = 4;
  program.add_value("a", 8), program.add_value("b", 8), program.add_value("c", 12),
      program.add_value("d", 4);
  program.add_weight({"w", 0, 12, 8, bytes});
  program.add_weight({"n", 0, 1, 8, std::span(bytes).first(32)});
  program.add_weight({"bias", 0, 1, 12, std::span(bytes).first(48)});
  program.add_weight({"part", 0, 1, 4, std::span(bytes).first(16)});
  return program;
}

Operation operation(Parameters of, std::vector<uint32_t> inputs, uint32_t output = none,
                    uint32_t weight = none, uint32_t bias = none) {
  return {.name = "x",
          .of = of,
          .inputs = std::move(inputs),
          .output = output,
          .weight = weight,
          .bias = bias};
}

TEST(Program, OperationsThatFitAreTaken) {
  Program program = shapes();
  EXPECT_EQ(program.append(operation(Embed{}, {}, 0, 0)), 0u);
  EXPECT_EQ(program.append(operation(RmsNorm{1e-5f}, {0}, 1, 1)), 1u);
  EXPECT_EQ(program.append(operation(RmsNorm{1e-5f, 2}, {0}, 1, 3)), 1u);
  EXPECT_EQ(program.append(operation(RmsNorm{1e-5f, 2}, {0}, 1, 1)), 1u);  // as wide as the row
  EXPECT_EQ(program.append(operation(LayerNorm{1e-5f, 1}, {0}, 1, 1, 1)), 1u);
  EXPECT_EQ(program.append(operation(Matmul{}, {0}, 2, 0, 2)), 2u);
  EXPECT_EQ(program.append(operation(Rope{0, 4}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(Rope{1, 2}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(KvStore{}, {3, 3})), none);
  EXPECT_EQ(program.append(operation(Attend{0, 4, 1.0f}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(Gate{}, {0, 1}, 0)), 0u);
  EXPECT_EQ(program.append(operation(Add{}, {0, 1}, 0)), 0u);
  EXPECT_EQ(program.append(operation(Gate{}, {3, 0}, 1)), 1u);  // each gate covers two values
  EXPECT_EQ(program.append(operation(Attend{0, 4, 1.0f}, {0}, 1, 3)), 1u);  // four sinks
  EXPECT_EQ(program.append(operation(PositionScale{2}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(Slice{1, 2, 2}, {0}, 3)), 3u);
  EXPECT_EQ(program.append(operation(Clamp{-1, 1}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(SelectRows{}, {0}, 1)), 1u);
  EXPECT_EQ(program.operations.size(), 18u);
}

/// Of 12 logits 2 are chosen: routings of 4 values, which is value 3's width too.
TEST(Program, ExpertsTakeARoutingAndRowsForEachSlot) {
  Program program = shapes();
  const uint32_t routing = program.append(operation(Route{.used = 2}, {2}, none, none, 2));
  EXPECT_EQ(program.values[routing].width, 4u);
  const auto width = [&](Operation of) { return program.values[program.append(of)].width; };
  // 12 rows of 8 columns are 4 experts of 3 rows; their biases (4, 3).
  program.add_weight({"biases", 0, 4, 3, program.weights[2].data});
  EXPECT_EQ(width(operation(MatmulExperts{4}, {0, routing}, none, 0, 4)), 6u);
  EXPECT_EQ(width(operation(SpreadExperts{}, {0, routing})), 16u);
  EXPECT_EQ(width(operation(MixExperts{1}, {0, routing})), 4u);
  EXPECT_EQ(width(operation(ScaleExperts{}, {0, routing}, none, 2)), 8u);
  const std::vector<Operation> wrong = {
      operation(MatmulExperts{5}, {0, routing}, none, 0),     // 12 rows are not 5 experts
      operation(MatmulExperts{4}, {2, routing}, none, 0),     // rows of 12 for columns of 8
      operation(MatmulExperts{4}, {0, routing}, none, 0, 2),  // a bias (1, 12)
      operation(Route{.used = 13}, {2}),
      operation(Route{.used = 2, .groups = 5, .used_groups = 2}, {2}),
      operation(Route{.used = 2, .sigmoid = 1, .of_chosen = 1}, {2}),
      operation(MixExperts{1}, {0})};
  for (const Operation& each : wrong)
    EXPECT_FALSE(problem_of(program, each).empty()) << name_of(each);
}

TEST(AttentionShape, TheFirstKeyOfAWindow) {
  AttentionShape shape;
  EXPECT_EQ(shape.first_key(1000), 0u);
  shape.window = 4;
  EXPECT_EQ(shape.first_key(2), 0u);
  EXPECT_EQ(shape.first_key(3), 0u);
  EXPECT_EQ(shape.first_key(4), 1u);  // 1, 2, 3 and its own
  shape.chunked = true;
  EXPECT_EQ(shape.first_key(3), 0u);
  EXPECT_EQ(shape.first_key(4), 4u);
  EXPECT_EQ(shape.first_key(7), 4u);
}

/// Press et al. 2021: of 8 heads 1/2, 1/4 … 1/256; of 12 heads those of 8, then 2^-0.5, 2^-1.5 ….
TEST(AlibiSlope, IsThePapers) {
  EXPECT_EQ(alibi_slope(0, 3, 8), 0.0f);
  for (uint32_t head = 0; head < 8; ++head) {
    EXPECT_NEAR(alibi_slope(8, head, 8), std::ldexp(1.0, -int(head) - 1), 1e-9) << head;
    EXPECT_EQ(alibi_slope(8, head, 12), alibi_slope(8, head, 8)) << head;
  }
  for (uint32_t head = 8; head < 12; ++head)
    EXPECT_NEAR(alibi_slope(8, head, 12), std::exp2(-0.5 - double(head - 8)), 1e-7) << head;
}

TEST(Program, AnOutputIsMadeOfTheKindsWidth) {
  Program program = shapes();
  const uint32_t product = program.append(operation(Matmul{}, {0}, none, 0));
  EXPECT_EQ(program.values[product].width, 12u);
  EXPECT_EQ(program.values[product].name, "x");
  EXPECT_FALSE(program.values[product].selected);
  const uint32_t chosen = program.append(operation(SelectRows{}, {product}));
  EXPECT_TRUE(program.values[chosen].selected);
  EXPECT_TRUE(program.values[program.append(operation(Scale{2}, {chosen}))].selected);
  EXPECT_EQ(program.values[program.append(operation(Attend{0, 4, 1.0f}, {0}))].width, 8u);
}

TEST(Program, OperationsThatDoNotFitAreRefused) {
  const std::vector<Operation> wrong = {
      operation(Embed{}, {}, 2, 0),
      operation(Embed{}, {}, 0),
      operation(RmsNorm{1e-5f}, {0}, 2, 1),
      operation(RmsNorm{1e-5f}, {0}, 1, 0),
      operation(RmsNorm{}, {0}, 1, 1),               // eps 0
      operation(RmsNorm{1e-5f, 2}, {0}, 1, 2),       // a weight of 12 for parts of 4
      operation(LayerNorm{1e-5f, 1}, {0}, 1, 1, 2),  // a bias of 12 beside a weight of 8
      operation(LayerNorm{1e-5f, 1}, {0}, 1),
      operation(PositionScale{1}, {0}, 1),  // that table turns
      operation(Rope{2, 4}, {0}, 1),        // and that does not
      operation(Slice{1, 4, 2}, {0}, 1),    // parts of 4 have no value 4
      operation(Clamp{1, -1}, {0}, 1),
      operation(SoftCap{0}, {0}, 1),
      operation(Attend{0, 4, 1.0f}, {0}, 1, 1),  // 8 sinks for 4 heads
      operation(Attend{.heads = 4, .scale = 1, .chunked = true}, {0}, 1),
      operation(RmsNorm{1e-5f, 3}, {0}, 1, 3),  // 8 values are not 3 parts
      operation(Matmul{}, {2}, 2, 0),
      operation(Matmul{}, {0}, 1, 0),
      operation(Matmul{}, {0}, 2, 0, 1),  // a bias of 8 for 12 rows
      operation(Rope{0, 4}, {0}, 2),
      operation(Rope{0, 3}, {0}, 1),
      operation(Rope{1, 4}, {0}, 1),     // 4 lanes turn, a head has 2
      operation(Rope{3, 4}, {0}, 1),     // no such table
      operation(Rope{0, 4}, {0}, 1, 1),  // rope has no weight
      operation(KvStore{}, {3}),
      operation(KvStore{}, {0, 3}),
      operation(KvStore{1}, {3, 3}),  // no such cache
      operation(Attend{0, 4, 1.0f}, {2}, 1),
      operation(Attend{0, 4, 1.0f}, {0}, 3),
      operation(Attend{0, 3, 1.0f}, {0}, 1),
      operation(Attend{1, 4, 1.0f}, {0}, 1),
      operation(Gate{}, {0, 2}, 0),
      operation(Add{}, {0, 1}, 3),
      operation(Add{}, {0}, 0),
      operation(Add{}, {0, 1}, 0, none, 1),  // add has no bias
      operation(SelectRows{}, {0}, 2)};
  for (const Operation& each : wrong) {
    Program program = shapes();
    EXPECT_FALSE(problem_of(program, each).empty()) << name_of(each);
    EXPECT_THROW(program.append(each), std::logic_error) << name_of(each);
    EXPECT_TRUE(program.operations.empty());
  }
}

/// Values 0 to 3 as in shapes(); a routing of two experts (4), rows for both (5, of 12); weights
/// "experts" (3 experts of 4 rows of 8), "shares" (3), "offsets" (3 experts' 4 values).
Program expert_shapes() {
  static const std::vector<uint8_t> bytes(12 * 8 * 4);
  Program program = shapes();
  program.rope_tables.push_back({});
  program.rope_tables.back().dimensions = 1;
  program.rope_tables.back().growth = PositionGrowth{0.1, 4, 0};
  program.add_value("routing", 4);
  program.add_value("rows", 2 * 12);
  program.add_weight({"shares", 0, 1, 3, std::span(bytes).first(12)});
  program.add_weight({"offsets", 0, 3, 4, std::span(bytes).first(48)});
  return program;
}
constexpr uint32_t shares = 4, offsets = 5;

TEST(Program, OperationsOfTheSecondFamilyMakeTheirWidths) {
  const std::vector<std::pair<Operation, uint32_t>> right = {
      {operation(LayerNorm{1e-5f}, {0}, none, 1, 1), 8},
      {operation(LayerNorm{1e-5f, 2}, {0}, none, 1, 1), 8},  // a weight for each part
      {operation(LayerNorm{1e-5f, 2}, {0}, none, 3), 8},     // one weight for both
      {operation(RmsNorm{1e-5f, 2}, {0}, none, 1), 8},
      {operation(Gate{}, {3, 2}), 12},  // each gate covers three values
      {operation(Activate{Activation::relu}, {0}), 8},
      {operation(Xielu{1, 1, 1, -1e-6f}, {0}), 8},
      {operation(SoftCap{30}, {0}), 8},
      {operation(Clamp{-1, 1}, {0}), 8},
      {operation(PositionScale{2}, {0}), 8},
      {operation(Slice{1, 3, 2}, {0}), 6},
      {operation(Route{.used = 2}, {0}), 4},
      {operation(Route{.used = 2, .groups = 4, .used_groups = 2, .by_two = 1}, {0}, none, none, 1),
       4},
      {operation(MatmulExperts{3}, {0, 4}, none, 0), 8},
      {operation(MatmulExperts{3}, {0, 4}, none, 0, offsets), 8},
      {operation(ScaleExperts{}, {0, 4}, none, shares, offsets), 8},
      {operation(SpreadExperts{}, {0, 4}), 16},
      {operation(MixExperts{}, {5, 4}), 12},
      {operation(Attend{.heads = 4, .scale = 1, .window = 3, .soft_cap = 50}, {0}, none, 3), 8}};
  for (const auto& [each, width] : right) {
    Program program = expert_shapes();
    ASSERT_EQ(problem_of(program, each), "") << name_of(each);
    EXPECT_EQ(program.values[program.append(each)].width, width) << name_of(each);
  }
}

TEST(Program, OperationsOfTheSecondFamilyThatDoNotFitAreRefused) {
  const std::vector<Operation> wrong = {
      operation(LayerNorm{1e-5f}, {0}, none, 1, 3),  // the bias has not the weight's shape
      operation(LayerNorm{}, {0}, none, 1),
      operation(LayerNorm{1e-5f}, {0}),
      operation(Gate{}, {2, 0}),
      operation(SoftCap{0}, {0}),
      operation(Clamp{1, -1}, {0}),
      operation(PositionScale{0}, {0}),  // a rotary table
      operation(Rope{2, 4}, {0}),        // a table of growth
      operation(Slice{2, 3, 2}, {0}),
      operation(Slice{0, 0, 1}, {0}),
      operation(Slice{0, 1, 3}, {0}),
      operation(Route{.used = 9}, {0}),
      operation(Route{.used = 0}, {0}),
      operation(Route{.used = 3, .groups = 4, .used_groups = 1}, {0}),
      operation(Route{.groups = 3}, {0}),
      operation(Route{.groups = 8, .used_groups = 2, .by_two = 1}, {0}),
      operation(Route{.sigmoid = 1, .of_chosen = 1}, {0}),
      operation(Route{}, {0}, none, none, 3),  // a bias of 4 for 8 experts
      operation(MatmulExperts{5}, {0, 4}, none, 0),
      operation(MatmulExperts{3}, {2, 4}, none, 0),
      operation(MatmulExperts{3}, {0, 4}, none, 0, 3),
      operation(MatmulExperts{3}, {0}, none, 0),
      operation(ScaleExperts{}, {0, 4}, none, shares, 3),
      operation(MixExperts{}, {3, 2}),  // 4 values are not 6 rows
      operation(Attend{.heads = 4, .scale = 1, .chunked = true}, {0}),
      operation(Attend{.heads = 4, .scale = 1}, {0}, none, 1)};  // 8 sinks for 4 heads
  for (const Operation& each : wrong) {
    Program program = expert_shapes();
    EXPECT_FALSE(problem_of(program, each).empty()) << name_of(each);
    EXPECT_THROW(program.append(each), std::logic_error) << name_of(each);
  }
}

TEST(Program, AConstantOutlivesItsMakersCopyAndIsOneWeightByName) {
  Program copy;
  {
    Program program;
    EXPECT_EQ(program.add_constant("ones(3)", {1, 1, 1}), 0u);
    EXPECT_EQ(program.add_constant("ones(3)", {1, 1, 1}), 0u);
    copy = program;
  }
  ASSERT_EQ(copy.weights.size(), 1u);
  EXPECT_EQ(copy.weights[0].columns, 3u);
  const auto* values = reinterpret_cast<const float*>(copy.weights[0].data.data());
  EXPECT_EQ(std::vector<float>(values, values + 3), (std::vector<float>{1, 1, 1}));
}

TEST(Attention, WindowsBeginWhereTheirKindSays) {
  AttentionShape shape;
  EXPECT_EQ(shape.first_key(1000), 0u);
  shape.window = 4;
  const auto firsts = [&] {
    std::vector<uint32_t> first;
    for (uint32_t position : {0, 3, 4, 7, 8, 9}) first.push_back(shape.first_key(position));
    return first;
  };
  EXPECT_EQ(firsts(), (std::vector<uint32_t>{0, 0, 1, 4, 5, 6}));
  shape.chunked = true;
  EXPECT_EQ(firsts(), (std::vector<uint32_t>{0, 0, 4, 4, 8, 8}));
}

TEST(Attention, AlibiSlopesAreThoseOfThePaper) {
  for (uint32_t head = 0; head < 8; ++head)
    EXPECT_EQ(alibi_slope(8, head, 8), std::ldexp(1.0f, -int(head) - 1)) << head;
  EXPECT_EQ(alibi_slope(0, 3, 8), 0.0f);
  // 12 heads: eight as above, then the odd steps of sixteen.
  EXPECT_EQ(alibi_slope(8, 7, 12), std::ldexp(1.0f, -8));
  EXPECT_FLOAT_EQ(alibi_slope(8, 8, 12), 0.70710678f);
  EXPECT_FLOAT_EQ(alibi_slope(8, 9, 12), 0.35355339f);
}

TEST(Program, AdoptedParametersKeepTheirTableAndCache) {
  const Program from = shapes();
  Program to;
  const Rope rope = std::get<Rope>(to.adopt(from, Rope{1, 2}));
  EXPECT_EQ(rope.table, 0u);
  EXPECT_EQ(to.rope_tables.at(0).dimensions, 4u);
  const Attend attend = std::get<Attend>(to.adopt(from, Attend{0, 4, 0.5f}));
  EXPECT_EQ(attend.heads, 4u);
  EXPECT_EQ(to.caches.at(attend.cache), from.caches[0]);
}

}  // namespace
}  // namespace assay::op
