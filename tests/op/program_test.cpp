#include "op/program.h"

#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

namespace assay::op {
namespace {

/// A chain of `count` operations, each of up to three earlier values of random width.
Program random_program(uint32_t seed, uint32_t count) {
  std::mt19937 random(seed);
  const auto below = [&](uint32_t n) { return uint32_t(random() % n); };
  Program program;
  for (uint32_t i = 0; i < count; ++i) {
    Operation operation;
    operation.kind = Kind::add;
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
    Operation operation;
    operation.kind = Kind::add;
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

TEST(Program, KindsHaveTheirTraceNames) {
  EXPECT_EQ(name_of(Kind::embed), "embed");
  EXPECT_EQ(name_of(Kind::kv_store), "kv_store");
  EXPECT_EQ(name_of(Kind::select_rows), "select_rows");
}

/// A program with values of width 8 (0), 8 (1), 12 (2) and 4 (3), one F32 weight of (12, 8), one
/// vector of 8.
Program shapes() {
  static const std::vector<uint8_t> bytes(12 * 8 * 4);
  Program program;
  program.layers = 2;
  program.attention = {4, 2, 2, 2, 1.0f};
  program.rope.dimensions = 2;
  program.add_value("a", 8), program.add_value("b", 8), program.add_value("c", 12),
      program.add_value("d", 4);
  program.add_weight({"w", 0, 12, 8, bytes});
  program.add_weight({"n", 0, 1, 8, std::span(bytes).first(32)});
  program.add_weight({"bias", 0, 1, 12, std::span(bytes).first(48)});
  return program;
}

Operation operation(Kind kind, std::vector<uint32_t> inputs, uint32_t output,
                    uint32_t weight = none) {
  Operation made;
  made.kind = kind;
  made.inputs = std::move(inputs);
  made.output = output;
  made.weight = weight;
  made.layer = 0;
  made.eps = 1e-5f;
  made.heads = 4;
  return made;
}

TEST(Program, OperationsThatFitAreTaken) {
  Program program = shapes();
  EXPECT_EQ(program.add_operation(operation(Kind::embed, {}, 0, 0)), 0u);
  EXPECT_EQ(program.add_operation(operation(Kind::rms_norm, {0}, 1, 1)), 1u);
  Operation matmul = operation(Kind::matmul, {0}, 2, 0);
  matmul.bias = 2;
  EXPECT_EQ(program.add_operation(matmul), 2u);
  EXPECT_EQ(program.add_operation(operation(Kind::rope, {0}, 1)), 1u);
  EXPECT_EQ(program.add_operation(operation(Kind::kv_store, {3, 3}, none)), none);
  EXPECT_EQ(program.add_operation(operation(Kind::attention, {0}, 1)), 1u);
  EXPECT_EQ(program.add_operation(operation(Kind::swiglu, {0, 1}, 0)), 0u);
  EXPECT_EQ(program.add_operation(operation(Kind::add, {0, 1}, 0)), 0u);
  EXPECT_EQ(program.add_operation(operation(Kind::select_rows, {0}, 1)), 1u);
  EXPECT_EQ(program.operations.size(), 9u);
}

TEST(Program, OperationsThatDoNotFitAreRefused) {
  std::vector<Operation> wrong = {
      operation(Kind::embed, {}, 2, 0),        operation(Kind::embed, {}, 0),
      operation(Kind::rms_norm, {0}, 2, 1),    operation(Kind::rms_norm, {0}, 1, 0),
      operation(Kind::matmul, {2}, 2, 0),      operation(Kind::matmul, {0}, 1, 0),
      operation(Kind::rope, {0}, 2),           operation(Kind::kv_store, {3}, none),
      operation(Kind::kv_store, {0, 3}, none), operation(Kind::attention, {2}, 1),
      operation(Kind::attention, {0}, 3),      operation(Kind::swiglu, {0, 2}, 0),
      operation(Kind::add, {0, 1}, 3),         operation(Kind::add, {0}, 0),
      operation(Kind::select_rows, {0}, 2)};
  wrong.push_back(operation(Kind::matmul, {0}, 2, 0));
  wrong.back().bias = 1;  // a bias of 8 for 12 rows
  wrong.push_back(operation(Kind::kv_store, {3, 3}, none));
  wrong.back().layer = 2;  // of two layers
  wrong.push_back(operation(Kind::rope, {0}, 1));
  wrong.back().heads = 3;
  wrong.push_back(operation(Kind::rms_norm, {0}, 1, 1));
  wrong.back().eps = 0;
  for (const Operation& each : wrong) {
    Program program = shapes();
    EXPECT_THROW(program.add_operation(each), std::logic_error) << name_of(each.kind);
    EXPECT_TRUE(program.operations.empty());
  }
}

}  // namespace
}  // namespace assay::op
