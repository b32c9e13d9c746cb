// Every pre-tokenizer against llama.cpp's library, over small vocabularies in which a cut at another
// place gives other tokens (tests/text/llama_tokens.py).
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "support.h"

namespace assay::text {
namespace {

using Json = nlohmann::json;

const Json& stored() {
  static const Json json = Json::parse(
      read_file(std::filesystem::path(ASSAY_SOURCE_DIR) / "tests/data/pre_tokenizers.json"));
  return json;
}

/// A stored vocabulary: the 256 bytes, what merges make, further tokens, BOS.
HandMade vocabulary(const std::string& kind, const std::string& pre) {
  HandMade made;
  made.pre = pre;
  for (int byte = 0; byte < 256 && kind == "raw"; ++byte) {
    constexpr std::string_view digits = "0123456789ABCDEF";
    made.tokens[byte] = std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">";
    made.types[byte] = 6;
  }
  const Json& source = stored()["vocabularies"][kind];
  for (const std::string merge : source["merges"]) {
    const auto space = merge.find(' ');
    made.merge(merge.substr(0, space), merge.substr(space + 1));
  }
  for (const std::string token : source["tokens"]) made.add(token);
  made.ids = {{"bos_token_id", static_cast<uint32_t>(made.add("<bos>", 3))}};
  return made;
}

/// One letter a token: its bytes, as 1 to 9, a, b, …; "." for the token of a byte in a raw
/// vocabulary.
std::string lengths(const Tokenizer& tokenizer, const std::vector<Token>& tokens, bool raw) {
  std::string out;
  for (const Token token : tokens) {
    const uint64_t length = raw ? tokenizer.spelling(token).size() : tokenizer.piece(token).size();
    out += raw && token < 256 ? '.' : "0123456789abcdefghijklmnopqrstuvwxyz"[length];
  }
  return out;
}

TEST(StoredTokens, EveryPreTokenizerGivesLlamaCppsTokens) {
  const auto texts = stored()["texts"].get<std::vector<std::string>>();
  std::set<std::string_view> missing;
  for (const PreTokenizerRules& rules : pre_tokenizer_rules()) missing.insert(rules.name);
  for (const Json& result : stored()["results"]) {
    const std::string kind = result["vocabulary"];
    for (const std::string name : result["names"]) {
      const Tokenizer tokenizer = open(vocabulary(kind, name));
      for (uint64_t i = 0; i < texts.size(); ++i) {
        EXPECT_EQ(lengths(tokenizer, tokenizer.encode(texts[i], plain), kind == "raw"),
                  result["lengths"][i].get<std::string>())
            << name << ": " << texts[i];
      }
      missing.erase(name);
    }
  }
  EXPECT_TRUE(missing.empty()) << *missing.begin() << " was not compared";
}

TEST(StoredTokens, BosGoesFirstWhereLlamaCppPutsIt) {
  for (const auto& [key, says_no] : {std::pair("bos", false), {"bos_always", true}}) {
    const auto names = stored()[key].get<std::vector<std::string>>();
    for (const PreTokenizerRules& rules : pre_tokenizer_rules()) {
      HandMade made;
      made.pre = rules.name;
      made.ids = {{"bos_token_id", static_cast<uint32_t>(made.add("<bos>", 3))}};
      if (says_no) made.flags = {{"add_bos_token", false}};
      EXPECT_EQ(open(made).adds_bos(), std::ranges::count(names, rules.name) == 1)
          << key << ": " << rules.name;
    }
  }
}

}  // namespace
}  // namespace assay::text
