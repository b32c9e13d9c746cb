// Three sequences with a common beginning of one page, in any pages and cuts, and a model whose last
// token fills pages with NaN.
#pragma once

#include <algorithm>
#include <array>
#include <numeric>
#include <random>

#include "tiny_program.h"

namespace assay::tests {

inline constexpr uint32_t pool = 11;  // pages, of which tables name nine
inline constexpr int32_t nan_token = vocabulary - 1;

/// By step: how many tokens of each sequence.
using Cuts = std::vector<std::array<uint32_t, 3>>;
/// By sequence: the logits of its tokens.
using BySequence = std::array<std::vector<float>, 3>;

/// 150, 70 and 131 tokens: three pages, two, three.
inline const std::vector<Cuts>& all_cuts() {
  static const std::vector<Cuts> all{
      {{150, 0, 0}, {0, 70, 0}, {0, 0, 131}},
      {{150, 70, 131}},
      {{64, 1, 33}, {1, 9, 64}, {70, 57, 1}, {1, 1, 1}, {13, 1, 30}, {1, 1, 2}},
  };
  return all;
}

/// A small model in F16 for which `nan_token` makes every key and value NaN.
struct NanModel {
  TinyProgram tiny{quant::F16::id};
  std::vector<uint8_t> table;

  NanModel() {
    op::Weight& embedding = tiny.program.weights[0];
    table.assign(embedding.data.begin(), embedding.data.end());
    const uint16_t nan = 0x7e00;
    std::memcpy(&table[nan_token * embedding.row_bytes()], &nan, 2);
    embedding.data = table;
  }
};

inline op::ExecutorOptions paged_options(const std::string& isa = "") {
  op::ExecutorOptions options = options_with(2, isa);  // a context of three pages, three sequences
  options.pages = pool;
  return options;
}

/// Nine of the pool's pages.
inline std::vector<uint32_t> shuffled_pages(uint32_t seed) {
  std::vector<uint32_t> pages(pool);
  std::iota(pages.begin(), pages.end(), 0u);
  std::shuffle(pages.begin(), pages.end(), std::mt19937(seed));
  pages.resize(9);
  return pages;
}

/// Runs the sequences from the given positions on. An empty table: pages in order.
inline BySequence run_paged(op::Executor& executor, const Cuts& cuts,
                            const std::vector<uint32_t>& pages = {},
                            std::array<uint32_t, 3> positions = {0, 0, 0}) {
  BySequence all;
  for (const auto& counts : cuts) {
    Tokens tokens;
    for (uint32_t s = 0; s < 3; ++s)
      for (uint32_t i = 0; i < counts[s]; ++i, ++positions[s])
        tokens.add(token(positions[s], positions[s] < 64 ? 0 : s) % nan_token, positions[s], s);
    op::Step step = tokens.step();
    if (!pages.empty()) step.pages = {pages, 3};
    auto logits = executor.run(step, {});
    for (uint32_t s = 0; s < 3; ++s) {
      const auto own = logits.first(size_t(counts[s]) * vocabulary);
      all[s].insert(all[s].end(), own.begin(), own.end());
      logits = logits.subspan(own.size());
    }
  }
  return all;
}

/// Writes NaN to all of the pages.
inline void fill_with_nan(op::Executor& executor, const std::vector<uint32_t>& pages) {
  for (const uint32_t& page : pages) {
    Tokens tokens;
    for (uint32_t i = 0; i < 64; ++i) tokens.add(nan_token, i, 0, i == 63);
    op::Step step = tokens.step();
    step.pages = {{&page, 1}, 1};
    for (float logit : executor.run(step, {})) ASSERT_TRUE(std::isnan(logit));
  }
}

/// Pages in any order, which hold NaN, give the bits of pages in order; so do pages that sequences
/// share and that hold others' keys. `want`: of the model in order.
inline void expect_any_pages(op::Executor& executor, const BySequence& want) {
  for (float logit : want[0]) ASSERT_TRUE(std::isfinite(logit));
  uint32_t seed = 1;
  for (const Cuts& cuts : all_cuts()) {
    const auto pages = shuffled_pages(seed++);
    fill_with_nan(executor, pages);
    const BySequence got = run_paged(executor, cuts, pages);
    for (size_t s = 0; s < 3; ++s)
      ASSERT_EQ(difference(got[s], want[s]), "")
          << "sequence " << s << ", cut " << &cuts - &all_cuts()[0];
  }
  // Sequence 0 makes the page that begins all of them.
  auto pages = shuffled_pages(seed);
  pages[3] = pages[6] = pages[0];
  const BySequence first = run_paged(executor, {{64, 0, 0}}, pages);
  const BySequence rest = run_paged(executor, {{86, 6, 1}, {0, 0, 66}}, pages, {64, 64, 64});
  EXPECT_EQ(difference(first[0], std::span(want[0]).first(64 * vocabulary)), "");
  for (size_t s = 0; s < 3; ++s)
    EXPECT_EQ(difference(rest[s], std::span(want[s]).subspan(64 * vocabulary)), "")
        << "sequence " << s << " on a shared page";
}

}  // namespace assay::tests
