// Steps without a page table have pages in order; a table must name pages that are there.
#include "op/paging.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <stdexcept>

namespace assay::op {
namespace {

ExecutorOptions options(uint32_t context, uint32_t sequences, uint32_t pages = 0) {
  ExecutorOptions made;
  made.context = context, made.sequences = sequences, made.pages = pages;
  return made;
}

/// A step of one token of each (position, sequence).
struct OneStep {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences;
  Step step;

  OneStep(std::initializer_list<std::pair<uint32_t, uint32_t>> places,
          const std::vector<uint32_t>& pages = {}, uint32_t stride = 0, uint32_t groups = 1) {
    for (const auto& [position, sequence] : places) {
      tokens.push_back(0);
      positions.push_back(position);
      sequences.push_back(sequence);
    }
    step = {tokens, positions, sequences, {}, {pages, stride, groups}};
  }
};

TEST(Paging, CountsPagesUpwards) {
  EXPECT_EQ(pages_for(0), 0u);
  EXPECT_EQ(pages_for(1), 1u);
  EXPECT_EQ(pages_for(64), 1u);
  EXPECT_EQ(pages_for(65), 2u);
  EXPECT_EQ(pages_for(0xffffffffu), 0x4000000u);
  EXPECT_EQ(pages_of(options(65, 3)), 6u);
  EXPECT_EQ(pages_of(options(65, 3, 4)), 4u);
}

TEST(Paging, WithoutATablePagesAreInOrder) {
  const Paging paging(options(130, 3));  // three pages each
  const OneStep one({{0, 0}, {129, 2}});
  const PageTable table = paging.resolve(one.step).pages;
  EXPECT_EQ(table.page_of(0, 0), 0u);
  EXPECT_EQ(table.page_of(0, 63), 0u);
  EXPECT_EQ(table.page_of(0, 64), 1u);
  EXPECT_EQ(table.page_of(1, 0), 3u);
  EXPECT_EQ(table.page_of(2, 129), 8u);
}

TEST(Paging, ATableOfTheStepIsTaken) {
  const Paging paging(options(130, 2, 20));
  const std::vector<uint32_t> pages{19, 7, 7, 99};  // 99 is of no position yet
  const OneStep one({{100, 0}, {63, 1}}, pages, 2);
  const Step resolved = paging.resolve(one.step);
  EXPECT_EQ(resolved.pages.page_of(0, 64), 7u);
  EXPECT_EQ(resolved.pages.page_of(1, 0), 7u);
  EXPECT_EQ(resolved.tokens.data(), one.step.tokens.data());
}

bool refused(const Paging& paging, const OneStep& one, uint32_t ahead = 0) {
  try {
    paging.resolve(one.step, ahead);
    return false;
  } catch (const std::logic_error&) {
    return true;
  }
}

TEST(Paging, APositionWithoutAPageIsRefused) {
  const Paging paging(options(128, 2, 8));
  const std::vector<uint32_t> pages{7, 8, 0, 1};  // 8 is beyond the pool
  const auto refuses = [&](const OneStep& one, uint32_t ahead = 0) {
    return refused(paging, one, ahead);
  };
  EXPECT_FALSE(refuses(OneStep({{63, 0}}, pages, 2)));
  EXPECT_TRUE(refuses(OneStep({{64, 0}}, pages, 2)));
  EXPECT_TRUE(refuses(OneStep({{63, 0}}, pages, 2), 1)) << "the next token";
  EXPECT_FALSE(refuses(OneStep({{127, 1}}, pages, 2)));
  EXPECT_TRUE(refuses(OneStep({{128, 1}}, pages, 2))) << "beyond the row";
  EXPECT_TRUE(refuses(OneStep({{0, 2}}, pages, 2))) << "no row";
  EXPECT_TRUE(refuses(OneStep({{64, 0}, {0, 0}}, pages, 2))) << "a later token's position is lower";
  EXPECT_TRUE(refuses(OneStep({{128, 0}}))) << "in order: beyond the context";
  EXPECT_TRUE(refuses(OneStep({{0, 2}}))) << "in order: no such sequence";
  EXPECT_FALSE(refuses(OneStep({{127, 1}})));
}

/// Windows on both sides of a page's border, and one that hides nothing of these contexts.
constexpr uint32_t windows[] = {1, 2, 63, 64, 65, 66, 128, 129, 130, 5000};

TEST(Paging, AWindowsPagesHoldWhatAStepSees) {
  for (const uint32_t window : windows)
    for (const uint32_t batch : {8u, 9u, 64u, 65u, 100u}) {
      ExecutorOptions one = options(1000, 3);
      one.batch = batch;
      const uint32_t most = pages_of_sequence(one, window);
      EXPECT_EQ(pages_of(one, window), 3 * most);
      uint32_t held = 0;
      for (uint32_t position = 0; position < 1000; ++position) {
        const uint32_t first = first_kept(window, position);
        const uint32_t end = std::min(position + batch, 1000u);
        // A query sees `window` keys, also if it stands where the page of `position` begins.
        for (const uint32_t query : {position, position / 64 * 64})
          EXPECT_LE(first * 64, query < window ? 0 : query - window + 1);
        held = std::max(held, pages_for(end) - first);
      }
      EXPECT_EQ(held, most) << "window " << window << ", batch " << batch;  // and none is idle
    }
}

TEST(Paging, AWindowsPagesDoNotGrowWithTheContext) {
  ExecutorOptions one = options(1 << 20, 2);
  one.batch = 64;
  EXPECT_EQ(pages_of_sequence(one, 128), 4u);  // two before that of the step's first token
  EXPECT_EQ(pages_of_sequence(one, 1), 2u);
  EXPECT_EQ(pages_of_sequence(one, 0), 1u << 14);
  EXPECT_EQ(pages_of_sequence(options(100, 1), 128), 2u) << "no more than the context has";
  one.batch = 1;
  EXPECT_EQ(pages_of_sequence(one, 1), 2u) << "tokens drawn ahead cross a border";
  one.pages = 5;
  EXPECT_EQ(pages_of(one, 0), 5u);
  EXPECT_EQ(pages_of(one, 1), 4u);
  EXPECT_EQ(pages_of(one, 128), 5u) << "each page of a group with all positions has one of these";
}

TEST(Paging, PagesInOrderAreUsedAgainBehindAWindow) {
  ExecutorOptions one = options(640, 2);
  one.batch = 64;  // with a window of 65: one page before, two for the step
  const Paging paging(one, {0, 65});
  const OneStep last({{639, 1}});
  const PageTable table = paging.resolve(last.step).pages;
  EXPECT_EQ(table.groups, 2u);
  for (uint32_t chunk = 0; chunk < 10; ++chunk)
    for (uint32_t sequence = 0; sequence < 2; ++sequence) {
      EXPECT_EQ(table.page_of(sequence, chunk * 64), sequence * 10 + chunk);
      EXPECT_EQ(table.page_of(sequence, chunk * 64 + 63, 1), sequence * 3 + chunk % 3);
    }
  OneStep step({});
  for (uint32_t i = 0; i < 65; ++i) {
    step.tokens.push_back(0);
    step.positions.push_back(i);
    step.sequences.push_back(0);
  }
  const auto count = [&](size_t tokens) {
    step.step = {std::span(step.tokens).first(tokens), step.positions, step.sequences, {}, {}};
    return refused(paging, step);
  };
  EXPECT_FALSE(count(64));
  EXPECT_TRUE(count(65)) << "more than the batch";
}

TEST(Paging, AHiddenChunkNeedsNoPage) {
  ExecutorOptions one = options(256, 2);
  const Paging paging(one, {0, 64});
  // Both groups of sequence 0; of sequence 1 only where the second one is looked at.
  std::vector<uint32_t> pages{0, 1, 2, 3, none, none, 4, 5, 4, 5, 6, 7, 1, none, none, none};
  const auto refuses = [&](const OneStep& step, uint32_t ahead = 0) {
    return refused(paging, step, ahead);
  };
  EXPECT_FALSE(refuses(OneStep({{191, 0}}, pages, 4, 2))) << "sees 128 to 191";
  EXPECT_TRUE(refuses(OneStep({{190, 0}}, pages, 4, 2))) << "sees 127";
  EXPECT_TRUE(refuses(OneStep({{190, 0}, {191, 0}}, pages, 4, 2)));
  EXPECT_FALSE(refuses(OneStep({{255, 0}}, pages, 4, 2)));
  EXPECT_FALSE(refuses(OneStep({{63, 1}}, pages, 4, 2)));
  EXPECT_TRUE(refuses(OneStep({{63, 1}}, pages, 4, 2), 1));
  EXPECT_TRUE(refuses(OneStep({{191, 0}}, pages, 4))) << "rows of one group";
  pages[3] = none;
  EXPECT_FALSE(refuses(OneStep({{191, 0}}, pages, 4, 2)));
  pages[0] = none;
  EXPECT_TRUE(refuses(OneStep({{191, 0}}, pages, 4, 2))) << "the other group sees all";
}

}  // namespace
}  // namespace assay::op
