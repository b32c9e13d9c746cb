// Who holds which KV page: appending, forking, truncating and freeing, against a simple model.
#include "run/pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>

namespace assay::run {
namespace {

TEST(Pages, TakesTheLowestFreeAndReusesWhatWasFreed) {
  PagePool pool(5);
  PageRow a, b;
  ASSERT_TRUE(pool.extend(a, 65));  // two pages
  ASSERT_TRUE(pool.extend(b, 64));
  ASSERT_TRUE(pool.extend(a, 128));  // has room already
  EXPECT_EQ(a, (PageRow{0, 1}));
  EXPECT_EQ(b, (PageRow{2}));
  EXPECT_EQ(pool.free(), 2u);
  EXPECT_EQ(pool.truncate(a, 0), 0u);
  EXPECT_EQ(a, PageRow{});
  ASSERT_TRUE(pool.extend(b, 256));
  EXPECT_EQ(b, (PageRow{2, 0, 1, 3}));
}

TEST(Pages, TooFewAreRefusedWithTheNumbers) {
  PagePool pool(3);
  PageRow a, b;
  ASSERT_TRUE(pool.extend(a, 128));
  const Status refused = pool.extend(b, 200);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "the KV cache is full: 4 more pages of 64 positions needed, 1 of 3 free");
  EXPECT_EQ(b, PageRow{});
  EXPECT_EQ(pool.free(), 1u);
  EXPECT_TRUE(pool.extend(b, 64));
  EXPECT_EQ(pool.free(), 0u);
  EXPECT_TRUE(pool.extend(b, 1));
}

TEST(Pages, AForkSharesFullPagesAndNoOther) {
  PagePool pool(4);
  PageRow a;
  ASSERT_TRUE(pool.extend(a, 190));
  PageRow fork = pool.fork(a, 150);
  EXPECT_EQ(fork, (PageRow{0, 1}));
  EXPECT_EQ(pool.owners(0), 2u);
  EXPECT_EQ(pool.owners(1), 2u);
  EXPECT_EQ(pool.owners(2), 1u);
  ASSERT_TRUE(pool.extend(fork, 150));
  EXPECT_EQ(fork, (PageRow{0, 1, 3}));
  EXPECT_EQ(pool.fork(a, 63), PageRow{});
  EXPECT_EQ(pool.truncate(a, 0), 0u);
  EXPECT_EQ(pool.owners(0), 1u);
  EXPECT_EQ(pool.free(), 1u);
}

TEST(Pages, TruncatingInsideASharedPageGoesBackToItsBeginning) {
  PagePool pool(4);
  PageRow a;
  ASSERT_TRUE(pool.extend(a, 190));
  PageRow fork = pool.fork(a, 128);
  EXPECT_EQ(pool.truncate(a, 130), 130u);  // the third page is a's own
  EXPECT_EQ(pool.truncate(a, 128), 128u);  // a border: nothing is partly filled
  EXPECT_EQ(pool.truncate(a, 100), 64u);   // the second page is the fork's, too
  EXPECT_EQ(a, (PageRow{0}));
  EXPECT_EQ(pool.truncate(fork, 100), 100u);  // now it is the fork's alone
  EXPECT_EQ(fork, (PageRow{0, 1}));
}

/// What a row of the pool should be: the stamp of each position, which is written once when the
/// position is appended. An executor reads the same stamps from the pages, or a page was
/// overwritten.
struct Text {
  PageRow row;
  std::vector<uint64_t> stamps;
};

class Model {
 public:
  Model(uint64_t seed, uint32_t pages)
      : random_(seed), pool_(pages), memory_(uint64_t(pages) * page_positions) {}

  void step() {
    switch (texts_.empty() ? 0 : random_() % 8) {
      case 0:
        if (texts_.size() < 6) texts_.emplace_back();
        break;
      case 1:
        if (texts_.size() < 6) fork(any());
        break;
      case 2:
        truncate(any());
        break;
      case 3:
        free(random_() % texts_.size());
        break;
      default:
        append(any());
    }
  }

