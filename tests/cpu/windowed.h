// A program of a layer that sees all keys and one with a window, and a sequence that has few pages: each
// is full of NaN when it comes, in any order, and is given back as soon as an engine would.
#pragma once

#include <deque>

#include "op/paging.h"
#include "paged.h"

namespace assay::tests {

/// Hides nothing of the tests' texts: the layer's pages are still a group of their own.
inline constexpr uint32_t wide = 5000;

struct WindowedModel : NanModel {
  explicit WindowedModel(uint32_t window, bool chunked = false) {
    for (op::Operation& operation : tiny.program.operations)
      if (auto* attend = std::get_if<op::Attend>(&operation.of); attend && operation.layer == 1) {
        attend->window = window;
        attend->chunked = chunked;
      }
    tiny.program.group_caches();
  }
};

/// The pages of one sequence. Page 0 of each group takes what is written beside a page of NaN.
class FewPages {
 public:
  FewPages(op::Executor& executor, const op::Program& program, const op::ExecutorOptions& options,
           uint32_t sequence, uint32_t seed)
      : executor_(executor),
        windows_(program.windows),
        sequence_(sequence),
        stride_(op::pages_for(options.context)),
        held_(windows_.size()),
        most_(windows_.size()),
        table_((sequence + 1) * windows_.size() * stride_, op::none) {
    for (const uint32_t window : windows_) {
      std::vector<uint32_t> pages(op::pages_of_sequence(options, window) + 1);
      std::iota(pages.begin(), pages.end(), 0u);
      EXPECT_LE(pages.size(), op::pages_of(options, window));
      std::shuffle(pages.begin() + 1, pages.end(), std::mt19937(seed));
      free_.emplace_back(pages.begin() + 1, pages.end());
    }
  }

  /// For a step that takes the sequence from `begin` to `end` positions.
  op::PageTable table(uint32_t begin, uint32_t end) {
    for (uint32_t g = 0; g < windows_.size(); ++g) {
      const auto row =
          std::span(table_).subspan((sequence_ * windows_.size() + g) * stride_, stride_);
      for (uint32_t chunk = 0; chunk < op::first_kept(windows_[g], begin); ++chunk)
        if (row[chunk] != op::none) {
          free_[g].push_back(row[chunk]);
          row[chunk] = op::none;
          --held_[g];
        }
      for (uint32_t chunk = op::pages_for(begin); chunk < op::pages_for(end); ++chunk) {
        if (free_[g].empty()) throw std::logic_error("more pages than were promised");
        row[chunk] = free_[g].front();
        free_[g].pop_front();
        most_[g] = std::max(most_[g], ++held_[g]);
        std::vector<uint32_t> pages(windows_.size(), 0);
        pages[g] = row[chunk];
        fill_with_nan(executor_, pages);
      }
    }
    return {table_, stride_, uint32_t(windows_.size())};
  }

  /// Pages of a group at a time, at most.
  uint32_t most(uint32_t group) const { return most_[group]; }

 private:
  static void fill_with_nan(op::Executor& executor, const std::vector<uint32_t>& by_group) {
    Tokens tokens;
    for (uint32_t i = 0; i < 64; ++i) tokens.add(nan_token, i, 0, i == 63);
    op::Step step = tokens.step();
    step.pages = {by_group, 1, uint32_t(by_group.size())};
    for (float logit : executor.run(step, {})) ASSERT_TRUE(std::isnan(logit));
  }

  op::Executor& executor_;
  std::vector<uint32_t> windows_;
  uint32_t sequence_, stride_;
  std::vector<std::deque<uint32_t>> free_;
  std::vector<uint32_t> held_, most_;
  std::vector<uint32_t> table_;
};

/// Pieces of a text of `count` tokens, of 1 to `most` tokens each.
inline std::vector<uint32_t> random_pieces(uint32_t count, uint32_t most, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<uint32_t> pieces;
  for (uint32_t piece; count > 0; count -= piece)
    pieces.push_back(piece = std::min(count, 1 + uint32_t(random()) % most));
  return pieces;
}

/// Logits (tokens, vocabulary) of one sequence; `pages`: none, pages in order.
inline std::vector<float> run_pieces(op::Executor& executor, const std::vector<uint32_t>& pieces,
                                     uint32_t sequence = 0, FewPages* pages = nullptr) {
  std::vector<float> all;
  uint32_t position = 0;
  for (const uint32_t piece : pieces) {
    Tokens tokens;
    for (uint32_t i = 0; i < piece; ++i)
      tokens.add(token(position + i, sequence) % nan_token, position + i, sequence);
    op::Step step = tokens.step();
    if (pages) step.pages = pages->table(position, position + piece);
    const auto logits = executor.run(step, {});
    all.insert(all.end(), logits.begin(), logits.end());
    position += piece;
  }
  return all;
}

/// However a text is cut, and whatever lay in its few pages, each token has the bits of `want`, those
/// of a run in one step.
inline void expect_few_pages(op::Executor& executor, const op::Program& program,
                             const op::ExecutorOptions& options, std::span<const float> want) {
  const auto count = uint32_t(want.size() / vocabulary);
  for (const float logit : want) ASSERT_TRUE(std::isfinite(logit));
  uint32_t seed = 1;
  for (const uint32_t most : {1u, 8u, options.batch}) {
    const auto pieces = random_pieces(count, most, ++seed);
    FewPages pages(executor, program, options, 0, seed);
    ASSERT_EQ(difference(run_pieces(executor, pieces, 0, &pages), want), "")
        << "pieces to " << most;
    EXPECT_EQ(pages.most(0), op::pages_for(count));
    for (uint32_t g = 1; g < program.windows.size(); ++g)
      EXPECT_LE(pages.most(g), op::pages_of_sequence(options, program.windows[g]));
    ASSERT_EQ(difference(run_pieces(executor, pieces), want), "") << "in order, to " << most;
  }
}

}  // namespace assay::tests
