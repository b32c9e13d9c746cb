// Correct runs are never called wrong: random prompts, contracts, caches, threads, decode steps.
#include <cstdlib>
#include <random>

#include "diff/diff.h"
#include "diff/support.h"

namespace assay::diff {
namespace {

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
    // The other run is given a's tokens, those that it generated among them, in one step.
    Recording all = how;
    all.decode = 0;
    for (size_t step = 1; step < a->steps().size(); ++step)
      all.tokens.push_back(a->steps()[step].tokens[0]);
    const auto b = record(all, open_kjv("cpu", executor()));
    ASSERT_TRUE(b) << b.error().message;
    const auto report = compare(kjv_program(), *a, *b, {.runs = 0});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->verdict, Verdict::pass) << "seed " << seed << ": " << report->sentence;
  }
}

}  // namespace
}  // namespace assay::diff