  void check() {
    std::map<uint32_t, uint32_t> owners;
    for (const Text& text : texts_) {
      ASSERT_EQ(text.row.size(), pages_for(text.stamps.size()));
      std::set<uint32_t> own(text.row.begin(), text.row.end());
      ASSERT_EQ(own.size(), text.row.size()) << "a page twice in one row";
      for (const uint32_t page : text.row) ++owners[page];
      for (size_t p = 0; p < text.stamps.size(); ++p)
        ASSERT_EQ(memory_[place(text, p)], text.stamps[p]) << "position " << p;
    }
    for (uint32_t page = 0; page < pool_.size(); ++page)
      ASSERT_EQ(pool_.owners(page), owners[page]) << "page " << page;
    ASSERT_EQ(pool_.free() + std::ranges::count_if(owners, [](auto& o) { return o.second > 0; }),
              pool_.size());
    for (const Text& a : texts_)
      for (const Text& b : texts_)
        if (&a != &b) check_pair(a, b);
  }

  void finish() {
    while (!texts_.empty()) free(0);
    check();
    EXPECT_EQ(pool_.free(), pool_.size());
  }

  uint64_t refused = 0, forked = 0, shortened = 0;

 private:
  Text& any() { return texts_[random_() % texts_.size()]; }
  uint64_t place(const Text& text, size_t position) const {
    return uint64_t(text.row[position / page_positions]) * page_positions +
           position % page_positions;
  }

  /// Shared pages are a common beginning of both rows, filled with the same in both.
  void check_pair(const Text& a, const Text& b) {
    const auto same = size_t(std::ranges::mismatch(a.row, b.row).in1 - a.row.begin());
    for (size_t c = same; c < a.row.size(); ++c)
      ASSERT_EQ(std::ranges::count(b.row, a.row[c]), 0) << "shared behind a page that is not";
    ASSERT_LE(same * page_positions, std::min(a.stamps.size(), b.stamps.size()))
        << "a partly filled page is shared";
  }

  void append(Text& text) {
    const uint64_t count = 1 + random_() % 150;
    const uint32_t before = pool_.free();
    const PageRow row = text.row;
    const uint64_t needed = pages_for(text.stamps.size() + count) - row.size();
    if (!pool_.extend(text.row, text.stamps.size() + count)) {
      ++refused;
      EXPECT_GT(needed, before);
      EXPECT_EQ(text.row, row);
      EXPECT_EQ(pool_.free(), before);
      return;
    }
    EXPECT_EQ(pool_.free(), before - needed);
    for (uint64_t i = 0; i < count; ++i) {
      text.stamps.push_back(++stamp_);
      memory_[place(text, text.stamps.size() - 1)] = stamp_;
    }
  }

  void fork(const Text& from) {
    const auto positions = uint32_t(random_() % (from.stamps.size() + 1));
    Text made{pool_.fork(from.row, positions), {}};
    EXPECT_EQ(made.row.size(), positions / page_positions);
    made.stamps.assign(from.stamps.begin(),
                       from.stamps.begin() + std::ptrdiff_t(made.row.size() * page_positions));
    texts_.push_back(std::move(made));
    ++forked;
  }

  void truncate(Text& text) {
    const auto wanted = uint32_t(random_() % (text.stamps.size() + 1));
    const uint32_t page = wanted / page_positions;
    const bool others = wanted % page_positions && pool_.owners(text.row[page]) > 1;
    const uint32_t kept = pool_.truncate(text.row, wanted);
    EXPECT_EQ(kept, others ? page * page_positions : wanted);
    shortened += others;
    text.stamps.resize(kept);
  }

  void free(size_t index) {
    EXPECT_EQ(pool_.truncate(texts_[index].row, 0), 0u);
    texts_.erase(texts_.begin() + std::ptrdiff_t(index));
  }

  std::mt19937_64 random_;
  PagePool pool_;
  std::vector<uint64_t> memory_;  // (pages, 64)
  std::vector<Text> texts_;
  uint64_t stamp_ = 0;
};

TEST(Pages, RandomUseKeepsEveryPositionAndLosesNoPage) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, 4 + uint32_t(seed % 3) * 10);
    for (int i = 0; i < 1000; ++i) {
      model.step();
      model.check();
      if (testing::Test::HasFatalFailure()) return;
    }
    model.finish();
    EXPECT_GT(model.refused,
              0u);  // the pool was full, pages were shared, and truncated while shared
    EXPECT_GT(model.forked, 0u);
    EXPECT_GT(model.shortened, 0u);
  }
}

}  // namespace
}  // namespace assay::run
