// Correct runs are never called wrong: random prompts, contracts, caches, threads, decode steps,
// ulps.
#include <array>
#include <cstdlib>
#include <random>

#include "diff/diff.h"
#include "diff/runs.h"
#include "diff/support.h"

namespace assay::diff {
namespace {

/// The judge under another engine's contract, every product moved by up to an ulp: what a correct
/// engine with sums of another order gives.
Result<trace::Trace> perturbed_judge(const std::string& contract, const std::string& kv,
                                     const std::vector<int32_t>& tokens, std::mt19937& random) {
  const op::Program& program = kjv_program();
  Side side;
  side.contract = contract;
  side.arithmetic = judge::arithmetic_of(contract, "another engine", kv);
  side.operations.resize(program.operations.size());
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (const auto& operation = program.operations[i]; operation.is<op::Matmul>()) {
      const auto list = judge::codings(contract, program.weights[operation.weight].type);
      side.operations[i].coding = list[random() % list.size()];
    }
  trace::Recorder recorder(program, {});
  std::vector<uint32_t> positions, sequences(tokens.size(), 0);
  for (uint32_t i = 0; i < tokens.size(); ++i) positions.push_back(i);
  recorder.begin_step({tokens, positions, sequences, positions});
  const auto alter = [&](size_t index, judge::Table& out) {
    const op::Operation& operation = program.operations[index];
    const bool exact = operation.is<op::Embed>() || operation.is<op::Add>() ||
                       operation.is<op::SelectRows>();  // IEEE leaves no choice
    std::vector<float> values;
    for (double& value : out.data) {
      const double direction = exact ? 0.0 : double(random() % 3) - 1.0;
      value = double(float(value * (1.0 + 0x1p-24 * direction)));
      values.push_back(float(value));
    }
    recorder(operation, values);
  };
  (void)Runs(program, side, tokens, positions, 1, alter).run_all();
  static int count = 0;
  const TemporaryFile file("judge" + std::to_string(count++));
  std::map<std::string, std::string> metadata = {{"engine", "judge"}, {"contract", contract}};
  if (!kv.empty()) metadata["kv"] = kv;
  if (const auto written = recorder.write(file.path, metadata); !written) return written.error();
  return trace::Trace::open(file.path);
}

TEST(NoFalseAlarm, RandomCorrectRunsPass) {
  const int runs = std::getenv("ASSAY_SLOW") ? 200 : 20;
  for (int seed = 1; seed <= runs; ++seed) {
    std::mt19937 random(static_cast<unsigned>(seed));
    const auto draw = [&](uint32_t low, uint32_t high) {
      return low + random() % (high - low + 1);
    };
    Recording how;
    how.tokens.assign(1, 1);
    for (uint32_t i = draw(1, 40); i > 0; --i) how.tokens.push_back(int32_t(draw(3, 2047)));
    how.decode = draw(0, 3);
    const auto executor = [&] {
      op::ExecutorOptions options;
      options.cache = draw(0, 1) ? op::CacheType::f16 : op::CacheType::f32;
      options.contract = draw(0, 2) ? op::Contract::assay1 : op::Contract::f32;
      options.threads = draw(1, 3);
      return options;
    };
    const auto a = record(how, open_kjv("cpu", executor()));
    ASSERT_TRUE(a) << a.error().message;
    // The other run, ours or a judge, is given a's tokens, those that it generated among them, in
    // one step.
    Recording all = how;
    all.decode = 0;
    for (size_t step = 1; step < a->steps().size(); ++step)
      all.tokens.push_back(a->steps()[step].tokens[0]);
    constexpr std::array contracts = {"assay/1", "f32", "ggml-cpu", "ggml-cuda"};
    constexpr std::array caches = {"f16", "f32", ""};
    const auto b =
        seed % 2 ? record(all, open_kjv("cpu", executor()))
                 : perturbed_judge(contracts[draw(0, 3)], caches[draw(0, 2)], all.tokens, random);
    ASSERT_TRUE(b) << b.error().message;
    const auto report = compare(kjv_program(), *a, *b, {.runs = 0});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->verdict, Verdict::pass) << "seed " << seed << ": " << report->sentence;
  }
}

}  // namespace
}  // namespace assay::diff
