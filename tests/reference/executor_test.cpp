// The judge as an executor: a program worked by hand, and what must not change its answer.
#include "reference/executor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "judge/formulas.h"
#include "reference/tiny_model.h"

namespace assay::reference {
namespace {

using tests::Shape;
using tests::TinyModel;
using tests::token_ids;
using tests::Tokens;

op::ExecutorOptions options(op::CacheType cache = op::CacheType::f16,
                            op::Contract contract = op::Contract::assay1) {
  op::ExecutorOptions made;
  made.context = 64;
  made.sequences = 3;
  made.cache = cache;
  made.contract = contract;
  return made;
}

std::vector<float> run(op::Executor& executor, const Tokens& tokens, const op::Sink& sink = {}) {
  const auto logits = executor.run(tokens.step(), sink);
  return {logits.begin(), logits.end()};
}

TEST(Executor, HandMadeProgramGivesTheHandMadeAnswer) {
  // Two tokens, width 2, one head without RoPE: token 0 = (0, 3), token 1 = (2·ln 2, 6); keys,
  // values and queries are the embedding itself, the residual adds it again, the head is W = (1 0;
  // 0 2).
  const float two_ln2 = float(2 * std::log(2.0));
  const std::vector<float> embedding = {0, 3, two_ln2, 6}, head = {1, 0, 0, 2};
  const auto bytes = [](const std::vector<float>& v) {
    return std::span(reinterpret_cast<const uint8_t*>(v.data()), v.size() * 4);
  };
  op::Program program;
  program.vocabulary = 2, program.width = 2, program.layers = 1;
  program.caches = {{1, 2, 2}};
  const uint32_t e = program.add_weight({"embedding", 0, 2, 2, bytes(embedding)});
  const uint32_t w = program.add_weight({"head", 0, 2, 2, bytes(head)});
  const uint32_t x = program.append({.name = "x", .of = op::Embed{}, .weight = e});
  program.append({.name = "kv", .of = op::KvStore{}, .inputs = {x, x}});
  const uint32_t a = program.append({.name = "a", .of = op::Attend{0, 1, 0.25f}, .inputs = {x}});
  const uint32_t s = program.append({.name = "s", .of = op::Add{}, .inputs = {x, a}});
  const uint32_t p = program.append({.name = "p", .of = op::SelectRows{}, .inputs = {s}});
  program.append({.name = "y", .of = op::Matmul{}, .inputs = {p}, .weight = w});

  const auto judge = make_executor(program, options(), Mode::exact);
  Tokens tokens({0, 1});
  tokens.selected = {1};
  const std::vector<float> y = run(*judge, tokens);
  // s₀ = (x₁·x₀)/4 = 18/4, s₁ = (4·ln²2 + 36)/4; p₁ = 1/(1 + e^(s₀ − s₁)); a = p₀·x₀ + p₁·x₁
  const double l = double(two_ln2), p1 = 1 / (1 + std::exp(4.5 - (l * l + 36) / 4)), p0 = 1 - p1;
  ASSERT_EQ(y.size(), 2u);
  EXPECT_NEAR(y[0], l + p1 * l, 1e-7);
  EXPECT_NEAR(y[1], 2 * (6 + 3 * p0 + 6 * p1), 2e-6);  // half an ulp of f32 at 24 is 9.5e-7
}

TEST(Executor, WholePromptEqualsTokenByTokenEqualsCuts) {
  const TinyModel model(Shape{});
  const std::vector<int32_t> ids = token_ids(13, 40);
  for (Mode mode : {Mode::exact, Mode::contract}) {
    const std::vector<float> whole =
        run(*make_executor(model.program, options(), mode), Tokens(ids));
    ASSERT_EQ(whole.size(), 13u * 40u);
    for (size_t cut : {size_t(1), size_t(4), size_t(12)}) {
      const auto judge = make_executor(model.program, options(), mode);
      std::vector<float> pieces;
      for (size_t at = 0; at < ids.size(); at += cut) {
        const std::vector<int32_t> part(ids.begin() + long(at),
                                        ids.begin() + long(std::min(at + cut, ids.size())));
        const std::vector<float> y = run(*judge, Tokens(part, uint32_t(at)));
        pieces.insert(pieces.end(), y.begin(), y.end());
      }
      EXPECT_EQ(pieces, whole) << "cut " << cut;
    }
  }
}

TEST(Executor, SequencesInOneStepDoNotSeeEachOther) {
  const TinyModel model(Shape{});
  const std::vector<int32_t> first = token_ids(5, 40, 1), second = token_ids(3, 40, 2);
  const std::vector<float> alone1 =
      run(*make_executor(model.program, options(), Mode::contract), Tokens(first));
  const std::vector<float> alone2 =
      run(*make_executor(model.program, options(), Mode::contract), Tokens(second));
  Tokens both(first, 0, 2);
  both.append(second, 0, 0);
  std::vector<float> together = run(*make_executor(model.program, options(), Mode::contract), both);
  std::vector<float> want = alone1;
  want.insert(want.end(), alone2.begin(), alone2.end());
  EXPECT_EQ(together, want);
}

TEST(Executor, TruncateForgetsWhatFollows) {
  const TinyModel model(Shape{});
  const std::vector<int32_t> ids = token_ids(6, 40), other = token_ids(4, 40, 9);
  const auto judge = make_executor(model.program, options(), Mode::contract);
  run(*judge, Tokens(ids));
  judge->truncate(0, 2);
  const std::vector<float> again = run(*judge, Tokens(other, 2));

  const auto fresh = make_executor(model.program, options(), Mode::contract);
  run(*fresh, Tokens({ids[0], ids[1]}));
  EXPECT_EQ(again, run(*fresh, Tokens(other, 2)));
}

TEST(Executor, SelectedRowsAreThoseOfTheWhole) {
  const TinyModel model(Shape{});
  Tokens tokens(token_ids(7, 40));
  const std::vector<float> all = run(*make_executor(model.program, options(), Mode::exact), tokens);
  tokens.selected = {2, 6};
  const std::vector<float> two = run(*make_executor(model.program, options(), Mode::exact), tokens);
  std::vector<float> want(all.begin() + 2 * 40, all.begin() + 3 * 40);
  want.insert(want.end(), all.begin() + 6 * 40, all.end());
  EXPECT_EQ(two, want);
}

double relative_distance(const std::vector<float>& a, const std::vector<float>& b) {
  double apart = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    apart += std::pow(double(a[i]) - double(b[i]), 2);
    size += std::pow(double(a[i]), 2);
  }
  return std::sqrt(apart / size);
}

TEST(Executor, ModesDifferByWhatTheyRound) {
  const TinyModel blocks(Shape{});
  Shape plain;
  plain.type = 0;
  const TinyModel floats(plain);
  const Tokens tokens(token_ids(9, 40));
  const auto logits = [&](const TinyModel& model, const op::ExecutorOptions& o, Mode mode) {
    return run(*make_executor(model.program, o, mode), tokens);
  };
  using op::CacheType, op::Contract;
  // int8 activations: codes of 1/127, so about 2e-3 to 5e-2 after two layers; f16 cache: 2^-11,
  // about 1e-5 to 2e-3
  const double codes = relative_distance(logits(blocks, options(), Mode::exact),
                                         logits(blocks, options(), Mode::contract));
  EXPECT_TRUE(codes > 2e-3 && codes < 5e-2) << codes;
  const double cache = relative_distance(logits(floats, options(), Mode::exact),
                                         logits(floats, options(), Mode::contract));
  EXPECT_TRUE(cache > 1e-5 && cache < 2e-3) << cache;
  // float weights and an f32 cache: nothing is rounded but keys and values to f32, 2^-24
  const double f32 = relative_distance(logits(floats, options(), Mode::exact),
                                       logits(floats, options(CacheType::f32), Mode::contract));
  EXPECT_TRUE(f32 < 1e-6) << f32;
  // contract f32: block weights meet f32 activations
  const double unquantised =
      relative_distance(logits(blocks, options(), Mode::exact),
                        logits(blocks, options(CacheType::f32, Contract::f32), Mode::contract));
  EXPECT_TRUE(unquantised < 1e-6) << unquantised;
}

TEST(Executor, SinkSeesEveryOperationInOrderWithItsShape) {
  const TinyModel model(Shape{});
  Tokens tokens(token_ids(5, 40));
  tokens.selected = {4};
  std::vector<const op::Operation*> seen;
  std::vector<float> last;
  const std::vector<float> logits =
      run(*make_executor(model.program, options(), Mode::contract), tokens,
          [&](const op::Operation& operation, std::span<const float> output) {
            seen.push_back(&operation);
            last.assign(output.begin(), output.end());
            const size_t width = operation.output == op::none
                                     ? 2 * 2 * 16
                                     : model.program.values[operation.output].width;
            const bool selected =
                operation.output != op::none && model.program.values[operation.output].selected;
            EXPECT_EQ(output.size(), width * (selected ? 1 : 5)) << operation.name;
          });
  ASSERT_EQ(seen.size(), model.program.operations.size());
  for (size_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], &model.program.operations[i]);
  EXPECT_EQ(last, logits);
}

