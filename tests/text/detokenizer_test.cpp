#include <gtest/gtest.h>

#include "support.h"

namespace assay::text {
namespace {

// One, two, three and four bytes; the last code points of each length, and both ends around the
// surrogates.
const std::string mixed = "a\u00e9\u07ff\u20ac\uffff\xED\x9F\xBF\xEE\x80\x80\U0001f999\U0010ffff!";

bool whole_utf8(std::string_view text) {
  // Text that is not UTF-8 would come out of a detokenizer changed.
  Detokenizer detokenizer;
  return detokenizer.add(text) == text && detokenizer.finish().empty();
}

TEST(Detokenizer, EverySplitInThreeGivesWholeCharactersAndTheSameText) {
  for (uint64_t first = 0; first <= mixed.size(); ++first) {
    for (uint64_t second = first; second <= mixed.size(); ++second) {
      Detokenizer detokenizer;
      std::string joined;
      for (const auto& part :
           {mixed.substr(0, first), mixed.substr(first, second - first), mixed.substr(second)}) {
        const std::string certain = detokenizer.add(part);
        ASSERT_TRUE(whole_utf8(certain)) << first << ' ' << second;
        joined += certain;
      }
      ASSERT_EQ(joined, mixed) << first << ' ' << second;
      ASSERT_EQ(detokenizer.finish(), "");
    }
  }
}

TEST(Detokenizer, ACharacterComesWithItsLastByteAndNotLater) {
  Detokenizer detokenizer;
  EXPECT_EQ(detokenizer.add("x\xF0\x9F"), "x");
  EXPECT_EQ(detokenizer.add("\xA6"), "");
  EXPECT_EQ(detokenizer.add("\x99"), "\U0001f999");
}

TEST(Detokenizer, BrokenBytesBecomeReplacementCharacters) {
  const auto whole = [](std::string_view bytes) {
    Detokenizer detokenizer;
    const std::string certain = detokenizer.add(bytes);
    return certain + detokenizer.finish();
  };
  EXPECT_EQ(whole("a\xFFz"), "a\ufffdz");
  EXPECT_EQ(whole("\x80"), "\ufffd");
  EXPECT_EQ(whole("\xC0\xAF"), "\ufffd\ufffd");  // overlong: neither byte is part of a character
  EXPECT_EQ(whole("\xE0\x9F\xBF"), "\ufffd\ufffd\ufffd");            // overlong in three bytes
  EXPECT_EQ(whole("\xED\xA0\x80"), "\ufffd\ufffd\ufffd");            // a surrogate
  EXPECT_EQ(whole("\xF4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");  // U+110000
  EXPECT_EQ(whole("\xF0\x9F\xA6z"), "\ufffdz");  // one for the longest beginning (Unicode, 3.9)
  EXPECT_EQ(whole("\xE2\x82"), "\ufffd");        // cut at the end
}

TEST(Detokenizer, FinishEmptiesIt) {
  Detokenizer detokenizer;
  EXPECT_EQ(detokenizer.add("\xE2"), "");
  EXPECT_EQ(detokenizer.finish(), "\ufffd");
  EXPECT_EQ(detokenizer.add("\x82"), "\ufffd");
  EXPECT_EQ(detokenizer.finish(), "");
}

}  // namespace
}  // namespace assay::text
