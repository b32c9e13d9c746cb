// Against ids that llama.cpp gave.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "support.h"
#include "text/sentence_pieces.h"

namespace assay::text {
namespace {

class LlamaCppCases : public testing::TestWithParam<const char*> {};

TEST_P(LlamaCppCases, GiveTheSameIds) {
  const auto base =
      shared_data() / "tokenizers" / ("ggml-vocab-" + std::string(GetParam()) + ".gguf");
  if (!std::filesystem::exists(base)) GTEST_SKIP() << "no " << base;
  const auto tokenizer = open_path(base);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;

  const std::string separator = "\n__ggml_vocab_test__\n";
  std::string rest = read_file(base.string() + ".inp");
  std::istringstream answers(read_file(base.string() + ".out"));
  int cases = 0;
  for (std::string line; std::getline(answers, line); ++cases) {
    const auto end = rest.find(separator);
    ASSERT_NE(end, std::string::npos);
    const std::string text = rest.substr(0, end);
    rest.erase(0, end + separator.size());
    std::istringstream ids(line);
    const std::vector<Token> expected(std::istream_iterator<Token>(ids), {});
    const auto tokens = tokenizer->encode(text, plain);
    EXPECT_EQ(tokens, expected) << text;
    EXPECT_EQ(tokenizer->decode(tokens), text);
  }
  EXPECT_EQ(cases, 46);  // lines of the .out files
}

INSTANTIATE_TEST_SUITE_P(Vocabularies, LlamaCppCases,
                         testing::Values("deepseek-llm", "gpt-2", "llama-bpe", "llama-spm", "phi-3",
                                         "qwen2"),
                         [](const auto& vocabulary) {
                           std::string name = vocabulary.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(LlamaCppVocabularies, SpecialTokensAndBos) {
  const auto folder = shared_data() / "tokenizers";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no " << folder;
  const auto llama = open_path(folder / "ggml-vocab-llama-bpe.gguf");
  const auto qwen = open_path(folder / "ggml-vocab-qwen2.gguf");
  const auto gpt2 = open_path(folder / "ggml-vocab-gpt-2.gguf");
  ASSERT_TRUE(llama && qwen && gpt2);
  // The ids stand in the files' token lists. llama-bpe's file has no add_bos_token: the family's
  // rule.
  EXPECT_EQ(llama->encode("<|eot_id|>"), (std::vector<Token>{128000, 128009}));
  EXPECT_EQ(qwen->encode("<|im_end|>"), (std::vector<Token>{151645}));
  EXPECT_EQ(qwen->encode("[PAD151646]", plain), (std::vector<Token>{151646}));  // user-defined
  EXPECT_FALSE(gpt2->adds_bos());
  for (const Token token : {128001, 128009}) EXPECT_TRUE(llama->ends_generation(token));
  EXPECT_FALSE(llama->ends_generation(128000));
  for (const Token token : {151643, 151645}) EXPECT_TRUE(qwen->ends_generation(token));
  EXPECT_FALSE(qwen->ends_generation(128247));  // its ordinary "</s>"
}

TEST(LlamaCppVocabularies, EveryCodePointRoundTripsThroughGpt2) {
  const auto path = shared_data() / "tokenizers" / "ggml-vocab-gpt-2.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto tokenizer = open_path(path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const std::string text = all_of_unicode();
  EXPECT_EQ(joined(*tokenizer, tokenizer->encode(text, plain)) == text, true);
}

TEST(LlamaCppVocabularies, EveryCodePointRoundTripsThroughSentencePieces) {
  for (const auto* name : {"ggml-vocab-llama-spm.gguf", "ggml-vocab-phi-3.gguf"}) {
    const auto path = shared_data() / "tokenizers" / name;
    if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
    const auto tokenizer = open_path(path);
    ASSERT_TRUE(tokenizer) << tokenizer.error().message;
    std::string text = all_of_unicode();
    text.erase(text.find(space_letter), space_letter.size());  // spells a space
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, plain)) == text, true) << name;
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)) == text, true) << name;  // BOS goes
  }
}

TEST(LlamaCppVocabularies, Phi3sSpecialTokensTakeTheWhiteSpaceAfterThem) {
  const auto path = shared_data() / "tokenizers" / "ggml-vocab-phi-3.gguf";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no " << path;
  const auto tokenizer = open_path(path);
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  // Ids from llama.cpp: <s> <|user|> ▁Hi <|end|> <|assistant|>, then <s> ▁▁ a (<s> takes none).
  EXPECT_EQ(tokenizer->encode("<|user|>\n Hi<|end|> \n<|assistant|>"),
            (std::vector<Token>{1, 32010, 6324, 32007, 32001}));
  EXPECT_EQ(tokenizer->encode("<s> a", {.add_bos = false}), (std::vector<Token>{1, 29871, 263}));
  EXPECT_TRUE(tokenizer->ends_generation(32007));  // <|end|>
  EXPECT_EQ(tokenizer->model(), "llama");
}

TEST(DefaultModel, GivesLlamaCppsIdsForTheEightPrompts) {
  const auto answers = shared_data() / "llama_cpp_smollm2.json";
  if (!std::filesystem::exists(answers)) GTEST_SKIP() << "no " << answers;
  if (!std::filesystem::exists(default_model())) GTEST_SKIP() << "no " << default_model();
  const auto tokenizer = open_path(default_model());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  const auto cases = nlohmann::json::parse(read_file(answers))["cases"];
  ASSERT_EQ(cases.size(), 8u);
  for (const auto& one : cases) {
    const auto prompt = one["prompt"].get<std::string>();
    EXPECT_EQ(tokenizer->encode(prompt), one["tokens"].get<std::vector<Token>>()) << prompt;
  }
}

TEST(DefaultModel, LosesOnlyTheBytesThatItsVocabularyLacks) {
  if (!std::filesystem::exists(default_model())) GTEST_SKIP() << "no " << default_model();
  const auto tokenizer = open_path(default_model());
  ASSERT_TRUE(tokenizer) << tokenizer.error().message;
  // Counted in the file's token list: six ASCII controls, two lead bytes of unused planes, 13 bytes
  // that UTF-8 never has.
  const std::string lacking(
      "\x04\x06\x13\x14\x16\x1d\xc0\xc1\xf1\xf2\xf5\xf6\xf7\xf8\xf9\xfa\xfb\xfc\xfd\xfe\xff");
  std::string text = all_of_unicode();
  const auto tokens = tokenizer->encode(text, plain);
  std::erase_if(text, [&](char byte) { return lacking.find(byte) != std::string::npos; });
  EXPECT_EQ(joined(*tokenizer, tokens) == text, true);
  EXPECT_TRUE(tokenizer->ends_generation(0) && tokenizer->ends_generation(2));
  EXPECT_FALSE(tokenizer->ends_generation(1));
}

}  // namespace
}  // namespace assay::text
