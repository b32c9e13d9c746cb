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

TEST(SpecialTokens, WhereTextIsPlainOnlyTheAlwaysFoundOnesCut) {
  const SpecialTokens specials = some();
  // Offsets: x 0, <a> 1, <a> 4, y 7, z 8, <tool> 9. One byte that is plain is enough.
  for (const std::vector<Span>& plain :
       {std::vector<Span>{{1, 4}, {9, 15}}, std::vector<Span>{{0, 2}, {8, 10}},
        std::vector<Span>{{3, 4}, {14, 15}}}) {
    Pieces pieces;
    for (const Fragment& fragment : specials.split("x<a><a>yz<tool>", true, plain)) {
      pieces.emplace_back(fragment.text, fragment.token);
    }
    EXPECT_EQ(pieces,
              (Pieces{{"x", -1}, {"<", 4}, {"a>", -1}, {"<a>", 1}, {"yz", -1}, {"<tool>", 3}}));
  }
}

TEST(SpecialTokens, AShorterSpellingStandsWhereALongerOneReachesIntoPlainText) {
  const SpecialTokens specials = some();
  const std::vector<Span> plain = {{5, 6}};
  Pieces pieces;
  for (const Fragment& fragment : specials.split("<a><b>", true, plain)) {
    pieces.emplace_back(fragment.text, fragment.token);
  }
  EXPECT_EQ(pieces[0], (Pieces::value_type{"<a>", 1}));
  EXPECT_EQ(specials.split("<a><b>", true).size(), 1u);
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
