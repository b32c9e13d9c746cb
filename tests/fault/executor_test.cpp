// Without a fault the executor gives the contract's bits, and the judge has nothing to say.
#include "fault/executor.h"

#include <gtest/gtest.h>

#include "cpu/executor.h"
#include "fault/harness.h"
#include "reference/mixed_model.h"
#include "support/default_model.h"
#include "trace/statistics.h"

namespace assay::fault {
namespace {

op::ExecutorOptions options(op::Contract contract = op::Contract::assay1,
                            op::CacheType cache = op::CacheType::f16, uint32_t sequences = 1) {
  op::ExecutorOptions made;
  made.contract = contract;
  made.cache = cache;
  made.sequences = sequences;
  made.context = 128;
  return made;
}

std::string golden() {
  std::ifstream file(std::string(ASSAY_SOURCE_DIR) + "/tests/golden/kjv_logits.sha256");
  std::string contract, hash;
  file >> contract >> hash;
  return contract == "assay/1" ? hash : "no golden";
}

std::string logits_hash(size_t prompt) {
  const auto executor = make_executor(kjv().program, options());
  trace::LogitsHash hash;
  for (const tests::Tokens& step : script(kjv().tokens, prompt))
    hash.update(executor->run(step.step(), {}));
  return hash.hex();
}

TEST(FaultExecutor, WithoutAFaultGivesTheGoldenBits) {
  EXPECT_EQ(logits_hash(kjv().tokens.size()), golden());
  EXPECT_EQ(logits_hash(1), golden()) << "token by token";
  EXPECT_EQ(logits_hash(20), golden());
}

TEST(FaultExecutor, WithoutAFaultPassesTheJudgeOnKjv) {
  const auto steps = script(kjv().tokens, 35);
  for (const auto contract : {op::Contract::assay1, op::Contract::f32}) {
    const Outputs outputs = run(kjv().program, options(contract), steps);
    for (const auto& error : replayed(kjv().program, options(contract), steps, outputs)) {
      EXPECT_GT(error.elements, 0u) << error.name;
      EXPECT_EQ(error.failures, 0u) << describe(error);
    }
  }
}

/// Two sequences in one step, then a token of each, in both executors: every output bit-equal.
void expect_cpu_bits(const op::Program& program, const op::ExecutorOptions& given) {
  std::vector<tests::Tokens> steps;
  steps.emplace_back(tests::token_ids(70, program.vocabulary, 1));  // beyond a chunk of 64 keys
  steps.back().append(tests::token_ids(3, program.vocabulary, 2), 0, 1);
  steps.emplace_back(std::vector<int32_t>{1}, 70);
  steps.back().append({2}, 3, 1);
  op::ExecutorOptions cpu_options = given;
  cpu_options.threads = 1;
  auto cpu = cpu::make_executor(program, cpu_options);
  ASSERT_TRUE(cpu) << cpu.error().message;
  const Outputs ours = run(program, given, steps);
  for (size_t step = 0; step < steps.size(); ++step) {
    size_t i = 0;
    (*cpu)->run(steps[step].step(), [&](const op::Operation& o, std::span<const float> output) {
      EXPECT_TRUE(same_bits(ours[step][i++], {output.begin(), output.end()})) << o.name;
    });
    EXPECT_EQ(i, program.operations.size());
  }
  for (const auto& error : replayed(program, given, steps, ours))
    EXPECT_EQ(error.failures, 0u) << describe(error);
}

TEST(FaultExecutor, HasTheCpusBitsAndPassesTheJudgeOnTinyModels) {
  for (const uint32_t type : {0u, 1u, 8u})
    for (const auto contract : {op::Contract::assay1, op::Contract::f32})
      for (const auto cache : {op::CacheType::f16, op::CacheType::f32}) {
        tests::Shape shape;
        shape.type = type;
        shape.adjacent = type != 1;
        shape.bias = type != 0;
        const tests::TinyModel model(shape);
        expect_cpu_bits(model.program, options(contract, cache, 2));
      }
}

TEST(FaultExecutor, HasTheCpusBitsOnKjvUnderTheContractF32) {
  expect_cpu_bits(kjv().program, options(op::Contract::f32, op::CacheType::f16, 2));
}

TEST(FaultExecutor, HasTheCpusBitsInAnyPages) {
  const tests::TinyModel model(tests::Shape{});
  op::ExecutorOptions paged = options(op::Contract::assay1, op::CacheType::f16, 2);
  const std::vector<uint32_t> pages{3, 0, 1, 2};
  const auto executor = make_executor(model.program, paged);
  paged.threads = 1;
  auto cpu = cpu::make_executor(model.program, paged);
  ASSERT_TRUE(cpu) << cpu.error().message;
  tests::Tokens prompt(tests::token_ids(100, 40, 1));
  prompt.append(tests::token_ids(70, 40, 2), 0, 1);
  tests::Tokens next(std::vector<int32_t>{1}, 100);
  next.append({2}, 70, 1);
  for (const tests::Tokens* tokens : {&prompt, &next}) {
    op::Step step = tokens->step();
    const auto want = (*cpu)->run(step, {});
    step.pages = {pages, 2};
    const auto got = executor->run(step, {});
    EXPECT_TRUE(same_bits({got.begin(), got.end()}, {want.begin(), want.end()}));
  }
}

/// Every kind of operation is inside the judge's bounds, in both contracts and caches, in a step and
/// token by token alike.
TEST(FaultExecutor, WithoutAFaultPassesTheJudgeOnEveryKind) {
  for (const bool plain : {false, true})
    for (const auto contract : {op::Contract::assay1, op::Contract::f32})
      for (const auto cache : {op::CacheType::f16, op::CacheType::f32}) {
        const tests::MixedModel model(plain);
        const auto ids = tests::token_ids(100, model.program.vocabulary, 7);
        const auto steps = script(ids, 96);
        const Outputs outputs = run(model.program, options(contract, cache), steps);
        for (const auto& error :
             replayed(model.program, options(contract, cache), steps, outputs)) {
          EXPECT_GT(error.elements, 0u) << error.name;
          EXPECT_EQ(error.failures, 0u) << describe(error);
        }
        const Outputs cut = run(model.program, options(contract, cache), script(ids, 1));
        for (size_t i = 0; i < model.program.operations.size(); ++i)
          EXPECT_TRUE(same_bits(cut.back()[i], outputs.back()[i]))
              << model.program.operations[i].name;
      }
}

/// Any text that is read runs: nothing is read or written out of bounds (for ASan).
void run_with_any_parameter(const op::Program& program) {
  std::vector<std::string> texts{"kv-slot:at=blk.0.kv", "kv-slot:at=blk.0.kqv",
                                 "rope-base:layer=9"};
  for (const std::string_view name : names()) {
    texts.emplace_back(name);
    for (const char* parameter : {"rows", "blocks", "tail", "tile", "limit", "shift", "multiple",
                                  "window", "base", "factor", "cap", "eps", "parts", "keys"})
      for (const char* value : {"1e-9", "1", "3", "65536", "1e9"}) {
        const auto text = std::string(name) + ":" + parameter + "=" + value;
        if (parse_fault(text)) texts.push_back(text);
      }
  }
  EXPECT_GT(texts.size(), names().size() + 60);
  for (const std::string& text : texts) {
    SCOPED_TRACE(text);
    const auto executor = make_executor(program, options(), *parse_fault(text));
    for (const tests::Tokens& step : script({1, 2, 3, 4, 5, 6}, 3))
      EXPECT_EQ(executor->run(step.step(), {}).size(), step.tokens.size() * 40);
    executor->truncate(0, 2);
    executor->run(tests::Tokens({7}, 2).step(), {});
  }
}
TEST(FaultExecutor, RunsWithAnyParameter) {
  run_with_any_parameter(tests::TinyModel(tests::Shape{}).program);
  run_with_any_parameter(tests::MixedModel().program);
}

TEST(FaultExecutor, ForgetsWhatIsTruncated) {
  const auto executor = make_executor(kjv().program, options());
  const auto steps = script(kjv().tokens, 10);
  const auto first = executor->run(steps[0].step(), {});
  const std::vector<float> logits(first.begin(), first.end());
  executor->run(steps[1].step(), {});
  executor->truncate(0, 0);
  const auto again = executor->run(steps[0].step(), {});
  EXPECT_TRUE(same_bits(logits, {again.begin(), again.end()}));
}

TEST(FaultExecutor, SaysWhichContractItRuns) {
  EXPECT_EQ(make_executor(kjv().program, options())->contract(), "assay/1");
  EXPECT_EQ(
      make_executor(kjv().program, options(op::Contract::f32, op::CacheType::f32))->contract(),
      "f32 kv=f32");
  EXPECT_EQ(make_executor(kjv().program, options(), *parse_fault("contract-f32"))->contract(),
            "f32");
  EXPECT_EQ(make_executor(kjv().program, options())->device(), "fault");
}

TEST(FaultExecutor, HasTheCpusBitsOnTheDefaultModel) {
  ASSAY_NEEDS_MODEL();
  auto engine = testing::open_default();
  const auto executor = make_executor(engine.program(), options());
  const auto ids = tests::token_ids(20, engine.program().vocabulary);
  const std::vector<float> wanted = testing::all_logits(engine, ids);
  const auto got = executor->run(tests::Tokens(ids).step(), {});
  EXPECT_TRUE(same_bits(wanted, {got.begin(), got.end()}));
}

}  // namespace
}  // namespace assay::fault
