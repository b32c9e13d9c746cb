// Which pages hold a sequence changes no bit on the emulated grid, in recordings and where tokens are
// drawn ahead.
#include <set>

#include "../cpu/paged.h"
#include "queues.h"

namespace assay {
namespace {

using tests::NanModel;
using tests::Tokens;

TEST(Paging, AnyPagesHaveTheCpusBitsOfPagesInOrder) {
  const NanModel model;
  for (const auto type : {op::CacheType::f16, op::CacheType::f32}) {
    auto options = tests::paged_options();
    options.cache = type;
    auto plain = tests::options_with(1, "portable");
    plain.cache = type;
    const auto want =
        tests::run_paged(*tests::made(model.tiny.program, plain), tests::all_cuts()[0]);
    emulated::QueueOptions queue;
    queue.grid.schedule = {emulated::Schedule::Order::shuffled, 4};
    tests::WatchedQueue::Seen seen;
    const auto executor = tests::emulated_executor(model.tiny.program, options, queue, &seen);
    tests::expect_any_pages(*executor, want);
    for (const char* kernel : {"attention", "attention_tile", "rope_store"})
      EXPECT_GT(seen.launches[kernel], 0u) << kernel;
  }
}

// Past 512 keys several groups share a head. Pages in descending order, which then change places.
TEST(Paging, RecordedStepsFollowAnotherTable) {
  const tests::TinyProgram tiny(quant::Q8_0::id);
  auto options = tests::options_with(1);
  options.context = options.batch = 640;  // ten pages a sequence
  options.sequences = 1;
  auto plain = options;
  plain.isa = "portable";
  const auto want = tests::run_cut(*tests::made(tiny.program, plain), {582});
  tests::WatchedQueue::Seen seen;
  const auto executor = tests::emulated_executor(tiny.program, options, {}, &seen);
  std::vector<uint32_t> pages(10);
  std::iota(pages.rbegin(), pages.rend(), 0u);
  for (int again = 0; again < 2; ++again) {
    std::vector<float> got;
    uint32_t position = 0;
    for (const uint32_t piece : {570u, 1u, 1u, 1u, 2u, 2u, 2u, 2u, 1u}) {
      Tokens tokens;
      for (uint32_t i = 0; i < piece; ++i, ++position)
        tokens.add(tests::token(position), position, 0);
      op::Step step = tokens.step();
      step.pages = {pages, 10};
      const auto logits = executor->run(step, {});
      got.insert(got.end(), logits.begin(), logits.end());
    }
    EXPECT_EQ(tests::difference(got, want), "") << again;
    std::rotate(pages.begin(), pages.begin() + 3, pages.end());
  }
  EXPECT_EQ(seen.launches["attention_chunks"], 4u);  // recorded for one token and for two, by layer
}

// Eight tokens drawn from position 60 on lie in two pages.
TEST(Paging, TokensDrawnAheadCrossABorderOfPages) {
  const NanModel model;
  const op::Drawing drawing{0.8f, 0.95f, 0.05f, 40, 7};
  const auto drawn = [&](op::Executor& executor, const std::vector<uint32_t>& pages) {
    std::vector<int32_t> all;
    Tokens prompt;
    for (uint32_t s = 0; s < 2; ++s)
      for (uint32_t i = 0; i < 60; ++i) prompt.add(tests::token(i, s) % 66, i, s);
    op::Step step = prompt.step();
    if (!pages.empty()) step.pages = {pages, 3};
    executor.run(step, {});
    std::vector<int32_t> last{1, 2};
    for (uint32_t position = 60; position < 76; position += 8) {
      Tokens tokens;
      for (uint32_t s = 0; s < 2; ++s) tokens.add(last[s], position, s);
      op::Step next = tokens.step();
      if (!pages.empty()) next.pages = {pages, 3};
      const op::Drawing both[] = {drawing, drawing};
      const auto got = executor.run_ahead(next, both, 8);
      all.insert(all.end(), got.begin(), got.end());
      last = {got[14], got[15]};
    }
    return all;
  };
  const auto in_order = tests::emulated_executor(model.tiny.program, tests::options_with(1));
  const auto executor = tests::emulated_executor(model.tiny.program, tests::paged_options());
  const auto want = drawn(*in_order, {});
  EXPECT_GT(std::set(want.begin(), want.end()).size(), 4u) << "too few tokens to compare";
  for (uint32_t seed : {1u, 2u}) {
    const auto pages = tests::shuffled_pages(seed);
    tests::fill_with_nan(*executor, pages);
    EXPECT_EQ(drawn(*executor, pages), want);
  }
}

TEST(Paging, TheTableIsUploadedWhereItChanges) {
  const tests::TinyProgram tiny(quant::Q8_0::id);
  auto options = tests::options_with(1);
  tests::WatchedQueue::Seen seen;
  const auto executor = tests::emulated_executor(tiny.program, options, {}, &seen);
  const auto uploads = [&](std::vector<uint32_t> pages, uint32_t position) {
    const uint64_t before = seen.uploads;
    Tokens tokens;
    tokens.add(1, position, 0);
    op::Step step = tokens.step();
    step.pages = {pages, uint32_t(pages.size())};
    executor->run(step, {});
    return seen.uploads - before;
  };
  EXPECT_EQ(uploads({4, 2, 7}, 0), 2u);  // the table, and the step
  EXPECT_EQ(uploads({4, 2, 7}, 1), 1u);
  EXPECT_EQ(uploads({4}, 2), 1u);
  EXPECT_EQ(uploads({4, 2, 8}, 3), 2u);
}

}  // namespace
}  // namespace assay
