// Who holds which KV page: appending, forking, truncating and freeing, against a simple model.
#include "run/pages.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
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

constexpr uint32_t none = op::none;

TEST(Pages, AWindowGivesBackWhatItHasPassed) {
  PagePool pool(6, 65);  // a query sees the position 64 before its own
  PageRow a;
  ASSERT_TRUE(pool.extend(a, 200));
  pool.give_back_before(a, 127);
  EXPECT_EQ(a, (PageRow{0, 1, 2, 3}));
  pool.give_back_before(a, 128);
  EXPECT_EQ(a, (PageRow{none, 1, 2, 3}));
  pool.give_back_before(a, 191);
  EXPECT_EQ(a, (PageRow{none, 1, 2, 3}));
  pool.give_back_before(a, 192);
  EXPECT_EQ(a, (PageRow{none, none, 2, 3}));
  EXPECT_EQ(pool.free(), 4u);
  ASSERT_TRUE(pool.extend(a, 257));
  EXPECT_EQ(a, (PageRow{none, none, 2, 3, 0}));
  EXPECT_EQ(pool.kept(a, 192), 192u);  // sees position 128 next
  EXPECT_EQ(pool.kept(a, 191), 0u);    // position 127
  EXPECT_EQ(pool.kept(a, 0), 0u);
  EXPECT_EQ(pool.truncate(a, 191), 0u);
  EXPECT_EQ(a, PageRow{});
  EXPECT_EQ(pool.free(), 6u);
}

TEST(Pages, AWindowOfOneKeepsThePageInHandAlone) {
  PagePool pool(2, 1);
  PageRow a;
  ASSERT_TRUE(pool.extend(a, 100));
  pool.give_back_before(a, 100);
  EXPECT_EQ(a, (PageRow{none, 1}));
  EXPECT_EQ(pool.kept(a, 64), 64u);  // what comes next begins a page
  EXPECT_EQ(pool.kept(a, 63), 0u);
  EXPECT_EQ(pool.truncate(a, 64), 64u);
  EXPECT_EQ(a, PageRow{none});
  EXPECT_EQ(pool.fork(a, 64), PageRow{none});
  EXPECT_EQ(pool.free(), 2u);
}

