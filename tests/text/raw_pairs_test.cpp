// Byte pairs whose vocabulary is spelled in text itself, as gemma 4's: spaces are U+2581, characters
// without a token become the tokens <0x00> … <0xFF> of their bytes.
#include <gtest/gtest.h>

#include "support.h"
#include "text/spelling.h"

namespace assay::text {
namespace {

using Tokens = std::vector<Token>;

/// 0 to 255 are <0x00> to <0xFF>; 256 a, 257 b, 258 ▁, 259 é, 260 ab, 261 ▁ab, 262 ▁▁, 263 \n,
/// 264 \n\n, 265 \n\n\n\n, 266 <bos>, 267 <turn|>.
struct Raw : HandMade {
  std::string model = "gemma4";

  Raw() {
    tokens.clear();
    types.clear();
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte)
      add(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 6);
    for (const char* spelling : {"a", "b", "\u2581", "\u00e9"}) add(spelling);
    merge("a", "b");
    merge("\u2581", "ab");
    merge("\u2581", "\u2581");
    add("\n");
    merge("\n", "\n");
    add("\n\n\n\n");
    add("<bos>", 3);
    add("<turn|>", 3);
    ids = {{"bos_token_id", 266}, {"eos_token_id", 267}};
  }
  gguf::Writer writer() const {
    gguf::Writer writer;
    writer.add_string("tokenizer.ggml.model", model);
    writer.add_string("tokenizer.ggml.pre", pre);
    writer.add_string_array("tokenizer.ggml.tokens", tokens);
    writer.add_i32_array("tokenizer.ggml.token_type", types);
    writer.add_string_array("tokenizer.ggml.merges", merges);
    for (const auto& [key, id] : ids) writer.add_u32("tokenizer.ggml." + key, id);
    for (const auto& [key, flag] : flags) writer.add_bool("tokenizer.ggml." + key, flag);
    return writer;
  }
};

TEST(RawPairs, SpacesAreU2581AndMergesGoOverThem) {
  const Tokenizer tokenizer = open(Raw());
  EXPECT_EQ(tokenizer.encode("ab ab", plain), (Tokens{260, 261}));
  EXPECT_EQ(tokenizer.encode("a  ab", plain), (Tokens{256, 258, 261}));  // ▁ ab has rank 1, ▁ ▁ 2
  EXPECT_EQ(tokenizer.encode("   a", plain), (Tokens{262, 258, 256}));
  EXPECT_EQ(tokenizer.decode(Tokens{261, 256}), " aba");
}

TEST(RawPairs, CharactersWithoutATokenAreBytes) {
  const Tokenizer tokenizer = open(Raw());
  EXPECT_EQ(tokenizer.encode("\u00e9\u20ac", plain), (Tokens{259, 0xE2, 0x82, 0xAC}));
  EXPECT_EQ(tokenizer.encode("<0x41>", plain), (Tokens{'<', '0', 'x', '4', '1', '>'}));
  EXPECT_EQ(tokenizer.piece(0xE2), "\xE2");
  EXPECT_EQ(tokenizer.encode("a\xFF\xE2\x82z", plain), (Tokens{256, 0xFF, 0xE2, 0x82, 'z'}));
}

TEST(RawPairs, ARunOfLineEndsIsOneTokenWhereThereIsOne) {
  Raw vocabulary;
  EXPECT_EQ(open(vocabulary).encode("\n\n\n\na\n\n\n", plain), (Tokens{265, 256, 264, 263}));
  vocabulary.model = "gpt2";
  vocabulary.pre = "sarvam-moe";  // by merges only
  EXPECT_EQ(open(vocabulary).encode("\n\n\n\na\n\n\n", plain), (Tokens{264, 264, 256, 264, 263}));
}

TEST(RawPairs, BosComesFirstWhateverTheFileSays) {
  Raw vocabulary;
  vocabulary.flags = {{"add_bos_token", false}};
  EXPECT_EQ(open(vocabulary).encode("a"), (Tokens{266, 256}));
  EXPECT_EQ(open(vocabulary).encode("a", {.add_bos = false}), (Tokens{256}));
  vocabulary.model = "gpt2";
  vocabulary.pre = "sarvam-moe";
  EXPECT_EQ(open(vocabulary).encode("a"), (Tokens{256}));
}

TEST(RawPairs, ByteTokensAreKnownByTheirSpelling) {
  Raw vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary.types[byte] = 1;
  const Tokenizer tokenizer = open(vocabulary);
  EXPECT_EQ(tokenizer.encode("\u20ac", plain), (Tokens{0xE2, 0x82, 0xAC}));
  EXPECT_EQ(tokenizer.piece(0xE2), "\xE2");
}

TEST(RawPairs, AByteWithoutATokenIsLeftOutAndCounted) {
  Raw vocabulary;
  vocabulary.tokens['z'] = "other";
  vocabulary.types['z'] = 1;
  const Encoded encoded = open(vocabulary).encode_counting("azb", plain);
  EXPECT_EQ(encoded.tokens, (Tokens{256, 257}));
  EXPECT_EQ(encoded.lost['z'], 1u);
}

TEST(RawPairs, TwoTokensOfAByteAreRefused) {
  Raw vocabulary;
  vocabulary.tokens['z'] = "<0x79>";
  const auto tokenizer = open_bytes(vocabulary.writer());
  ASSERT_FALSE(tokenizer);
  EXPECT_NE(tokenizer.error().message.find("are both the byte <0x79>"), std::string::npos)
      << tokenizer.error().message;
}

TEST(RawPairs, EveryCodePointComesBack) {
  const Tokenizer tokenizer = open(Raw());
  std::string text = all_of_unicode();
  text.erase(text.find(space_letter), space_letter.size());  // spells a space
  EXPECT_EQ(joined(tokenizer, tokenizer.encode(text, plain)) == text, true);
}

}  // namespace
}  // namespace assay::text