TEST(Executor, CacheHoldsF16) {
  const TinyModel model(Shape{});
  std::map<std::string, std::vector<float>> seen;
  run(*make_executor(model.program, options(), Mode::contract), Tokens(token_ids(3, 40)),
      [&](const op::Operation& operation, std::span<const float> output) {
        seen[operation.name].assign(output.begin(), output.end());
      });
  std::vector<float> want;
  for (const char* name : {"blk.1.k_rope", "blk.1.v"})
    for (float x : seen[name]) want.push_back(k_f16_to_f32(k_f32_to_f16(x)));
  EXPECT_EQ(seen["blk.1.kv"], want);
}

TEST(Executor, NanInOneTokenReachesItAndWhatFollowsOnly) {
  Shape shape;
  shape.type = 1;  // F16: a NaN can stand in one row of the embedding
  TinyModel model(shape);
  const uint64_t row = model.program.weights[0].row_bytes();
  std::vector<uint8_t> bytes(model.program.weights[0].data.begin(),
                             model.program.weights[0].data.end());
  bytes[7 * row] = 0x00, bytes[7 * row + 1] = 0x7e;  // token 7, element 0
  model.program.weights[0].data = bytes;
  const std::vector<float> y =
      run(*make_executor(model.program, options(), Mode::contract), Tokens({1, 2, 7, 3}));
  for (size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i >= 2 * 40) << i;
}

TEST(Executor, NamesItself) {
  const TinyModel model(Shape{});
  const auto name = [&](const op::ExecutorOptions& o, Mode mode) {
    return make_executor(model.program, o, mode)->contract();
  };
  EXPECT_EQ(name(options(), Mode::exact), "exact");
  EXPECT_EQ(name(options(), Mode::contract), "assay/1 f64");
  EXPECT_EQ(name(options(op::CacheType::f32), Mode::contract), "assay/1 kv=f32 f64");
  EXPECT_EQ(name(options(op::CacheType::f16, op::Contract::f32), Mode::contract), "f32 f64");
  EXPECT_EQ(make_executor(model.program, options(), Mode::exact)->device(), "reference");
}

}  // namespace
}  // namespace assay::reference