TEST(Pages, AForkSharesTheWindowAtABorder) {
  PagePool pool(8, 100);  // two pages before a border
  PageRow a;
  ASSERT_TRUE(pool.extend(a, 270));
  pool.give_back_before(a, 260);
  EXPECT_EQ(a, (PageRow{none, none, 2, 3, 4}));
  PageRow fork = pool.fork(a, 270);
  EXPECT_EQ(fork, (PageRow{none, none, 2, 3}));
  EXPECT_EQ(pool.owners(2), 2u);
  EXPECT_EQ(pool.owners(4), 1u);
  EXPECT_EQ(pool.fork(a, 255), PageRow{}) << "192 needs page 1";
  ASSERT_TRUE(pool.extend(a, 330));
  pool.give_back_before(a, 325);
  EXPECT_EQ(a, (PageRow{none, none, none, 3, 4, 0}));
  EXPECT_EQ(pool.owners(2), 1u) << "the fork's";
  EXPECT_EQ(pool.truncate(fork, 256), 256u);
  EXPECT_EQ(pool.truncate(fork, 0), 0u);
  EXPECT_EQ(pool.owners(2), 0u);
  EXPECT_EQ(pool.owners(3), 1u);
  // A fork of a text that never came so far takes no more than it sees.
  PagePool other(8, 64);
  PageRow b;
  ASSERT_TRUE(other.extend(b, 256));
  EXPECT_EQ(other.fork(b, 256), (PageRow{none, none, none, 3}));
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
  Model(uint64_t seed, uint32_t pages, uint32_t window)
      : random_(seed),
        window_(window),
        pool_(pages, window),
        memory_(uint64_t(pages) * page_positions) {}

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
      const auto gone = size_t(std::ranges::find_if(text.row, is_page) - text.row.begin());
      ASSERT_TRUE(std::ranges::all_of(std::span(text.row).subspan(gone), is_page));
      ASSERT_LE(gone * page_positions, seen_from(uint32_t(text.stamps.size())));
      const std::set<uint32_t> own(text.row.begin() + std::ptrdiff_t(gone), text.row.end());
      ASSERT_EQ(own.size(), text.row.size() - gone) << "a page twice in one row";
      for (const uint32_t page : own) ++owners[page];
      for (size_t p = gone * page_positions; p < text.stamps.size(); ++p)
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
  uint64_t emptied = 0;  // as pages of the window were gone

 private:
  Text& any() { return texts_[random_() % texts_.size()]; }
  uint64_t place(const Text& text, size_t position) const {
    return uint64_t(text.row[position / page_positions]) * page_positions +
           position % page_positions;
  }

  static bool is_page(uint32_t page) { return page != none; }
  /// The first key that a query at this position sees; later queries see none before it.
  uint32_t seen_from(uint32_t query) const {
    return window_ && query >= window_ ? query - window_ + 1 : 0;
  }

  /// Shared pages are a common beginning of both rows, filled with the same in both, as far as both
  /// have not given back theirs.
  void check_pair(const Text& a, const Text& b) {
    const auto differ = [](uint32_t one, uint32_t other) {
      return one != other && one != none && other != none;
    };
    const auto same =
        size_t(std::ranges::mismatch(a.row, b.row, std::not_fn(differ)).in1 - a.row.begin());
    for (size_t c = 0; c < a.row.size(); ++c) {
      if (a.row[c] == none) continue;
      const bool shared = c < same && b.row[c] == a.row[c];
      ASSERT_EQ(std::ranges::count(b.row, a.row[c]), shared ? 1 : 0)
          << "shared behind a page that is not";
      if (!shared) continue;
      ASSERT_LE((c + 1) * page_positions, std::min(a.stamps.size(), b.stamps.size()))
          << "a partly filled page is shared";
    }
  }

  void append(Text& text) {
    const uint64_t count = 1 + random_() % 150;
    pool_.give_back_before(text.row, uint32_t(text.stamps.size()));
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
    const uint32_t full = positions / page_positions * page_positions;
    Text made{pool_.fork(from.row, positions), {}};
    EXPECT_EQ(made.row.size() * page_positions, holds(from, full) ? full : 0);
    emptied += !holds(from, full);
    made.stamps.assign(from.stamps.begin(),
                       from.stamps.begin() + std::ptrdiff_t(made.row.size() * page_positions));
    texts_.push_back(std::move(made));
    ++forked;
  }

  void truncate(Text& text) {
    const auto wanted = uint32_t(random_() % (text.stamps.size() + 1));
    const uint32_t page = wanted / page_positions;
    const bool there = holds(text, wanted);
    const bool others = there && wanted % page_positions && pool_.owners(text.row[page]) > 1;
    const uint32_t kept = pool_.truncate(text.row, wanted);
    EXPECT_EQ(kept, !there ? 0 : others ? page * page_positions : wanted);
    shortened += others;
    emptied += !there;
    text.stamps.resize(kept);
  }

  /// Whether the row still has the pages that a text of `length` positions keeps.
  bool holds(const Text& text, uint32_t length) const {
    const uint32_t border = length / page_positions * page_positions;
    for (uint32_t key = seen_from(border); key < length; ++key)
      if (text.row[key / page_positions] == none) return false;
    return true;
  }

  void free(size_t index) {
    EXPECT_EQ(pool_.truncate(texts_[index].row, 0), 0u);
    texts_.erase(texts_.begin() + std::ptrdiff_t(index));
  }

  std::mt19937_64 random_;
  uint32_t window_;
  PagePool pool_;
  std::vector<uint64_t> memory_;  // (pages, 64)
  std::vector<Text> texts_;
  uint64_t stamp_ = 0;
};

class PagesAtRandom : public ::testing::TestWithParam<uint32_t> {};

TEST_P(PagesAtRandom, KeepEveryPositionThatIsSeen) {
  const bool all_are_seen = GetParam() == 0 || GetParam() > 1000;
  uint64_t emptied = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(seed);
    Model model(seed, 4 + uint32_t(seed % 3) * 10, GetParam());
    for (int i = 0; i < 1000; ++i) {
      model.step();
      model.check();
      if (testing::Test::HasFatalFailure()) return;
    }
    model.finish();
    emptied += model.emptied;
    EXPECT_GT(model.forked, 0u);
    // A window of few pages leaves room for all texts in most of these pools.
    if (!all_are_seen) continue;
    EXPECT_GT(model.refused, 0u);  // the pool was full, and pages were truncated while shared
    EXPECT_GT(model.shortened, 0u);
  }
  EXPECT_EQ(emptied == 0, all_are_seen);
}
INSTANTIATE_TEST_SUITE_P(Pages, PagesAtRandom, ::testing::Values(0, 1, 2, 63, 64, 65, 128, 5000));

}  // namespace
}  // namespace assay::run
