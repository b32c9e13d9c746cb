// The replay passes a sound f32 executor, and finds one wrong element in any operation: there and
// nowhere else.
#include "judge/replay.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "judge/float_executor.h"
#include "op/kinds.h"
#include "reference/tiny_model.h"
#include "support/kinds_program.h"

namespace assay::judge {
namespace {

using tests::FloatExecutor;
using tests::KindsProgram;
using tests::plain_matrices;
using tests::Shape;
using tests::TinyModel;
using tests::token_ids;
using tests::Tokens;

op::ExecutorOptions options(op::CacheType cache = op::CacheType::f16,
                            op::Contract contract = op::Contract::assay1) {
  op::ExecutorOptions made;
  made.sequences = 2;
  made.cache = cache;
  made.contract = contract;
  return made;
}

void replay_step(FloatExecutor& executor, Replay& replay, const Tokens& tokens) {
  replay.begin_step(tokens.step());
  executor.run(tokens.step(), std::ref(replay));
}

/// A prompt of two sequences in one step, then one more token of each.
std::vector<OperationError> replay_all(const op::Program& program, const op::ExecutorOptions& o,
                                       uint32_t length, const FloatExecutor::Fault& fault = {}) {
  FloatExecutor executor(program, o, fault);
  Replay replay(program, o);
  Tokens prompt(token_ids(length, program.vocabulary, 1));
  prompt.append(token_ids(3, program.vocabulary, 2), 0, 1);
  replay_step(executor, replay, prompt);
  Tokens decode({1}, length);
  decode.append({2}, 3, 1);
  replay_step(executor, replay, decode);
  return replay.results();
}

std::string describe(const OperationError& e) {
  return e.name + ": " + std::to_string(e.max_u) + " u of " + std::to_string(e.limit_u) +
         " at step " + std::to_string(e.worst_step) + " token " + std::to_string(e.worst_token) +
         " row " + std::to_string(e.worst_row);
}

TEST(Replay, SoundExecutorIsInsideEveryBoundUnderEveryContract) {
  for (uint32_t type : {0u, 1u, 8u})
    for (op::CacheType cache : {op::CacheType::f16, op::CacheType::f32})
      for (op::Contract contract : {op::Contract::assay1, op::Contract::f32}) {
        Shape shape;
        shape.type = type;
        shape.adjacent = type == 8;
        shape.bias = type == 1;
        const TinyModel model(shape);
        for (const OperationError& error : replay_all(model.program, options(cache, contract), 9)) {
          EXPECT_EQ(error.failures, 0u) << describe(error);
          EXPECT_GT(error.elements, 0u) << error.name;
        }
      }
}

TEST(Replay, CountsEveryElement) {
  const TinyModel model(Shape{});
  for (const OperationError& error : replay_all(model.program, options(), 9)) {
    uint64_t width = 2 * 2 * 16;  // kv_store: keys and values
    for (const op::Operation& operation : model.program.operations)
      if (operation.name == error.name && operation.output != op::none)
        width = model.program.values[operation.output].width;
    EXPECT_EQ(error.elements, (9 + 3 + 1 + 1) * width) << error.name;
  }
}

/// The mirror of the bounds: with random data, a sound f32 executor comes to at least a hundredth
/// of each, ten times more than the design asks. Chunks of keys and of columns are more than one
/// each.
void expect_bounds_not_loose(uint32_t type) {
  Shape shape;
  shape.type = type;
  shape.width = 320, shape.ffn_width = 576, shape.head_dim = 64;
  const TinyModel model(shape);
  const std::vector<OperationError> worst =
      worst_by_kind(replay_all(model.program, options(), 130));
  EXPECT_EQ(worst.size(), 9u);  // every kind
  for (const OperationError& error : worst) {
    EXPECT_EQ(error.failures, 0u) << describe(error);
    EXPECT_GE(error.max_u, error.limit_u / 100) << describe(error);
    ::testing::Test::RecordProperty(std::string(error.kind), describe(error));
  }
}

TEST(Replay, NoBoundIsAHundredTimesTooLooseForBlockWeights) {
  expect_bounds_not_loose(8);
}
TEST(Replay, NoBoundIsAHundredTimesTooLooseForFloatWeights) {
  expect_bounds_not_loose(0);
}

/// Every kind, in all the forms of KindsProgram: inside its bound, which is not a thousand times too
/// loose.
TEST(Replay, EveryKindIsInsideItsBoundWhichIsNotLoose) {
  for (const uint32_t type : {0u, 1u, 8u}) {
    const KindsProgram kinds{plain_matrices(type)};
    const auto worst = worst_by_kind(replay_all(kinds.program, options(), 90));
    for (const OperationError& error : worst) {
      EXPECT_EQ(error.failures, 0u) << describe(error);
      if (error.kind != "relu") {  // which rounds nothing but the floor
        EXPECT_GE(error.max_u, error.limit_u / 1000) << describe(error);
      }
      ::testing::Test::RecordProperty(std::string(error.kind), describe(error));
    }
  }
}

/// Runs with one element of the operation `at` changed in the given step, and expects that
/// operation alone to fail, with one failure at this place.
void expect_found(const op::Program& program, size_t at, uint64_t faulty_step,
                  float (*change)(float, float)) {
  const op::Operation& operation = program.operations[at];
  const bool stores = operation.output == op::none;
  const size_t width = program.values[stores ? operation.inputs[0] : operation.output].width;
  size_t calls = 0, place = 0, kept = 0;
  const auto results =
      replay_all(program, options(), 5, [&](size_t index, std::span<float> result) {
        if (index != at || calls++ != faulty_step) return;
        double square = 0;
        for (float x : result) square += double(x) * double(x);
        kept = result.size();
        place = kept * 3 / 5;
        result[place] = change(result[place], float(std::sqrt(square / double(result.size()))));
      });
  for (size_t i = 0; i < results.size(); ++i) {
    if (i != at) {
      EXPECT_EQ(results[i].failures, 0u)
          << "fault in " << operation.name << " shows in " << describe(results[i]);
      continue;
    }
    EXPECT_EQ(results[i].failures, 1u) << describe(results[i]);
    EXPECT_GT(results[i].max_u, results[i].limit_u);
    EXPECT_EQ(results[i].worst_step, faulty_step);
    if (stores) {  // all keys, then all values; the judge has them side by side
      const uint64_t rows = kept / (2 * width), side = results[i].worst_row / width;
      EXPECT_EQ((side * rows + results[i].worst_token) * width + results[i].worst_row % width,
                place);
    } else {
      EXPECT_EQ(results[i].worst_token * width + results[i].worst_row, place) << operation.name;
    }
  }
}

TEST(Replay, OneWrongElementOfAnyOperationIsFoundThereAndNowhereElse) {
  const TinyModel model(Shape{});
  for (size_t at = 0; at < model.program.operations.size(); ++at)
    for (uint64_t step : {0, 1})
      // a thousandth of the row's size: about 1e4 u, hundreds of times the bounds
      expect_found(model.program, at, step, [](float x, float size) { return x + 1e-3f * size; });
}

TEST(Replay, OneWrongElementOfEveryKindIsFoundThereAndNowhereElse) {
  const KindsProgram kinds{plain_matrices(8)};
  for (size_t at = 0; at < kinds.program.operations.size(); ++at)
    expect_found(kinds.program, at, 1, [](float x, float size) { return x + 1e-3f * size; });
}

TEST(Replay, OneUlpInACopyIsFound) {
  const TinyModel model(Shape{});
  for (size_t at = 0; at < model.program.operations.size(); ++at) {
    const op::Operation& operation = model.program.operations[at];
    if (operation.is<op::Embed>() || op::row_of(operation).moves)
      expect_found(model.program, at, 0, [](float x, float) { return std::nextafter(x, 1e9f); });
  }
}

TEST(Replay, NanFailsWhereItAppears) {
  const TinyModel model(Shape{});
  for (size_t at = 0; at < model.program.operations.size(); ++at) {
    const auto results =
        replay_all(model.program, options(), 5, [&](size_t index, std::span<float> result) {
          if (index == at) result[1] = std::numeric_limits<float>::quiet_NaN();
        });
    EXPECT_GE(results[at].failures, 1u) << results[at].name;
    EXPECT_TRUE(std::isinf(results[at].max_u)) << results[at].name;
    // In the first step nothing before it fails; in the second what reads the cache does.
    for (size_t i = 0; i < at; ++i) {
      EXPECT_TRUE(results[i].failures == 0 || results[i].worst_step == 1) << results[i].name;
    }
  }
}

TEST(Replay, WrongContractIsFound) {
  // f32 activations replayed as assay/1, an f32 cache as f16: both must fail, in matmuls and in
  // kv_store alone
  const TinyModel model(Shape{});
  const auto failing = [&](const op::ExecutorOptions& runs, const op::ExecutorOptions& claims) {
    FloatExecutor executor(model.program, runs);
    Replay replay(model.program, claims);
    replay_step(executor, replay, Tokens(token_ids(5, 40)));
    std::vector<std::string_view> kinds;
    for (const OperationError& error : worst_by_kind(replay.results()))
      if (error.failures) kinds.push_back(error.kind);
    return kinds;
  };
  const auto f16 = op::CacheType::f16, f32 = op::CacheType::f32;
  EXPECT_EQ(failing(options(f16, op::Contract::f32), options(f16)),
            std::vector<std::string_view>{"matmul"});
  EXPECT_EQ(failing(options(f32), options(f16)), std::vector<std::string_view>{"kv_store"});
}

TEST(Replay, WrongRopeFrequencyOrPairingIsFound) {
  TinyModel model(Shape{});
  op::Program wrong = model.program;
  wrong.rope_tables[0].frequency[3] *=
      1.0 +
      1e-5;  // at position 4 an angle of 2e-2 … is off by 2e-7, about 3 u of the norm and more
  wrong.rope_tables[0].frequency[0] *= 1.0 + 1e-5;
  for (bool pairing : {false, true}) {
    op::Program made = pairing ? model.program : wrong;
    if (pairing) made.rope_tables[0].adjacent = false;
    FloatExecutor executor(made, options());
    Replay replay(model.program, options());
    const Tokens tokens(token_ids(9, 40));
    replay.begin_step(tokens.step());
    executor.run(tokens.step(), [&](const op::Operation& operation, std::span<const float> output) {
      replay(model.program.operations[size_t(&operation - made.operations.data())], output);
    });
    for (const OperationError& error : replay.results())
      EXPECT_EQ(error.failures > 0, error.kind == "rope") << describe(error);
  }
}

TEST(CompareElement, PassesAtTheLimitAndFailsBeyond) {
  const auto seen = [](float got, double want, double scale, double limit) {
    const auto one = [](double value) {
      Table table(1, 1);
      table.data[0] = value;
      return table;
    };
    return compare_element(one(double(got)), {one(want), one(scale), one(limit), {}}, 0, 0);
  };
  const float two_u = 1.0f + 0x1p-23f;  // one ulp above 1 is 2 u
  EXPECT_EQ(seen(two_u, 1.0, 1.0, 2.0).failures, 0u);
  EXPECT_EQ(seen(two_u, 1.0, 1.0, 1.99).failures, 1u);
  EXPECT_NEAR(seen(two_u, 1.0, 1.0, 1.99).max_u, 2.0, 1e-12);
  EXPECT_NEAR(seen(two_u, 1.0, 0.5, 3.0).max_u, 4.0, 1e-12);
  EXPECT_EQ(seen(0.0f, 0x1p-72, 0x1p-72, 1.0).failures, 0u);         // the contract's floor
  EXPECT_EQ(seen(0.0f, 0x1.1p-72, 0x1p-72, 1.0).failures, 1u);       // above it
  EXPECT_EQ(seen(0.0f, 0x1p-72, 0x1p-72, copy_limit).failures, 1u);  // copies have none
  EXPECT_EQ(seen(1.0f, 0.0, 0.0, 8.0).failures, 1u);  // nothing to be measured against
  EXPECT_EQ(seen(INFINITY, INFINITY, INFINITY, 8.0).failures, 0u);
  EXPECT_EQ(seen(INFINITY, 1.0, 1.0, 8.0).failures, 1u);
  EXPECT_EQ(seen(NAN, 1.0, 1.0, 8.0).failures, 1u);
  EXPECT_EQ(seen(1.0f, NAN, NAN, 8.0).failures, 1u);
  EXPECT_EQ(seen(NAN, NAN, NAN, 8.0).failures, 1u);
  // What no kernel can make right is told apart.
  EXPECT_EQ(seen(NAN, NAN, NAN, 8.0).undefined, 1u);
  EXPECT_EQ(seen(0.0f, NAN, NAN, 8.0).undefined, 1u);
  EXPECT_EQ(seen(INFINITY, 1e39, 1e39, 8.0).undefined, 1u);
  EXPECT_EQ(seen(NAN, 1.0, 1.0, 8.0).undefined, 0u);
  EXPECT_EQ(seen(INFINITY, 3e38, 3e38, 8.0).undefined, 0u);
}

TEST(Bounds, AreTheDesignsFormulas) {
  EXPECT_EQ(rms_norm_limit(576), 4 + 24.0 / 4);
  EXPECT_EQ(quantised_matmul_limit(512), 8 + 4 * 4.0);
  EXPECT_EQ(quantised_matmul_limit(512, 1), 8 + 4 * 4.0);
  EXPECT_EQ(quantised_matmul_limit(512, 4), 8 + 4 * std::sqrt(32.0));
  EXPECT_EQ(chain_steps(quant::Q8_0::id), 1u);
  EXPECT_EQ(chain_steps(quant::Q5_K::id), 2u);
  EXPECT_EQ(chain_steps(quant::Q6_K::id), 2u);
  EXPECT_EQ(chain_steps(quant::Q2_K::id), 4u);
  EXPECT_EQ(float_matmul_limit(1024, false), 8 + 4 * 32.0);
  EXPECT_EQ(float_matmul_limit(1024, true), 9 + 4 * 32.0);
  EXPECT_NEAR(float_matmul_limit(3, false), 3.0, 1e-6);  // γ₃
  EXPECT_EQ(rope_limit(0), 4.0);
  EXPECT_LT(rope_limit(131071), 4.001);
}

}  // namespace
}  // namespace assay::judge
