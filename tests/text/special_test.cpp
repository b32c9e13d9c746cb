#include "text/special.h"

#include <gtest/gtest.h>

#include "support.h"

namespace assay::text {
namespace {

using Pieces = std::vector<std::pair<std::string, int32_t>>;

Pieces split(const SpecialTokens& specials, std::string_view text, bool parse_special) {
  Pieces pieces;
  for (const Fragment& fragment : specials.split(text, parse_special)) {
    pieces.emplace_back(fragment.text, fragment.token);
  }
  return pieces;
}

SpecialTokens some() {
  SpecialTokens specials;
  specials.add("<a>", 1, false);
  specials.add("<a><b>", 2, false);
  specials.add("<tool>", 3, true);
  specials.add("<", 4, true);
  return specials;
}

TEST(SpecialTokens, TheLongestOfThoseThatBeginAtAByteIsTaken) {
  EXPECT_EQ(split(some(), "x<a><b>y", true), (Pieces{{"x", -1}, {"<a><b>", 2}, {"y", -1}}));
  EXPECT_EQ(split(some(), "<a><c", true), (Pieces{{"<a>", 1}, {"<", 4}, {"c", -1}}));
}

TEST(SpecialTokens, WithoutParsingOnlyTheAlwaysFoundOnesCut) {
  EXPECT_EQ(split(some(), "<a><tool>", false), (Pieces{{"<", 4}, {"a>", -1}, {"<tool>", 3}}));
}

TEST(SpecialTokens, TextWithoutThemIsOneFragmentAndNoTextIsNone) {
  EXPECT_EQ(split(some(), "plain > text", true), (Pieces{{"plain > text", -1}}));
  EXPECT_EQ(split(some(), "", true), Pieces{});
}

TEST(SpecialTokens, AThousandSpellingsCostNoMoreThanOne) {
  // Naively 1000 spellings × 1 MB are 10^9 comparisons a byte deep 9: far beyond the limit.
  SpecialTokens specials;
  for (int i = 0; i < 1000; ++i) specials.add("[[[[[[[[" + std::to_string(i), i, true);
  const std::string text = repeated("[", 1'000'000);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(specials.split(text, true).size(), 1u);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

}  // namespace
}  // namespace assay::text
