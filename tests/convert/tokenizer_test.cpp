// tokenizer.json becomes keys with which assay's tokenizer gives the same ids.
#include <gmock/gmock.h>

#include "convert/hub_folder.h"
#include "text/tokenizer.h"

namespace assay::tests {
namespace {

using nlohmann::ordered_json;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Byte level: the letters a to e and the space, two merges, three added tokens.
ordered_json byte_level() {
  return {{"model",
           {{"type", "BPE"},
            {"vocab",
             {{"a", 0}, {"b", 1}, {"c", 2}, {"d", 3}, {"e", 4}, {"Ġ", 5}, {"ab", 6}, {"abc", 7}}},
            {"merges", {"a b", {"ab", "c"}}}}},
          {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
          {"decoder", {{"type", "ByteLevel"}}},
          {"added_tokens",
           {{{"id", 8}, {"content", "<s>"}, {"special", true}},
            {{"id", 9}, {"content", "</s>"}, {"special", true}},
            {{"id", 10}, {"content", "<tool>"}, {"special", false}}}}};
}

/// Sentence pieces: bytes, the letters a to c and the space, two merges.
ordered_json pieces() {
  ordered_json vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 16; ++byte)
    vocab[std::string("<0x0") + "0123456789ABCDEF"[byte] + ">"] = 3 + byte;
  int id = 19;
  for (const char* piece : {"▁", "a", "b", "c", "▁a", "▁ab", "bc"}) vocab[piece] = id++;
  return {{"model",
           {{"type", "BPE"},
            {"byte_fallback", true},
            {"unk_token", "<unk>"},
            {"vocab", vocab},
            {"merges", {"▁ a", "▁a b", "b c"}}}},
          {"normalizer",
           {{"type", "Sequence"},
            {"normalizers",
             {{{"type", "Prepend"}, {"prepend", "▁"}},
              {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "▁"}}}}}},
          {"pre_tokenizer", nullptr},
          {"added_tokens",
           {{{"id", 0}, {"content", "<unk>"}, {"special", true}},
            {{"id", 1}, {"content", "<s>"}, {"special", true}},
            {{"id", 2}, {"content", "</s>"}, {"special", true}}}}};
}

struct Tokenized {
  std::optional<gguf::File> file;
  std::optional<text::Tokenizer> tokenizer;
  std::vector<std::string> notes;

