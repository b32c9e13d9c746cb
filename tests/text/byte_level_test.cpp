#include "text/byte_level.h"

#include <gtest/gtest.h>

#include <set>

#include "support.h"

namespace assay::text {
namespace {

TEST(ByteLevel, PrintableLatin1BytesAreTheirOwnLetters) {
  EXPECT_EQ(bytes_of_letters("!~¡¬®ÿ"), "!~\xA1\xAC\xAE\xFF");
}

TEST(ByteLevel, OtherBytesFollowFromU0100InOrder) {
  EXPECT_EQ(bytes_of_letters("\u0100"), std::string(1, '\0'));
  EXPECT_EQ(bytes_of_letters("\u010A"), "\n");    // 10 bytes before it, all mapped
  EXPECT_EQ(bytes_of_letters("\u0120"), " ");     // 32 before it
  EXPECT_EQ(bytes_of_letters("\u0121"), "\x7F");  // 33rd of the mapped: after 0..32
  EXPECT_EQ(bytes_of_letters("\u0142"), "\xA0");  // 33 + (160 − 127) = 66
  EXPECT_EQ(bytes_of_letters("\u0143"), "\xAD");  // the last, the 68th
}

TEST(ByteLevel, EveryByteHasALetterOfItsOwn) {
  std::set<std::string> letters;
  for (int byte = 0; byte < 256; ++byte) {
    const std::string bytes(1, static_cast<char>(byte));
    letters.insert(letters_of_bytes(bytes));
    EXPECT_EQ(bytes_of_letters(letters_of_bytes(bytes)), bytes);
  }
  EXPECT_EQ(letters.size(), 256u);
}

TEST(ByteLevel, WhatIsNotALetterHasNoBytes) {
  EXPECT_FALSE(bytes_of_letters("a b"));           // the space is spelled U+0120
  EXPECT_FALSE(bytes_of_letters("\xC2\xAD"));      // U+00AD is spelled U+0143
  EXPECT_FALSE(bytes_of_letters("\xC5\x84"));      // U+0144: one beyond the last
  EXPECT_FALSE(bytes_of_letters("\xE2\x96\x81"));  // U+2581
  EXPECT_FALSE(bytes_of_letters("\xC4"));          // cut
  EXPECT_FALSE(
      bytes_of_letters("\xC4"
                       "a"));  // not UTF-8
  EXPECT_EQ(bytes_of_letters("\xC5\x83"), "\xAD");
}

}  // namespace
}  // namespace assay::text
