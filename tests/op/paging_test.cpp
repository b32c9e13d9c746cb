// Steps without a page table have pages in order; a table must name pages that are there.
#include "op/paging.h"

#include <gtest/gtest.h>

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
          const std::vector<uint32_t>& pages = {}, uint32_t stride = 0) {
    for (const auto& [position, sequence] : places) {
      tokens.push_back(0);
      positions.push_back(position);
      sequences.push_back(sequence);
    }
    step = {tokens, positions, sequences, {}, {pages, stride}};
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

TEST(Paging, APositionWithoutAPageIsRefused) {
  const Paging paging(options(128, 2, 8));
  const std::vector<uint32_t> pages{7, 8, 0, 1};  // 8 is beyond the pool
  const auto refuses = [&](const OneStep& one, uint32_t ahead = 0) {
    try {
      paging.resolve(one.step, ahead);
      return false;
    } catch (const std::logic_error&) {
      return true;
    }
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

}  // namespace
}  // namespace assay::op
