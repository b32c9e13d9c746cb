// The verdict over two traces: right pairs pass whatever their contracts, one wrong element fails
// at its place, and what can't be compared is never called right.
#include "diff/diff.h"

#include <nlohmann/json.hpp>

#include "diff/support.h"

namespace assay::diff {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Report diffed(const Result<trace::Trace>& a, const Result<trace::Trace>& b,
              const DiffOptions& options = {.runs = 0}) {
  if (!a) throw std::runtime_error(a.error().message);
  if (!b) throw std::runtime_error(b.error().message);
  auto report = compare(kjv_program(), *a, *b, options);
  if (!report) throw std::runtime_error(report.error().message);
  return std::move(*report);
}

std::string refusal(const Result<trace::Trace>& a, const Result<trace::Trace>& b) {
  if (!a) return a.error().message;
  if (!b) return b.error().message;
  const auto report = compare(kjv_program(), *a, *b, {.runs = 0});
  return report ? "not refused: " + report->sentence : report.error().message;
}

TEST(Diff, OurTraceAgainstLlamaCppsInEveryFormat) {
  for (const char* name : {"kjv_8_flash.safetensors", "kjv_8_noflash.safetensors"}) {
    const auto theirs = trace::Trace::open(data / "traces" / name);
    ASSERT_TRUE(theirs) << theirs.error().message;
    const Report report = diffed(theirs, record({.tokens = theirs->steps()[0].tokens}), {});
    EXPECT_EQ(report.verdict, Verdict::pass) << report.sentence;
    EXPECT_EQ(report.a.contract, "ggml-cpu");
    EXPECT_EQ(report.b.contract, "assay/1");
    EXPECT_EQ(report.compared, kjv_program().operations.size());
    EXPECT_THAT(report.unmeasured, IsEmpty());
    EXPECT_THAT(report.benign, Contains(HasSubstr("two contracts: ggml-cpu and assay/1")));
    EXPECT_LT(report.logits.kl_mean, 2e-2);
    EXPECT_EQ(report.logits.positions, 8u);
    EXPECT_EQ(report.noise.runs, 16u);
    EXPECT_EQ(report.noise.divergence.size(), 64u);
    // Two correct engines: they lie among correct runs, not beyond all of them.
    EXPECT_LT(report.logits_percentile, 100.0);
  }
}

TEST(Diff, TheContractIsFoundWhereATraceDeclaresNoneOrAnother) {
  const auto cpu = record({});
  op::ExecutorOptions f32;
  f32.contract = op::Contract::f32;
  const auto plain =
      record({.metadata = {{"engine", "another"}, {"contract", "assay/1"}}}, open_kjv("cpu", f32));
  const Report report = diffed(cpu, plain);
  EXPECT_EQ(report.verdict, Verdict::pass) << report.sentence;
  EXPECT_EQ(report.b.contract, "f32");
  EXPECT_THAT(report.benign, Contains(HasSubstr("declares the contract assay/1 and computes f32")));
}

TEST(Diff, CutsAndDecodeStepsCompareWithOneStep) {
  auto tokens = eight;
  const auto decoded = record({.decode = 3});
  ASSERT_TRUE(decoded);
  for (size_t step = 1; step < 4; ++step) tokens.push_back(decoded->steps()[step].tokens[0]);
  const Report report = diffed(decoded, record({.tokens = tokens}));
  EXPECT_EQ(report.verdict, Verdict::pass) << report.sentence;
  EXPECT_EQ(report.logits.positions, 11u);
  EXPECT_EQ(report.logits.certified, 11u);
  EXPECT_EQ(report.logits.kl_max, 0.0);  // One Answer
}

TEST(Diff, OneWrongElementIsFoundAtItsPlaceAndOnItsSide) {
  const auto wrong = record({.alter = [](const op::Operation& operation, std::vector<float>& out) {
    if (operation.name == "blk.2.down") out[3 * out.size() / 8 + 5] *= 1.01f;  // token 3, row 5
  }});
  for (const bool swapped : {false, true}) {
    const auto right = record({});
    const Report report = swapped ? diffed(right, wrong) : diffed(wrong, right);
    EXPECT_EQ(report.verdict, Verdict::fail);
    ASSERT_TRUE(report.first);
    EXPECT_EQ(report.first->operation, "blk.2.down");
    EXPECT_EQ(report.first->layer, 2u);
    EXPECT_EQ(report.first->seen.token, 3u);
    EXPECT_EQ(report.first->seen.row, 5u);
    EXPECT_EQ(report.first->seen.failures, 1u);
    EXPECT_EQ(report.first->a, !swapped);
    EXPECT_EQ(report.first->b, swapped);
    EXPECT_THAT(
        report.sentence,
        HasSubstr("FAIL blk.2.down of assay test (assay/1) is wrong: token 3, channel 5; got "));
  }
}

TEST(Diff, NanAndInfinityFailInEveryOperation) {
  for (const float bad : {NAN, INFINITY, -INFINITY})
    for (const char* name :
         {"embd", "blk.0.attn_norm", "blk.1.q", "blk.1.k_rope", "blk.1.kv", "blk.2.kqv",
          "blk.3.attn_residual", "blk.4.act", "out_norm", "logits"}) {
      const auto wrong =
          record({.alter = [&](const op::Operation& operation, std::vector<float>& out) {
            if (operation.name == name) out[1] = bad;
          }});
      const Report report = diffed(wrong, record({}));
      EXPECT_EQ(report.verdict, Verdict::fail) << name << bad;
      ASSERT_TRUE(report.first) << name << bad;
      EXPECT_EQ(report.first->operation, name) << bad;
      const auto json = nlohmann::json::parse(to_json(kjv_program(), report));
      EXPECT_TRUE(json["first"]["error_u"].is_null()) << name;
    }
}

TEST(Diff, AMissingOperationIsJudgedWithWhatReadsIt) {
  const auto why = [](const Report& report, std::string_view name) {
    const auto& operations = kjv_program().operations;
    const auto at = std::ranges::find(operations, name, &op::Operation::name);
    return report.b.operations[size_t(at - operations.begin())].why;
  };
  const std::pair<const char*, const char*> missing[] = {{"embd", "blk.0.attn_norm"},
                                                         {"blk.0.q", "blk.0.q_rope"},
                                                         {"blk.3.k_rope", "blk.3.kqv"},
                                                         {"blk.2.kqv", "blk.2.attn_out"},
                                                         {"blk.5.out", "out_norm"}};
  for (const auto& [name, reader] : missing) {
    const auto less = record({.wanted = [&](std::string_view one) { return one != name; }});
    const Report report = diffed(record({}), less);
    EXPECT_EQ(report.verdict, Verdict::pass) << name << ": " << report.sentence;
    EXPECT_EQ(why(report, name), "judged with " + std::string(reader));
  }
  // Nothing reads logits: that they were not judged is said.
  const auto less = record({.wanted = [&](std::string_view one) { return one != "logits"; }});
  EXPECT_THAT(diffed(record({}), less).sentence, HasSubstr("the record ends before logits"));
  // In one of several steps, too.
  int seen = 0;
  const auto once = record({.decode = 2, .wanted = [&](std::string_view one) {
                              return one != "blk.1.up" || ++seen != 2;
                            }});
  EXPECT_EQ(diffed(record({.decode = 2}), once).verdict, Verdict::pass);
}

TEST(Diff, WhatNothingRecordedReadsIsUnmeasuredAndNeverAPass) {
  const auto less = record({.wanted = [&](std::string_view one) {
    return one != "out_norm" && one != "logits" && !one.starts_with("blk.5.");
  }});
  const Report report = diffed(record({}), less);
  EXPECT_EQ(report.verdict, Verdict::unmeasured) << report.sentence;
  EXPECT_THAT(report.unmeasured, Contains(std::string("blk.5.out")));
  EXPECT_THAT(report.sentence, HasSubstr("UNMEASURED"));
}

TEST(Diff, CopiesThatATraceLeavesOutAreJudgedWithWhatReadsThem) {
  const auto less = record({.wanted = [](std::string_view name) {
    return name != "out_selected" && name.find(".kv_") == name.npos;
  }});
  EXPECT_EQ(diffed(record({}), less).verdict, Verdict::pass);
}

TEST(Diff, UnequalInputsAreRefused) {
  auto others = eight;
  others[5] = 7;
  EXPECT_THAT(refusal(record({}), record({.tokens = others})),
              HasSubstr("the tokens differ from index 5 on"));
  others = {eight.begin(), eight.end() - 1};
  EXPECT_THAT(refusal(record({}), record({.tokens = others})), HasSubstr("from index 7 on"));
  const auto of = [](const std::string& hash) {
    return record({.metadata = {{"engine", "e"}, {"model_sha256", hash}}});
  };
  EXPECT_THAT(refusal(of(std::string(64, '1')), of(std::string(64, '2'))),
              HasSubstr("the weights differ"));
}

TEST(Diff, StatisticsAreNotJudged) {
  EXPECT_THAT(refusal(record({}), record({.statistics = true})),
              HasSubstr("holds statistics, not values"));
}

TEST(Diff, ACacheOfAnUnknownTypeIsNotJudged) {
  EXPECT_THAT(refusal(record({}), record({.metadata = {{"engine", "e"}, {"kv", "q5_k"}}})),
              HasSubstr("its cache is of type 'q5_k'"));
}

TEST(Diff, ACacheThatIsNotOfTheTypeThatTheTraceStatesIsWrong) {
  const Report report = diffed(record({}), record({.metadata = {{"engine", "e"}, {"kv", "q8_0"}}}));
  ASSERT_TRUE(report.first);
  EXPECT_EQ(report.first->operation, "blk.0.kv") << report.sentence;
}

TEST(Diff, JsonHasTheFixedShape) {
  const auto wrong = record({.alter = [](const op::Operation& operation, std::vector<float>& out) {
    if (operation.name == "blk.1.gate") out[0] += 1;
  }});
  const auto json = nlohmann::json::parse(to_json(kjv_program(), diffed(record({}), wrong)));
  EXPECT_EQ(json["schema"], "assay.diff/1");
  EXPECT_EQ(json["verdict"], "FAIL");
  EXPECT_EQ(json["a"]["engine"], "assay test");
  EXPECT_EQ(json["b"]["contract"], "assay/1");
  EXPECT_EQ(json["first"]["operation"], "blk.1.gate");
  EXPECT_EQ(json["first"]["layer"], 1);
  EXPECT_EQ(json["first"]["side"], "b");
  EXPECT_EQ(json["first"]["count"], 1);
  EXPECT_EQ(json["first"]["of"],
            8 * kjv_program().values[kjv_program().operations[13].output].width);
  EXPECT_EQ(json["operations"].size(), kjv_program().operations.size());
  EXPECT_EQ(json["coverage"]["compared"], kjv_program().operations.size());
}

TEST(Diff, TheSharedPairIsTwoContractsAndNoBug) {
  const auto folder = testing::shared_data() / "traces";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no shared data: " << folder;
  if (!std::filesystem::exists(testing::default_model())) GTEST_SKIP() << "no default model";
  const auto engine = run::Engine::open(testing::default_model(), {});
  ASSERT_TRUE(engine);
  const auto cuda = trace::Trace::open(folder / "llama_cpp_cuda.safetensors");
  const auto cpu = trace::Trace::open(folder / "llama_cpp_cpu.safetensors");
  ASSERT_TRUE(cuda && cpu);
  EXPECT_THAT(cuda->unknown(), IsEmpty());
  const auto report = compare(engine->program(), *cuda, *cpu);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->verdict, Verdict::pass) << report->sentence;
  EXPECT_EQ(report->a.contract, "ggml-cuda");
  EXPECT_EQ(report->b.contract, "ggml-cpu");
  EXPECT_EQ(report->compared, engine->program().operations.size());
  uint64_t ties = 0;
  for (const auto& operation : report->a.operations) ties += operation.seen.ties;
  EXPECT_GT(ties, 0u);
  // The design's figures: NMSE 2.1e-3 against 1.6e-4.
  EXPECT_THAT(report->benign, Contains(::testing::AllOf(
                                  HasSubstr("blk.0.v"), HasSubstr("13x further from exact"),
                                  HasSubstr("2.1e-03 against 1.6e-04"), HasSubstr("min term"))));
}

}  // namespace
}  // namespace assay::diff
