#include "check/question.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "check/alone.h"
#include "check/kit.h"
#include "quant/formats.h"
#include "support/scratch.h"

namespace assay::check {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// y = W·x + b with W (4, 3): row r is (r + 1, −r, 0.5).
struct Product {
  std::vector<float> weight, bias = {10, 20, 30, 40};
  op::Program program;

  Product() {
    for (int r = 0; r < 4; ++r) weight.insert(weight.end(), {float(r + 1), float(-r), 0.5f});
    Parts parts;
    parts.of = op::Matmul{};
    parts.width = 3;
    parts.head_dim = 64;
    parts.weight = {"w", quant::F32::id, 4, 3, bytes_of(weight)};
    parts.bias = {"b", quant::F32::id, 1, 4, bytes_of(bias)};
    program = *program_of(parts);
  }
  static std::span<const uint8_t> bytes_of(const std::vector<float>& values) {
    return {reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)};
  }
};

Table table(uint64_t rows, uint64_t width, std::vector<double> data) {
  Table out(rows, width);
  out.data = std::move(data);
  return out;
}

Question question_about(const op::Program& program) {
  Question question;
  question.program = &program;
  question.step.tokens = {0, 0};
  question.step.positions = {0, 1};
  question.inputs = {table(2, 3, {1, 2, 4, -1, 0, 2})};
  return question;
}

trace::Npy array(std::vector<uint64_t> shape, std::vector<float> values) {
  trace::Npy out;
  out.shape = std::move(shape);
  const auto bytes = Product::bytes_of(values);
  out.bytes.assign(bytes.begin(), bytes.end());
  return out;
}

TEST(Check, WhatAProductMustGiveAndTheVerdict) {
  const Product product;
  Question question = question_about(product.program);
  // (1, 2, 4): (r + 1) − 2r + 2 + b; (−1, 0, 2): −(r + 1) + 1 + b.
  const std::vector<double> want = {13, 22, 31, 40, 10, 19, 28, 37};
  EXPECT_EQ(expected(question, "f32").want.data, want);
  question.output = table(2, 4, want);
  EXPECT_EQ(answer(question, "").verdict, diff::Verdict::pass);
  question.output.row(1)[2] = NAN;
  const Answer wrong = answer(question, "f32");
  EXPECT_EQ(wrong.verdict, diff::Verdict::fail);
  EXPECT_EQ(wrong.cause->id, "not-finite");
  EXPECT_EQ(wrong.want, 28);
  EXPECT_THAT(wrong.sentence, HasSubstr("FAIL matmul @ token 1 channel 2: got nan, wanted 28,"));
  EXPECT_TRUE(nlohmann::json::parse(to_json(question, wrong))["worst"]["got"].is_null());
}

TEST(Check, AnOutputInF16MayBeOffByHalfItsUlp) {
  const Product product;
  Question question = question_about(product.program);
  // At 31 numbers of f16 are 2^-6 apart: half of that passes, a little more fails.
  question.output = table(2, 4, {13, 22, 31 + 0x1p-7, 40, 10, 19, 28, 37});
  EXPECT_EQ(answer(question, "f32").verdict, diff::Verdict::fail);
  question.output_is_f16 = true;
  EXPECT_EQ(answer(question, "f32").verdict, diff::Verdict::pass);
  question.output.row(0)[2] = 31 + 0x1.1p-7;
  EXPECT_EQ(answer(question, "f32").verdict, diff::Verdict::fail);
}

/// (heads 2, rows 3, channels 2), where rows of 4 are wanted.
std::string values_of_heads_first() {
  const auto read = to_table(array({2, 3, 2}, std::vector<float>(12, 1)), 4, "x");
  return read ? "accepted" : read.error().message;
}

TEST(Check, RowsAreCountedBeforeTheWidth) {
  const auto values = [](std::vector<uint64_t> shape, uint64_t width) {
    const auto read = to_table(array(std::move(shape), {1, 2, 3, 4, 5, 6}), width, "x");
    return read ? std::to_string(read->rows) : read.error().message;
  };
  EXPECT_EQ(values({2, 3}, 3), "2");
  EXPECT_EQ(values({6}, 3), "x: its shape is (6,); wanted (rows, 3)");
  EXPECT_EQ(values({6}, 6), "1");
  // Two heads, three rows, one channel more: heads first.
  EXPECT_THAT(values_of_heads_first(), HasSubstr("save array.swapaxes(0, 1)"));
  EXPECT_EQ(values({1, 2, 3, 1}, 3), "2");
  EXPECT_EQ(values({3, 2}, 6), "1");
  EXPECT_EQ(values({6, 1}, 1), "6");
  EXPECT_THAT(values({3, 2}, 3), HasSubstr("it is the transpose"));
  EXPECT_THAT(to_table(array({0, 3}, {}), 3, "x").error().message, HasSubstr("wanted (rows, 3)"));
  EXPECT_THAT(to_table(array({2}, {1, NAN}), 2, "x").error().message,
              HasSubstr("nan at row 0 column 1"));
  EXPECT_TRUE(to_table(array({2}, {1, NAN}), 2, "x", true));
}

