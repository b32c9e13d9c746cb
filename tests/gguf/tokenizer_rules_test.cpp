// Rules on the tokenizer's metadata that hold for every tokenizer. The file itself is accepted
// whatever its tokenizer is.
#include "gguf/tokenizer_rules.h"

#include <gtest/gtest.h>

#include "gguf/raw.h"

namespace assay::gguf {
namespace {

const Bytes three_tokens = strings_entry("tokenizer.ggml.tokens", {"a", "b", "c"});

Bytes scores(uint64_t count) {
  Bytes bytes = array_entry("tokenizer.ggml.scores", f32_id, count);
  for (uint64_t i = 0; i < count; ++i) bytes.number(0.0f);
  return bytes;
}

Bytes token_types(uint64_t count) {
  Bytes bytes = array_entry("tokenizer.ggml.token_type", i32_id, count);
  for (uint64_t i = 0; i < count; ++i) bytes.number<int32_t>(1);
  return bytes;
}

/// Of check_tokenizer; "" where it accepts.
std::string refusal(const RawFile& raw) {
  const auto bytes = raw.bytes();
  const auto file = File::parse(bytes, "x.gguf");
  EXPECT_TRUE(file) << file.error().message;
  const Status checked = check_tokenizer(*file);
  return checked ? "" : checked.error().message;
}

testing::AssertionResult rejects(const RawFile& raw, const std::string& part) {
  const std::string message = refusal(raw);
  if (message.starts_with("x.gguf: ") && message.find(part) != message.npos)
    return testing::AssertionSuccess();
  return testing::AssertionFailure() << "'" << message << "'";
}

TEST(GgufTokenizerRules, ArraysOfEqualLengthAreAccepted) {
  EXPECT_EQ(refusal(RawFile{.metadata = {three_tokens, scores(3), token_types(3)}}), "");
}

TEST(GgufTokenizerRules, ScoresOfAnotherLengthAreRefused) {
  EXPECT_TRUE(rejects(RawFile{.metadata = {three_tokens, scores(2)}},
                      "tokenizer.ggml.scores has 2 elements, but there are 3 tokens"));
  EXPECT_TRUE(rejects(RawFile{.metadata = {scores(2)}}, "but there are 0 tokens"));
}

TEST(GgufTokenizerRules, TokenTypesOfAnotherLengthAreRefused) {
  EXPECT_TRUE(rejects(RawFile{.metadata = {three_tokens, token_types(4)}},
                      "tokenizer.ggml.token_type has 4 elements, but there are 3 tokens"));
}

TEST(GgufTokenizerRules, ElementTypesAreChecked) {
  EXPECT_TRUE(rejects(RawFile{.metadata = {u32_entry("tokenizer.ggml.tokens", 3)}},
                      "must be an array of strings"));
  EXPECT_TRUE(rejects(RawFile{.metadata = {array_entry("tokenizer.ggml.tokens", u32_id, 1).u32(0)}},
                      "tokenizer.ggml.tokens must be an array of strings"));
  EXPECT_TRUE(rejects(
      RawFile{.metadata = {three_tokens,
                           array_entry("tokenizer.ggml.scores", u32_id, 3).u32(0).u32(0).u32(0)}},
      "tokenizer.ggml.scores must be an array of floats"));
  EXPECT_TRUE(rejects(
      RawFile{.metadata = {three_tokens, strings_entry("tokenizer.ggml.token_type", {"", "", ""})}},
      "tokenizer.ggml.token_type must be an array of integers"));
}

// 4294967295 and -1 are "none" in many files, and so is any id that names no token.
TEST(GgufTokenizerRules, ASpecialIdOutsideTheVocabularyIsAsIfAbsent) {
  const std::string key = "tokenizer.ggml.bos_token_id";
  const auto parsed = [](const RawFile& raw, const auto& see) {
    const auto bytes = raw.bytes();
    const auto file = File::parse(bytes, "x.gguf");
    ASSERT_TRUE(file) << file.error().message;
    EXPECT_EQ(refusal(raw), "");
    see(*file);
  };
  parsed(RawFile{.metadata = {three_tokens, u32_entry(key, 2)}}, [](const File& file) {
    EXPECT_EQ(*special_id(file, "bos_token_id"), 2u);
    EXPECT_FALSE(*special_id(file, "eos_token_id"));
    EXPECT_EQ(ids_outside(file), "");
  });
  const std::pair<Bytes, const char*> outside[] = {
      {u32_entry(key, 3), "3"},
      {u32_entry(key, UINT32_MAX), "4294967295"},
      {entry(key, i32_id).number<int32_t>(-1), "-1"},
      {entry(key, u64_id).number<uint64_t>(UINT64_MAX), "18446744073709551615"}};
  for (const auto& [bytes, shown] : outside)
    parsed(RawFile{.metadata = {three_tokens, bytes}}, [&](const File& file) {
      EXPECT_FALSE(*special_id(file, "bos_token_id")) << shown;
      EXPECT_EQ(ids_outside(file), std::string("\"tokenizer.ggml.bos_token_id\" is ") + shown +
                                       ", outside the vocabulary of 3 tokens: taken as if it were "
                                       "absent");
    });
  parsed(RawFile{.metadata = {three_tokens, u32_entry(key, 9),
                              u32_entry("tokenizer.ggml.padding_token_id", 9),
                              u32_entry("tokenizer.ggml.seperator_token_id", 9)}},
         [](const File& file) {
           EXPECT_NE(ids_outside(file).find("(and 2 more such ids)"), std::string::npos);
         });
  // What nobody asks for may be anything; what is asked for must be an integer.
  parsed(RawFile{.metadata = {three_tokens, entry(key, string_id).text("a")}},
         [](const File& file) {
           EXPECT_EQ(ids_outside(file), "");
           const auto id = special_id(file, "bos_token_id");
           ASSERT_FALSE(id);
           EXPECT_NE(id.error().message.find("not an integer"), std::string::npos);
         });
}

}  // namespace
}  // namespace assay::gguf