  explicit Tokenized(const HubFolder& folder) {
    const auto made = folder.convert();
    if (!made) {
      ADD_FAILURE() << "refused: " << made.error().message;
      return;
    }
    notes = made->notes;
    auto opened = gguf::File::open(folder.output());
    file.emplace(std::move(*opened));
    auto found = text::Tokenizer::open(*file);
    if (found)
      tokenizer.emplace(std::move(*found));
    else
      ADD_FAILURE() << found.error().message;
  }
};

HubFolder& with(HubFolder& folder, const ordered_json& tokenizer,
                const ordered_json& configuration = {}) {
  folder.files["tokenizer.json"] = tokenizer.dump();
  if (!configuration.is_null()) folder.files["tokenizer_config.json"] = configuration.dump();
  folder.write();
  return folder;
}

void expect_refusal(const ordered_json& tokenizer, const std::vector<std::string>& parts) {
  HubFolder folder;
  with(folder, tokenizer);
  expect_refused(folder, parts);
}

TEST(Tokenizer, ByteLevelKeepsMergesAndIds) {
  HubFolder folder;
  const Tokenized made(
      with(folder, byte_level(), {{"bos_token", "<s>"}, {"eos_token", {{"content", "</s>"}}}}));
  ASSERT_TRUE(made.tokenizer);
  EXPECT_EQ(made.tokenizer->model(), "gpt2");
  EXPECT_EQ(made.tokenizer->pre_tokenizer(), "gpt-2");
  EXPECT_EQ(made.tokenizer->vocabulary_size(), 40u);  // as many as the embedding has rows
  EXPECT_THAT(made.tokenizer->encode("abcab a"), ElementsAre(7, 6, 5, 0));
  EXPECT_THAT(made.tokenizer->encode("<s>a<tool>b</s>"), ElementsAre(8, 0, 10, 1, 9));
  EXPECT_THAT(made.tokenizer->encode("a<tool>b", {.parse_special = false}), ElementsAre(0, 10, 1));
  EXPECT_EQ(made.tokenizer->bos(), 8);
  EXPECT_EQ(made.tokenizer->eos(), 9);
  EXPECT_FALSE(made.tokenizer->adds_bos());
  EXPECT_TRUE(made.tokenizer->is_control(8));
  EXPECT_FALSE(made.tokenizer->is_control(10));
}

TEST(Tokenizer, ByteLevelWithoutMergesIsLegalWhateverCutsIt) {
  for (const ordered_json& cuts :
       {ordered_json{{"type", "ByteLevel"}, {"add_prefix_space", false}},
        ordered_json{
            {"type", "Sequence"},
            {"pretokenizers",
             {{{"type", "Split"}, {"pattern", {{"Regex", "x+"}}}, {"behavior", "Isolated"}},
              {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}}}) {
    ordered_json json = byte_level();
    json["model"]["merges"] = ordered_json::array();
    json["pre_tokenizer"] = cuts;
    HubFolder folder;
    const Tokenized made(with(folder, json));
    ASSERT_TRUE(made.tokenizer);
    EXPECT_THAT(made.tokenizer->encode("abc"), ElementsAre(0, 1, 2));
  }
}

TEST(Tokenizer, KnownExpressionsHaveNames) {
  const auto split = [](const char* expression) {
    return ordered_json{{"type", "Sequence"},
                        {"pretokenizers",
                         {{{"type", "Split"},
                           {"pattern", {{"Regex", expression}}},
                           {"behavior", "Isolated"},
                           {"invert", false}},
                          {{"type", "ByteLevel"},
                           {"add_prefix_space", false},
                           {"trim_offsets", true},
                           {"use_regex", false}}}}};
  };
  const char* llama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const char* qwen2 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  const ordered_json smollm = {
      {"type", "Sequence"},
      {"pretokenizers",
       {{{"type", "Digits"}, {"individual_digits", true}},
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", true}}}}};
  for (const auto& [cuts, whole, name] :
       {std::tuple{split(llama3), true, "llama-bpe"}, std::tuple{split(llama3), false, "dbrx"},
        std::tuple{split(qwen2), false, "qwen2"}, std::tuple{smollm, false, "smollm"}}) {
    ordered_json json = byte_level();
    json["pre_tokenizer"] = cuts;
    json["model"]["ignore_merges"] = whole;
    HubFolder folder;
    const Tokenized made(with(folder, json));
    ASSERT_TRUE(made.tokenizer) << name;
    EXPECT_EQ(made.tokenizer->pre_tokenizer(), name);
  }
  ordered_json json = byte_level();
  json["pre_tokenizer"] = split("[a-z]+|\n|.");
  expect_refusal(json, {"no pre-tokenizer", R"([a-z]+|\n|.)"});
  json["pre_tokenizer"] = split(qwen2);
  json["model"]["ignore_merges"] = true;
  expect_refusal(json, {"with ignore_merges"});
  json = byte_level();
  json["pre_tokenizer"]["add_prefix_space"] = true;
  expect_refusal(json, {"ByteLevel with add_prefix_space"});
}

TEST(Tokenizer, SentencePiecesJoinInTheOrderOfTheMerges) {
  HubFolder folder;
  const Tokenized made(with(folder, pieces(), {{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
  ASSERT_TRUE(made.tokenizer);
  EXPECT_EQ(made.tokenizer->model(), "llama");
  EXPECT_TRUE(made.tokenizer->adds_space_prefix());
  // "▁abc": ▁a first, then ▁ab; bc would be third.
  EXPECT_THAT(made.tokenizer->encode("abc"), ElementsAre(24, 22));
  EXPECT_THAT(made.tokenizer->encode("cbc"), ElementsAre(19, 22, 25));
  EXPECT_THAT(made.tokenizer->encode("\n"), ElementsAre(19, 13));  // the byte's token
  EXPECT_THAT(made.tokenizer->encode("z"), ElementsAre(19, 0));    // neither letter nor byte
  EXPECT_EQ(made.tokenizer->decode(std::vector<int32_t>{24, 22, 23}), "abc a");
}

TEST(Tokenizer, AMetaspaceSaysWhetherASpaceGoesFirst) {
  for (const char* scheme : {"always", "first", "never"}) {
    ordered_json json = pieces();
    json["normalizer"] = nullptr;
    json["pre_tokenizer"] = {
        {"type", "Metaspace"}, {"replacement", "▁"}, {"prepend_scheme", scheme}, {"split", false}};
    HubFolder folder;
    const Tokenized made(with(folder, json));
    ASSERT_TRUE(made.tokenizer);
    EXPECT_EQ(made.tokenizer->adds_space_prefix(), std::string(scheme) != "never");
    EXPECT_EQ(::testing::Value(made.notes, Contains(HasSubstr("first word"))),
              std::string(scheme) == "first");
  }
}

TEST(Tokenizer, WhatAFileCannotSayIsRefused) {
  ordered_json json = byte_level();
  json["model"]["type"] = "Unigram";
  expect_refusal(json, {"tokenizer.json", "\"Unigram\""});
  json = byte_level();
  json["model"]["end_of_word_suffix"] = "</w>";
  expect_refusal(json, {"end_of_word_suffix"});
  json = byte_level();
  json["normalizer"] = {{"type", "Lowercase"}};
  expect_refusal(json, {"normalizer", "\"Lowercase\""});
  json = byte_level();
  json["post_processor"] = {{"type", "BertProcessing"}};
  expect_refusal(json, {"post_processor", "\"BertProcessing\""});
  json = byte_level();
  json["pre_tokenizer"] = {{"type", "Whitespace"}};
  expect_refusal(json, {"neither byte-level nor has it byte_fallback"});
  json = pieces();
  json["normalizer"] = {{"type", "NFKC"}};
  expect_refusal(json, {"\"NFKC\""});
  json = pieces();
  json["normalizer"] = nullptr;
  expect_refusal(json, {"U+2581"});
}

TEST(Tokenizer, VocabulariesThatContradict) {
  const auto refusal = [](const auto& change, const std::vector<std::string>& parts) {
    ordered_json json = byte_level();
    change(json);
    expect_refusal(json, parts);
  };
  refusal([](auto& json) { json["model"]["vocab"]["b"] = 0; }, {"two tokens"});
  refusal([](auto& json) { json["model"]["vocab"]["b"] = -1; }, {"\"b\" has the id -1"});
  refusal([](auto& json) { json["model"]["vocab"]["b"] = "1"; }, {"\"b\" has the id"});
  refusal([](auto& json) { json["model"]["vocab"]["b"] = 40; }, {"id 40", "40 tokens"});
  refusal([](auto& json) { json["model"]["vocab"]["b"] = 4000000000u; }, {"4000000000"});
  refusal([](auto& json) { json["model"].erase("vocab"); }, {"vocab"});
  refusal([](auto& json) { json["model"].erase("merges"); }, {"merges"});
  refusal([](auto& json) { json["model"]["merges"] = {"a e"}; },
          {"merge 0 makes \"ae\", which is no token"});
  refusal([](auto& json) { json["model"]["merges"] = {"ab"}; }, {"merge 0"});
  refusal([](auto& json) { json["model"]["merges"] = {{"a", "b", "c"}}; }, {"merge 0"});
  refusal([](auto& json) { json["model"]["merges"] = {7}; }, {"merge 0"});
  refusal([](auto& json) { json["added_tokens"][0].erase("content"); },
          {"an added token has no text"});
  refusal([](auto& json) { json["added_tokens"][0]["id"] = 41; }, {"id 41"});
  refusal([](auto& json) { json["added_tokens"][1]["content"] = "<s>"; }, {"same spelling"});
  refusal([](auto& json) { json = {{"model", 3}}; }, {"model"});
}

TEST(Tokenizer, ATemplateSaysWhatIsAdded) {
  ordered_json json = byte_level();
  const auto token = [](const char* id) {
    return ordered_json{{"SpecialToken", {{"id", id}, {"type_id", 0}}}};
  };
  const ordered_json text = {{"Sequence", {{"id", "A"}, {"type_id", 0}}}};
  json["post_processor"] = {
      {"type", "Sequence"},
      {"processors",
       {{{"type", "ByteLevel"}},
        {{"type", "TemplateProcessing"}, {"single", {token("<s>"), text, token("</s>")}}}}}};
  HubFolder both;
  const Tokenized made(with(both, json, {{"bos_token", "<s>"}, {"eos_token", "</s>"}}));
  ASSERT_TRUE(made.tokenizer);
  EXPECT_THAT(made.tokenizer->encode("a"), ElementsAre(8, 0, 9));

  json["post_processor"]["processors"][1]["single"] = {token("<s>"), token("<tool>"), text};
  HubFolder two;
  const Tokenized said(with(two, json, {{"bos_token", "<s>"}}));
  ASSERT_TRUE(said.tokenizer);
  EXPECT_FALSE(said.tokenizer->adds_bos());
  EXPECT_THAT(said.notes, Contains(HasSubstr("puts <s> <tool> before a text")));

  // Without a template the configuration decides.
  HubFolder flag;
  const Tokenized flagged(
      with(flag, byte_level(), {{"bos_token", "<s>"}, {"add_bos_token", true}}));
  ASSERT_TRUE(flagged.tokenizer);
  EXPECT_TRUE(flagged.tokenizer->adds_bos());
  EXPECT_FALSE(flagged.tokenizer->adds_eos());
}

TEST(Tokenizer, EveryTokenThatEndsGeneration) {
  HubFolder folder;
  folder.files["generation_config.json"] = R"({"eos_token_id": [9, 10, 7]})";
  const Tokenized made(with(folder, byte_level(), {{"eos_token", "</s>"}}));
  ASSERT_TRUE(made.tokenizer);
  EXPECT_EQ(made.tokenizer->eos(), 9);
  for (const int32_t token : {9, 10, 7})
    EXPECT_TRUE(made.tokenizer->ends_generation(token)) << token;
  EXPECT_FALSE(made.tokenizer->ends_generation(0));
}

TEST(Tokenizer, SpecialTokensFromEachOfTheFiles) {
  HubFolder map;
  map.files["special_tokens_map.json"] =
      R"({"bos_token": {"content": "<s>"}, "pad_token": "</s>"})";
  map.config["eos_token_id"] = 9;
  const Tokenized made(with(map, byte_level()));
  ASSERT_TRUE(made.tokenizer);
  EXPECT_EQ(made.tokenizer->bos(), 8);
  EXPECT_EQ(made.tokenizer->eos(), 9);
  EXPECT_EQ(made.file->unsigned_value("tokenizer.ggml.padding_token_id")->value_or(0), 9u);

  HubFolder decoder;  // a token that only the configuration knows
  const Tokenized added(
      with(decoder, byte_level(),
           {{"added_tokens_decoder", {{"11", {{"content", "<|x|>"}, {"special", true}}}}}}));
  ASSERT_TRUE(added.tokenizer);
  EXPECT_THAT(added.tokenizer->encode("a<|x|>"), ElementsAre(0, 11));
}

TEST(Tokenizer, Templates) {
  HubFolder one;
  with(one, byte_level(), {{"chat_template", "old"}});
  EXPECT_EQ(**converted(one)->string_value("tokenizer.chat_template"), "old");
  one.files["chat_template.jinja"] = "{{ new }}";
  one.write();
  EXPECT_EQ(**converted(one)->string_value("tokenizer.chat_template"), "{{ new }}");

  HubFolder several;
  with(several, byte_level(),
       {{"chat_template",
         {{{"name", "default"}, {"template", "d"}}, {{"name", "tool_use"}, {"template", "t"}}}}});
  const auto file = converted(several);
  EXPECT_EQ(**file->string_value("tokenizer.chat_template"), "d");
  EXPECT_EQ(**file->string_value("tokenizer.chat_template.tool_use"), "t");
}

TEST(Tokenizer, AFolderWithoutOneSaysSo) {
  HubFolder folder;
  folder.write();
  const auto made = folder.convert();
  ASSERT_TRUE(made);
  EXPECT_EQ(made->tokenizer, "");
  EXPECT_THAT(made->notes, ElementsAre(HasSubstr("no tokenizer.json")));
}

}  // namespace
}  // namespace assay::tests
