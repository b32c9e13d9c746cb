// Layers with a window have pages of their own, which are used again: no bit depends on it.
#include "reference/executor.h"
#include "windowed.h"

namespace assay::tests {
namespace {

constexpr uint32_t length = 330;  // six pages

op::ExecutorOptions windowed_options(uint32_t batch, const std::string& isa = "") {
  op::ExecutorOptions options = options_with(2, isa);
  options.context = length;
  options.batch = batch;
  return options;
}

std::unique_ptr<op::Executor> judge(const op::Program& program,
                                    const op::ExecutorOptions& options) {
  return reference::make_executor(program, options, reference::Mode::contract);
}

/// `make_whole` makes the executor that runs the text in one step, `make` those that have few pages.
template <class Whole, class Few>
void expect_windows(const Whole& make_whole, const Few& make_all) {
  const WindowedModel all(0);
  const auto without = run_pieces(*make_whole(all.tiny.program), {length});
  const auto expect_window = [&](uint32_t window, bool chunked) {
    SCOPED_TRACE(testing::Message() << "window " << window << (chunked ? ", chunked" : ""));
    const WindowedModel model(window, chunked);
    const op::Program& program = model.tiny.program;
    const auto want = run_pieces(*make_whole(program), {length});
    EXPECT_EQ(difference(want, without) == "", window == wide) << "the window hides something";
    make_all(program, want);
  };
  for (const uint32_t window : {1u, 63u, 64u, 65u, 128u, wide}) {
    expect_window(window, false);
    if (testing::Test::HasFatalFailure()) return;
  }
  expect_window(65, true);
}

TEST(Windows, FewPagesHaveTheBitsOfARunInOneStep) {
  const auto options = windowed_options(40);
  expect_windows(
      [](const op::Program& program) { return judge(program, windowed_options(length)); },
      [&](const op::Program& program, std::span<const float> want) {
        expect_few_pages(*judge(program, options), program, options, want);
      });
}

TEST(Windows, FewPagesHaveTheBitsOfARunInOneStepOnTheCpu) {
  expect_windows(
      [](const op::Program& program) {
        return made(program, windowed_options(length, "portable"));
      },
      [](const op::Program& program, std::span<const float> want) {
        for (const cpu::Kernels* kernels : all_kernels()) {
          const auto options = windowed_options(40, kernels->isa);
          expect_few_pages(*made(program, options), program, options, want);
        }
      });
}

TEST(Windows, AStepWithoutTheOtherGroupsPagesIsRefused) {
  const WindowedModel model(64);
  const auto options = windowed_options(64);
  const std::vector<uint32_t> pages{0, 1, 2, 3, 4, 5};
  Tokens tokens;
  tokens.add(1, 0, 0);
  op::Step step = tokens.step();
  step.pages = {pages, 6};
  EXPECT_THROW(judge(model.tiny.program, options)->run(step, {}), std::logic_error);
  EXPECT_THROW(made(model.tiny.program, options)->run(step, {}), std::logic_error);
}

TEST(Windows, TakeTheMemoryOfTheirPages) {
  auto options = windowed_options(64);
  options.context = 1 << 20;
  options.sequences = 2;
  const auto cache = [&](uint32_t window) {
    const WindowedModel model(window);
    return cpu::plan_memory(model.tiny.program, options).cache;
  };
  // 2 KV heads · (16 keys + 16 values) · 2 bytes for each of 64 positions in a page; a layer's context
  // is 2^14 pages, a window of 128 two pages before the one that a step begins in, and one behind.
  const uint64_t page = 64ull * 2 * 32 * 2;
  EXPECT_EQ(cache(0), 2 * 2 * page * (1 << 14));
  EXPECT_EQ(cache(128), 2 * page * ((1 << 14) + 4));
  options.pages = 100;
  EXPECT_EQ(cache(128), page * (100 + 2 * 4));
}

}  // namespace
}  // namespace assay::tests
