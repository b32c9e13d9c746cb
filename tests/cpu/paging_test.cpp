// Which pages hold a sequence changes no bit: on the cpu with each instruction set, and in the judge.
#include "paged.h"
#include "reference/executor.h"

namespace assay::tests {
namespace {

TEST(Paging, AnyPagesHaveTheBitsOfPagesInOrder) {
  const NanModel model;
  for (const auto type : {op::CacheType::f16, op::CacheType::f32})
    for (const cpu::Kernels* kernels : all_kernels()) {
      auto options = paged_options(kernels->isa);
      options.cache = type;
      auto plain = options_with(1, "portable");
      plain.cache = type;
      const auto want = run_paged(*made(model.tiny.program, plain), all_cuts()[0]);
      expect_any_pages(*made(model.tiny.program, options), want);
    }
}

TEST(Paging, AnyPagesHaveTheBitsOfPagesInOrderWithEveryFormat) {
  const TinyProgram tiny(mixed);
  const auto want = run_paged(*made(tiny.program, options_with(1)), all_cuts()[0]);
  const auto executor = made(tiny.program, paged_options());
  for (const Cuts& cuts : all_cuts()) {
    const auto got = run_paged(*executor, cuts, shuffled_pages(5));
    for (size_t s = 0; s < 3; ++s) ASSERT_EQ(difference(got[s], want[s]), "") << s;
  }
}

TEST(Paging, TracesReadWhatThePagesHold) {
  const TinyProgram tiny(quant::Q8_0::id);
  const auto stored = [&](const op::ExecutorOptions& options, const std::vector<uint32_t>& pages) {
    std::vector<float> all;
    Tokens tokens;
    for (uint32_t i = 0; i < 130; ++i) tokens.add(token(i), i, 1);
    op::Step step = tokens.step();
    if (!pages.empty()) step.pages = {pages, 3};
    made(tiny.program, options)->run(step, [&](const op::Operation& operation, auto output) {
      if (operation.is<op::KvStore>()) all.insert(all.end(), output.begin(), output.end());
    });
    return all;
  };
  const auto want = stored(options_with(1), {});
  ASSERT_EQ(want.size(), 2u * 130 * 2 * 2 * tiny.program.caches[0].key_dim);
  EXPECT_EQ(difference(stored(paged_options(), shuffled_pages(3)), want), "");
}

TEST(Paging, TheJudgeFollowsThePages) {
  const NanModel model;
  for (const auto mode : {reference::Mode::contract, reference::Mode::exact}) {
    const auto in_order = reference::make_executor(model.tiny.program, options_with(1), mode);
    const auto want = run_paged(*in_order, all_cuts()[0]);
    const auto judge = reference::make_executor(model.tiny.program, paged_options(), mode);
    expect_any_pages(*judge, want);
  }
}

/// A page of another sequence in the place of an own one.
TEST(Paging, AWrongTableChangesTheAnswerOfEveryExecutor) {
  const NanModel model;
  const op::Program& program = model.tiny.program;
  const auto check = [](op::Executor& executor) {
    const auto pages = shuffled_pages(1);
    const Cuts prompt = {{140, 69, 130}}, next = {{1, 1, 1}};
    const auto decoded = [&](const std::vector<uint32_t>& table) {
      run_paged(executor, prompt, pages);
      return run_paged(executor, next, table, {140, 69, 130});
    };
    const auto want = decoded(pages);
    auto wrong = pages;
    wrong[1] = pages[7];
    const auto got = decoded(wrong);
    EXPECT_NE(difference(got[0], want[0]), "") << executor.device();
    for (size_t s = 1; s < 3; ++s)
      EXPECT_EQ(difference(got[s], want[s]), "") << executor.device() << " " << s;
  };
  check(*made(program, paged_options()));
  check(*reference::make_executor(program, paged_options(), reference::Mode::contract));
}

}  // namespace
}  // namespace assay::tests
