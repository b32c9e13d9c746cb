#include "text/byte_level.h"

#include <gtest/gtest.h>

#include <set>

namespace assay::text {
namespace {

TEST(ByteLevel, PrintableLatin1BytesAreTheirOwnLetters) {
  for (const int byte : {33, 126, 161, 172, 174, 255}) {
    EXPECT_EQ(letter_of_byte(static_cast<uint8_t>(byte)), static_cast<uint32_t>(byte));
  }
}

TEST(ByteLevel, OtherBytesFollowFromU0100InOrder) {
  EXPECT_EQ(letter_of_byte(0), 0x100u);
  EXPECT_EQ(letter_of_byte('\n'), 0x10Au);  // 10 bytes before it, all mapped
  EXPECT_EQ(letter_of_byte(' '), 0x120u);   // 32 before it
  EXPECT_EQ(letter_of_byte(127), 0x121u);   // 33rd of the mapped: after 0..32
  EXPECT_EQ(letter_of_byte(160), 0x142u);   // 33 + (160 − 127) = 66
  EXPECT_EQ(letter_of_byte(173), 0x143u);   // the last, the 68th
}

TEST(ByteLevel, LettersAreDistinctAndLeadBackToTheirBytes) {
  std::set<uint32_t> letters;
  for (int byte = 0; byte < 256; ++byte) {
    letters.insert(letter_of_byte(static_cast<uint8_t>(byte)));
    const std::string bytes(1, static_cast<char>(byte));
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
