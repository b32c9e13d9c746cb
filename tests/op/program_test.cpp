#include "op/program.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "op/kinds.h"

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
  EXPECT_THAT(kind_names(),
              ::testing::ElementsAre("embed", "rms_norm", "matmul", "rope", "kv_store", "attention",
                                     "swiglu", "add", "scale", "select_rows"));
  for (const std::string_view name : kind_names())
    EXPECT_EQ(name_of(*parameters_named(name)), name);
  EXPECT_FALSE(parameters_named("gate"));  // a gate has the name of its activation
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
/// vector of 8, one of 12, one of 4; rotary tables of 2 lanes and of 4.
Program shapes() {
  static const std::vector<uint8_t> bytes(12 * 8 * 4);
  Program program;
  program.layers = 1;
  program.caches = {{2, 2, 2}};
  program.rope_tables.resize(2);
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
  EXPECT_EQ(program.append(operation(Matmul{}, {0}, 2, 0, 2)), 2u);
  EXPECT_EQ(program.append(operation(Rope{0, 4}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(Rope{1, 2}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(KvStore{}, {3, 3})), none);
  EXPECT_EQ(program.append(operation(Attend{0, 4, 1.0f}, {0}, 1)), 1u);
  EXPECT_EQ(program.append(operation(Gate{}, {0, 1}, 0)), 0u);
  EXPECT_EQ(program.append(operation(Add{}, {0, 1}, 0)), 0u);
  EXPECT_EQ(program.append(operation(SelectRows{}, {0}, 1)), 1u);
  EXPECT_EQ(program.operations.size(), 11u);
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
      operation(RmsNorm{}, {0}, 1, 1),          // eps 0
      operation(RmsNorm{1e-5f, 2}, {0}, 1, 1),  // a weight of 8 for parts of 4
      operation(RmsNorm{1e-5f, 3}, {0}, 1, 3),  // 8 values are not 3 parts
      operation(Matmul{}, {2}, 2, 0),
      operation(Matmul{}, {0}, 1, 0),
      operation(Matmul{}, {0}, 2, 0, 1),  // a bias of 8 for 12 rows
      operation(Rope{0, 4}, {0}, 2),
      operation(Rope{0, 3}, {0}, 1),
      operation(Rope{1, 4}, {0}, 1),     // 4 lanes turn, a head has 2
      operation(Rope{2, 4}, {0}, 1),     // no such table
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