TEST(Check, PartsThatDoNotFitAreRefused) {
  const auto refusal = [](auto change) {
    Parts parts;
    parts.width = 3;
    parts.head_dim = 64;
    change(parts);
    const auto program = program_of(parts);
    return program ? "accepted" : program.error().message;
  };
  const std::vector<float> three = {1, 2, 3};
  const op::Weight row{"w", quant::F32::id, 1, 3, Product::bytes_of(three)};
  EXPECT_THAT(refusal([&](Parts& p) { p.of = op::Matmul{}, p.weight = row, p.width = 4; }),
              HasSubstr("rows of 3, the input of 4"));
  EXPECT_THAT(refusal([&](Parts& p) {
                p.of = op::Matmul{}, p.weight = row, p.bias = row, p.bias.name = "b";
              }),
              HasSubstr("the bias has 3 values, the output 1"));
  EXPECT_THAT(refusal([&](Parts& p) { p.of = op::RmsNorm{}, p.weight = row; }),
              HasSubstr("eps must be above 0"));
  EXPECT_THAT(refusal([](Parts& p) { p.of = op::Rope{}, p.heads = 2, p.head_dim = 2; }),
              HasSubstr("3 values per row are not 2 heads of 2"));
  EXPECT_THAT(refusal([](Parts& p) { p.of = op::Attend{}, p.heads = 3, p.kv_heads = 2; }),
              HasSubstr("not a multiple"));
  EXPECT_THAT(refusal([](Parts& p) {  // 2^16·2^16 would wrap to no values at all
                p.of = op::Attend{}, p.heads = p.kv_heads = p.head_dim = 65536;
              }),
              HasSubstr("more than 16777216 values"));
  EXPECT_THAT(refusal([](Parts& p) { p.of = op::SelectRows{}; }), HasSubstr("only moves"));
}

TEST(Check, AnOperationCutOutGivesTheFirstRows) {
  const Product product;
  const op::Program part =
      cut_out(product.program, 0, first_rows(product.program, product.program.operations[0], 2));
  Question question = question_about(part);
  EXPECT_THAT(expected(question, "f32").want.data, ElementsAre(13, 22, 10, 19));
}

/// Two of three experts, of four rows: expert e's row r is (e, r).
struct Experts {
  std::vector<float> weight, bias;
  op::Program program;

  Experts() {
    for (int e = 0; e < 3; ++e)
      for (int r = 0; r < 4; ++r) {
        weight.insert(weight.end(), {float(e), float(r)});
        bias.push_back(float(100 * e));
      }
    Parts parts;
    parts.of = op::MatmulExperts{3};
    parts.width = 2;
    parts.second = 4;
    parts.weight = {"w", quant::F32::id, 12, 2, Product::bytes_of(weight)};
    parts.bias = {"b", quant::F32::id, 3, 4, Product::bytes_of(bias)};
    program = *program_of(parts);
  }
};

TEST(Kit, ACaseOfExpertsHasThoseThatAreChosen) {
  const Experts experts;
  const op::Operation& operation = experts.program.operations[0];
  KitRun run;
  run.step.tokens = {0, 0};
  run.step.positions = {0, 1};
  run.values[operation.inputs[0]] = table(2, 2, {1, 10, 2, 20});
  run.values[operation.inputs[1]] = table(2, 4, {2, 0, 0.5, 0.5, 0, 2, 0.9, 0.1});
  const assay::tests::Scratch scratch;
  const auto& folder = scratch.path;
  const auto written = write_case(experts.program, 0, run, {{0}, 3}, folder.string());
  ASSERT_TRUE(written) << written.error().message;
  const auto read = [&](const char* name) {
    return trace::read_npy((folder / "matmul_experts" / name).string())->values();
  };
  // Experts 0 and 2 are 0 and 1 here, three rows of each; 100·e + e·x + r·y.
  EXPECT_THAT(read("input1.npy"), ElementsAre(1, 0, 0.5, 0.5, 0, 1, double(0.9f), double(0.1f)));
  EXPECT_THAT(read("weight.npy"), ElementsAre(0, 0, 0, 1, 0, 2, 2, 0, 2, 1, 2, 2));
  EXPECT_THAT(read("expected.f32.npy"),
              ElementsAre(202, 212, 222, 0, 10, 20, 0, 20, 40, 204, 224, 244));
  const auto json = nlohmann::json::parse(written->json);
  EXPECT_THAT(json["weight"]["experts_taken"], ElementsAre(0, 2));
  EXPECT_EQ(json["parameters"]["experts"], 2);
}

