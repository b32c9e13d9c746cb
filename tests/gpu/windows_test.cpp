// Groups of pages on the emulated grid: each layer finds the table of its own group, in kernels of all
// shapes, in recordings and in traces.
#include "../cpu/windowed.h"
#include "queues.h"

namespace assay {
namespace {

using tests::FewPages;

TEST(Windows, FewPagesHaveTheCpusBits) {
  for (const uint32_t window : {65u, tests::wide}) {
    const tests::WindowedModel model(window);
    const op::Program& program = model.tiny.program;
    auto options = tests::options_with(1);
    options.context = options.batch = 640;
    options.sequences = 2;
    auto plain = options;
    plain.isa = "portable";
    const auto want = tests::run_pieces(*tests::made(program, plain), {590});
    tests::WatchedQueue::Seen seen;
    options.batch = 260;
    const auto executor = tests::emulated_executor(program, options, {}, &seen);
    for (uint32_t seed = 1; seed <= 2; ++seed) {
      FewPages pages(*executor, program, options, 0, seed);
      const std::vector<uint32_t> pieces{3, 60, 1, 1, 260, 240, 1, 1, 2, 2, 9, 10};
      EXPECT_EQ(tests::difference(tests::run_pieces(*executor, pieces, 0, &pages), want), "")
          << window;
    }
    for (const char* kernel : {"attention", "attention_tile", "attention_chunks", "rope_store"})
      EXPECT_GT(seen.launches[kernel], 0u) << kernel;
  }
}

TEST(Windows, TracesReadTheGroupsOwnPages) {
  const tests::WindowedModel model(tests::wide);
  const op::Program& program = model.tiny.program;
  const auto stored = [&](op::Executor& executor, FewPages* pages) {
    std::vector<float> all;
    tests::Tokens tokens;
    for (uint32_t i = 0; i < 130; ++i) tokens.add(tests::token(i) % tests::nan_token, i, 0);
    op::Step step = tokens.step();
    if (pages) step.pages = pages->table(0, 130);
    executor.run(step, [&](const op::Operation& operation, auto output) {
      if (operation.is<op::KvStore>()) all.insert(all.end(), output.begin(), output.end());
    });
    return all;
  };
  const auto options = tests::options_with(1);
  const auto cpu = tests::made(program, options);
  const auto want = stored(*cpu, nullptr);
  const auto executor = tests::emulated_executor(program, options);
  FewPages pages(*executor, program, options, 0, 1);
  EXPECT_EQ(tests::difference(stored(*executor, &pages), want), "");
  FewPages of_cpu(*cpu, program, options, 0, 2);
  EXPECT_EQ(tests::difference(stored(*cpu, &of_cpu), want), "");
}

}  // namespace
}  // namespace assay
