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
  specials.add("<a>", {1, false});
  specials.add("<a><b>", {2, false});
  specials.add("<tool>", {3, true});
  specials.add("<", {4, true});
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

TEST(SpecialTokens, ASpellingIsAddedOnceAndAnEmptyOneNever) {
  SpecialTokens specials = some();
  EXPECT_EQ(specials.add("<tool>", {7}), 3);
  EXPECT_EQ(specials.add("<new>", {8}), -1);
  EXPECT_EQ(specials.add("", {9}), -1);
  EXPECT_EQ(split(specials, "<tool><new>", true), (Pieces{{"<tool>", 3}, {"<new>", 8}}));
}

TEST(SpecialTokens, AsciiWhiteSpaceBesideThemGoesOnTheSideThatStrips) {
  SpecialTokens specials;
  specials.add("<l>", {1, true, true, false});
  specials.add("<r>", {2, true, false, true});
  EXPECT_EQ(split(specials, "a \t<l> b", true), (Pieces{{"a", -1}, {"<l>", 1}, {" b", -1}}));
  EXPECT_EQ(split(specials, "a <r>\r\n\v\f b", true), (Pieces{{"a ", -1}, {"<r>", 2}, {"b", -1}}));
  EXPECT_EQ(split(specials, " <l><r> ", true), (Pieces{{"<l>", 1}, {"<r>", 2}}));
  EXPECT_EQ(split(specials, "<r> <l>", true), (Pieces{{"<r>", 2}, {"<l>", 1}}));
  EXPECT_EQ(split(specials, "<r>\u00a0", true), (Pieces{{"<r>", 2}, {"\u00a0", -1}}));
}

TEST(SpecialTokens, StartsAreWhereParsedOnesBeginEvenInsideOthers) {
  SpecialTokens specials = some();
  specials.add("b>", {5, false});
  //  0123456789
  const std::string text = "<a><b><tool>";
  EXPECT_EQ(specials.starts(text),
            (std::vector<uint64_t>{0, 4}));  // <a> or <a><b>; b> in the latter
  EXPECT_EQ(specials.starts("<tool><"), std::vector<uint64_t>{});
}

TEST(SpecialTokens, WhereTextIsPlainOnlyTheAlwaysFoundOnesCut) {
  const SpecialTokens specials = some();
  const std::vector<uint64_t> plain_at = {1, 9};
  Pieces pieces;
  // Offsets: x 0, <a> 1, <a> 4, y 7, z 8, <tool> 9.
  for (const Fragment& fragment : specials.split("x<a><a>yz<tool>", true, plain_at)) {
    pieces.emplace_back(fragment.text, fragment.token);
  }
  EXPECT_EQ(pieces,
            (Pieces{{"x", -1}, {"<", 4}, {"a>", -1}, {"<a>", 1}, {"yz", -1}, {"<tool>", 3}}));
}

TEST(SpecialTokens, AThousandSpellingsCostNoMoreThanOne) {
  // Naively 1000 spellings × 1 MB are 10^9 comparisons a byte deep 9: far beyond the limit.
  SpecialTokens specials;
  for (int i = 0; i < 1000; ++i) specials.add("[[[[[[[[" + std::to_string(i), {i, true});
  const std::string text = repeated("[", 1'000'000);
  const double start = seconds();
  EXPECT_EQ(specials.split(text, true).size(), 1u);
  EXPECT_LT(seconds() - start, 20);
}

}  // namespace
}  // namespace assay::text