/// Logits apart by less than a probability's error: another engine's choice is judged by itself.
TEST(Check, ARouterIsJudgedByItsOwnChoice) {
  Parts parts;
  parts.of = op::Route{.used = 2, .renormalise = 1};
  parts.width = 4;
  const op::Program program = *program_of(parts);
  Question question;
  question.program = &program;
  question.step.tokens = {0};
  question.step.positions = {0};
  question.inputs = {table(1, 4, {1, 2, 2 + 1e-9, 0})};
  question.output = table(1, 4, {1, 2, 0.5, 0.5});
  EXPECT_EQ(answer(question, "f32").verdict, diff::Verdict::pass);
  question.output = table(1, 4,
                          {1, 0, std::exp(2.0) / (std::exp(2.0) + std::exp(1.0)),
                           std::exp(1.0) / (std::exp(2.0) + std::exp(1.0))});
  EXPECT_EQ(answer(question, "f32").verdict, diff::Verdict::fail);  // expert 2 is the better one
}

/// A window of two and a sink: the first key is not seen.
TEST(Check, AttentionHasWindowsAndSinks) {
  const std::vector<float> sinks = {0};
  Parts parts;
  parts.of = op::Attend{.window = 2};
  parts.heads = parts.kv_heads = 1;
  parts.head_dim = parts.value_dim = parts.width = 1;
  parts.weight = {"sinks", quant::F32::id, 1, 1, Product::bytes_of(sinks)};
  const op::Program program = *program_of(parts);
  Question question;
  question.program = &program;
  question.step.tokens = {0};
  question.step.positions = {2};
  question.inputs = {table(1, 1, {0})};
  question.keys = table(3, 1, {1, 2, 3});
  question.values = table(3, 1, {1000, 3, 6});
  EXPECT_THAT(expected(question, "f32").want.data, ElementsAre(3));  // (3 + 6 + nothing)/3
  question.output = table(1, 1, {4.5});
  EXPECT_EQ(answer(question, "f32").cause->id, "sink-missing");
  question.output = table(1, 1, {1009.0 / 4});
  EXPECT_EQ(answer(question, "f32").cause->id, "window-missing");
}

TEST(Kit, ToleranceCoversTheLimitAndTheRounding) {
  const Product product;
  KitRun run;
  run.step.tokens = {0, 0};
  run.step.positions = {0, 1};
  // 0.1 in f64: the exact results are no f32 numbers.
  run.values[product.program.operations[0].inputs[0]] = table(2, 3, {0.1, 2, 4, -1, 0, 0.1});
  const assay::tests::Scratch scratch;
  const auto& folder = scratch.path;
  const auto written = write_case(product.program, 0, run, {{0}, 64}, folder.string());
  ASSERT_TRUE(written) << written.error().message;
  const auto read = [&](const char* name) {
    return trace::read_npy((folder / "matmul" / name).string())->values();
  };
  const auto want = read("expected.f32.npy"), tolerance = read("tolerance.f32.npy");
  const Question question = [&] {
    Question one = question_about(product.program);
    one.inputs = {run.values.begin()->second};
    return one;
  }();
  const auto judged = expected(question, "f32");
  for (size_t i = 0; i < want.size(); ++i) {
    const double limit = judged.limit.data[0] * 0x1p-24 * judged.scale.data[i];
    EXPECT_EQ(want[i], double(float(judged.want.data[i])));
    EXPECT_GE(tolerance[i], limit + std::fabs(want[i] - judged.want.data[i]));
    EXPECT_LE(tolerance[i], 1.2 * limit + 0x1p-24 * std::fabs(want[i]));  // not slack
  }
  const auto plan = plan_kit(product.program, {{0}, 64}, 2);
  EXPECT_EQ(plan.operations.size(), 1u);
  EXPECT_NEAR(double(plan.bytes), double(written->bytes), double(plan.bytes) / 2);
}

}  // namespace
}  // namespace assay::check
