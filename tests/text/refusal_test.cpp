// What Tokenizer::open refuses, each with a sentence that names the cause.
#include <gtest/gtest.h>

#include <limits>

#include "support.h"

namespace assay::text {
namespace {

std::string refusal(const gguf::Writer& writer) {
  const auto tokenizer = open_bytes(writer);
  return tokenizer ? "accepted" : tokenizer.error().message;
}

void expect_in(const std::string& message, std::initializer_list<std::string_view> parts) {
  for (const auto part : parts) EXPECT_NE(message.find(part), std::string::npos) << message;
}

gguf::Writer named(std::string_view model, std::string_view pre) {
  gguf::Writer writer;
  writer.add_string("tokenizer.ggml.model", model);
  if (!pre.empty()) writer.add_string("tokenizer.ggml.pre", pre);
  return writer;
}

TEST(TokenizerRefusals, NoTokenizer) {
  gguf::Writer writer;
  writer.add_string("general.architecture", "llama");
  expect_in(refusal(writer), {"hand-made.gguf", "no tokenizer"});
  expect_in(refusal(named("none", "")), {"no tokenizer"});
}

TEST(TokenizerRefusals, UnknownModelByNameWithTheSupportedOnes) {
  for (const char* model : {"bert", "t5", "rwkv", "plamo", "gemma", "GPT2", ""}) {
    expect_in(refusal(named(model, "default")), {std::string("'").append(model).append("'"),
                                                 "supported: gemma4, gpt2, llama, plamo2"});
  }
}

TEST(TokenizerRefusals, UnknownPreTokenizerByNameWithTheSupportedOnes) {
  for (const char* name : {"gpt-5", "whitespace", "Default"}) {
    expect_in(refusal(named("gpt2", name)), {std::string("'").append(name).append("'"), "smollm",
                                             "gpt-2", "llama-bpe", "qwen2", "default"});
  }
}

TEST(TokenizerRefusals, MissingTokensOrMerges) {
  gguf::Writer writer = named("gpt2", "gpt-2");
  expect_in(refusal(writer), {"tokenizer.ggml.tokens"});
  const std::vector<std::string> tokens = {"a"};
  writer.add_string_array("tokenizer.ggml.tokens", tokens);
  expect_in(refusal(writer), {"tokenizer.ggml.merges"});
}

TEST(TokenizerRefusals, ArraysOfUnequalLength) {
  HandMade vocabulary;
  vocabulary.types.pop_back();
  expect_in(refusal(vocabulary.writer()), {"token_type", "255", "256"});
}

TEST(TokenizerRefusals, ArraysOfAnotherType) {
  gguf::Writer writer = named("gpt2", "gpt-2");
  const std::vector<std::string> tokens = {"a"};
  writer.add_string_array("tokenizer.ggml.tokens", tokens);
  const std::vector<int32_t> merges = {1};
  writer.add_i32_array("tokenizer.ggml.merges", merges);
  expect_in(refusal(writer), {"merges", "strings"});
  gguf::Writer scalar = named("gpt2", "gpt-2");
  scalar.add_string_array("tokenizer.ggml.tokens", tokens);
  scalar.add_u32("tokenizer.ggml.merges", 1);
  expect_in(refusal(scalar), {"merges", "array"});
}

TEST(TokenizerRefusals, MergesWithoutExactlyOneInnerSpace) {
  for (const char* merge : {"ab", "", " ", "a ", " b", "a  b", "a b c", "a b "}) {
    HandMade vocabulary;
    vocabulary.merges = {"a b", merge};
    vocabulary.add("ab");
    expect_in(refusal(vocabulary.writer()),
              {"merge 1", std::string("'").append(merge).append("'")});
  }
}

// Files have 4294967295 for "none"; so it is said, and no refusal.
TEST(TokenizerRefusals, IdsBeyondTheVocabularyAreNotedAndCountAsAbsent) {
  for (const char* key :
       {"bos_token_id", "eos_token_id", "eot_token_id", "eom_token_id", "unknown_token_id"}) {
    HandMade vocabulary;
    vocabulary.ids = {{key, 256}};
    const auto outside = open_bytes(vocabulary.writer());
    ASSERT_TRUE(outside) << outside.error().message;
    expect_in(outside->ids_outside(), {key, "256", "as if it were absent"});
    EXPECT_EQ(outside->bos(), -1);
    EXPECT_EQ(outside->eos(), -1);
    vocabulary.ids = {{key, 255}};
    EXPECT_EQ(open_bytes(vocabulary.writer())->ids_outside(), "");
  }
}

TEST(TokenizerRefusals, TwoTokensOfOneSpelling) {
  HandMade vocabulary;
  vocabulary.add("a");
  expect_in(refusal(vocabulary.writer()), {"97", "256", "same spelling"});
}

TEST(TokenizerRefusals, TwoSpecialTokensOfOneSpelling) {
  HandMade vocabulary;
  vocabulary.add("<x>", 3);
  vocabulary.add("<x>", 4);
  expect_in(refusal(vocabulary.writer()), {"256", "257", "same spelling", "<x>"});
}

TEST(TokenizerRefusals, EosDemandedButNotNamed) {
  HandMade vocabulary;
  vocabulary.flags = {{"add_eos_token", true}};
  expect_in(refusal(vocabulary.writer()), {"add_eos_token", "eos_token_id"});
}

TEST(SentencePieceRefusals, ScoresAndTypesAreNeeded) {
  for (const bool scores : {false, true}) {
    gguf::Writer writer = named("llama", "");
    const std::vector<std::string> tokens = {"a"};
    const std::vector<float> one_score = {0};
    writer.add_string_array("tokenizer.ggml.tokens", tokens);
    if (scores) writer.add_f32_array("tokenizer.ggml.scores", one_score);
    expect_in(refusal(writer), {scores ? "tokenizer.ggml.token_type" : "tokenizer.ggml.scores"});
  }
}

TEST(SentencePieceRefusals, AScoreThatIsNotANumber) {
  HandMadePieces vocabulary;
  vocabulary.add("a", std::numeric_limits<float>::quiet_NaN());
  expect_in(refusal(vocabulary.writer()), {"score", "259", "'a'", "not a number"});
  vocabulary.scores.back() =
      std::numeric_limits<float>::infinity();  // it has its place in an order
  EXPECT_EQ(refusal(vocabulary.writer()), "accepted");
}

TEST(SentencePieceRefusals, ByteTokensThatSpellNoByte) {
  for (const char* spelling : {"<0x-1>", "<0x123>", "<0x0a>", "<0xG0>", "<0x1>", "<0X0A>", "0x0A",
                               "<0x0A", "<0x0A> ", "a", ""}) {
    HandMadePieces vocabulary;
    vocabulary.tokens[13] = spelling;
    expect_in(refusal(vocabulary.writer()),
              {"token 13", std::string("'").append(spelling).append("'"), "<0xFF>"});
  }
}

TEST(SentencePieceRefusals, TwoTokensForAByte) {
  HandMadePieces vocabulary;
  vocabulary.add("<0x0A>", 0, 6);
  expect_in(refusal(vocabulary.writer()), {"13", "259", "<0x0A>"});
}

TEST(SentencePieceRefusals, AByteWithoutATokenWhereThereIsNoUnknownTokenEither) {
  HandMadePieces vocabulary;
  vocabulary.tokens[13] = "ordinary";
  vocabulary.types[13] = 1;
  EXPECT_EQ(refusal(vocabulary.writer()), "accepted");
  // Ids 0, 1 and 2 are unknown, BOS and EOS by default, but only where the file types 0 so.
  vocabulary.types[0] = 1;
  expect_in(refusal(vocabulary.writer()), {"<0x0A>", "unknown"});
}

TEST(SentencePieceRefusals, TwoTokensOfOneSpelling) {
  HandMadePieces vocabulary;
  vocabulary.add("a", 1);
  vocabulary.add("a", 2);
  expect_in(refusal(vocabulary.writer()), {"259", "260", "same spelling"});
}

TEST(TokenizerRefusals, BosDemandedButNotNamed) {
  HandMade vocabulary;
  vocabulary.flags = {{"add_bos_token", true}};
  expect_in(refusal(vocabulary.writer()), {"add_bos_token", "bos_token_id"});
}

}  // namespace
}  // namespace assay::text
