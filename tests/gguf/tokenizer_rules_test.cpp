// Rules on the tokenizer's metadata that hold for every tokenizer.
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

TEST(GgufTokenizerRules, ArraysOfEqualLengthAreAccepted) {
  EXPECT_TRUE(accepted(RawFile{.metadata = {three_tokens, scores(3), token_types(3)}}));
}

TEST(GgufTokenizerRules, ScoresOfAnotherLengthAreRefused) {
  EXPECT_TRUE(refused(RawFile{.metadata = {three_tokens, scores(2)}},
                      "tokenizer.ggml.scores has 2 elements, but there are 3 tokens"));
  EXPECT_TRUE(refused(RawFile{.metadata = {scores(2)}}, "but there are 0 tokens"));
}

TEST(GgufTokenizerRules, TokenTypesOfAnotherLengthAreRefused) {
  EXPECT_TRUE(refused(RawFile{.metadata = {three_tokens, token_types(4)}},
                      "tokenizer.ggml.token_type has 4 elements, but there are 3 tokens"));
}

TEST(GgufTokenizerRules, ElementTypesAreChecked) {
  EXPECT_TRUE(refused(RawFile{.metadata = {u32_entry("tokenizer.ggml.tokens", 3)}},
                      "must be an array of strings"));
  EXPECT_TRUE(refused(RawFile{.metadata = {array_entry("tokenizer.ggml.tokens", u32_id, 1).u32(0)}},
                      "tokenizer.ggml.tokens must be an array of strings"));
  EXPECT_TRUE(refused(
      RawFile{.metadata = {three_tokens,
                           array_entry("tokenizer.ggml.scores", u32_id, 3).u32(0).u32(0).u32(0)}},
      "tokenizer.ggml.scores must be an array of floats"));
  EXPECT_TRUE(refused(
      RawFile{.metadata = {three_tokens, strings_entry("tokenizer.ggml.token_type", {"", "", ""})}},
      "tokenizer.ggml.token_type must be an array of integers"));
}

TEST(GgufTokenizerRules, SpecialIdsMustBeInTheVocabulary) {
  const std::string key = "tokenizer.ggml.bos_token_id";
  EXPECT_TRUE(accepted(RawFile{.metadata = {three_tokens, u32_entry(key, 2)}}));
  EXPECT_TRUE(refused(RawFile{.metadata = {three_tokens, u32_entry(key, 3)}},
                      "\"tokenizer.ggml.bos_token_id\" is 3, outside the vocabulary of 3 tokens"));
  EXPECT_TRUE(refused(RawFile{.metadata = {u32_entry(key, UINT32_MAX), three_tokens}},
                      "outside the vocabulary"));
  EXPECT_TRUE(refused(RawFile{.metadata = {three_tokens, entry(key, i32_id).number<int32_t>(-1)}},
                      "not negative"));
  EXPECT_TRUE(refused(RawFile{.metadata = {three_tokens, entry(key, i32_id).number<int32_t>(3)}},
                      "outside"));
  EXPECT_TRUE(refused(RawFile{.metadata = {three_tokens, entry(key, string_id).text("a")}},
                      "not an integer"));
  EXPECT_TRUE(
      refused(RawFile{.metadata = {three_tokens, u32_entry("tokenizer.ggml.fim_pre_token_id", 9)}},
              "outside"));
}

}  // namespace
}  // namespace assay::gguf
