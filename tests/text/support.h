// Vocabularies for tests: made by hand, shared test data, the default model.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "text/pre_tokenizer.h"
#include "text/tokenizer.h"

namespace assay::text {

/// Bytes as a byte-level vocabulary spells them: the printable ones of Latin-1 as they are, the
/// n-th of the others as U+0100 + n.
inline std::string letters_of_bytes(std::string_view bytes) {
  const auto printable = [](int byte) {
    return (byte > 32 && byte < 127) || (byte > 160 && byte != 173);
  };
  std::string letters;
  for (const char c : bytes) {
    const int byte = static_cast<uint8_t>(c);
    int letter = byte;
    if (!printable(byte)) {
      letter = 256;
      for (int before = 0; before < byte; ++before) letter += !printable(before);
    }
    if (letter >= 0x80) letters += static_cast<char>(0xC0 | letter >> 6);
    letters += static_cast<char>(letter < 0x80 ? letter : 0x80 | (letter & 0x3F));
  }
  return letters;
}

/// Tokens 0..255 are the 256 bytes, in order; then what a test adds.
struct HandMade {
  std::string pre = "gpt-2";
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<std::string> merges;
  std::vector<std::pair<std::string, uint32_t>> ids;  // tokenizer.ggml.KEY
  std::vector<std::pair<std::string, bool>> flags;    // tokenizer.ggml.KEY

  HandMade() {
    for (int byte = 0; byte < 256; ++byte) {
      add(letters_of_bytes(std::string(1, static_cast<char>(byte))));
    }
  }
  /// Returns the new token's id.
  Token add(const std::string& spelling, int32_t type = 1) {
    tokens.push_back(spelling);
    types.push_back(type);
    return static_cast<Token>(tokens.size() - 1);
  }
  /// The merge of two spellings, and the token that it makes.
  Token merge(const std::string& left, const std::string& right) {
    merges.push_back(left + " " + right);
    return add(left + right);
  }
  gguf::Writer writer() const {
    gguf::Writer writer;
    writer.add_string("general.architecture", "none of ours");
    writer.add_string("tokenizer.ggml.model", "gpt2");
    writer.add_string("tokenizer.ggml.pre", pre);
    writer.add_string_array("tokenizer.ggml.tokens", tokens);
    writer.add_i32_array("tokenizer.ggml.token_type", types);
    writer.add_string_array("tokenizer.ggml.merges", merges);
    for (const auto& [key, id] : ids) writer.add_u32("tokenizer.ggml." + key, id);
    for (const auto& [key, flag] : flags) writer.add_bool("tokenizer.ggml." + key, flag);
    return writer;
  }
};

/// A `llama` vocabulary: 0 <unk>, 1 <s>, 2 </s>, 3..258 the bytes <0x00> .. <0xFF>; then what a
/// test adds.
struct HandMadePieces {
  std::vector<std::string> tokens;
  std::vector<int32_t> types;
  std::vector<float> scores;
  std::vector<std::pair<std::string, uint32_t>> ids;  // tokenizer.ggml.KEY
  std::vector<std::pair<std::string, bool>> flags;    // tokenizer.ggml.KEY
  std::string name = "hand-made";

  HandMadePieces() {
    add("<unk>", 0, 2);
    add("<s>", 0, 3);
    add("</s>", 0, 3);
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (int byte = 0; byte < 256; ++byte) {
      add(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 0, 6);
    }
  }
  static Token byte(uint8_t value) { return 3 + value; }
  /// Returns the new token's id.
  Token add(const std::string& spelling, float score, int32_t type = 1) {
    tokens.push_back(spelling);
    types.push_back(type);
    scores.push_back(score);
    return static_cast<Token>(tokens.size() - 1);
  }
  gguf::Writer writer() const {
    gguf::Writer writer;
    writer.add_string("general.name", name);
    writer.add_string("tokenizer.ggml.model", "llama");
    writer.add_string_array("tokenizer.ggml.tokens", tokens);
    writer.add_i32_array("tokenizer.ggml.token_type", types);
    writer.add_f32_array("tokenizer.ggml.scores", scores);
    for (const auto& [key, id] : ids) writer.add_u32("tokenizer.ggml." + key, id);
    for (const auto& [key, flag] : flags) writer.add_bool("tokenizer.ggml." + key, flag);
    return writer;
  }
};

inline Result<Tokenizer> open_bytes(const gguf::Writer& writer) {
  const auto bytes = writer.bytes();
  const auto file = gguf::File::parse(bytes, "hand-made.gguf");
  if (!file) return file.error();
  return Tokenizer::open(*file);  // file and bytes go: the tokenizer must not need them
}

template <class Vocabulary>
Tokenizer open(const Vocabulary& vocabulary) {
  auto tokenizer = open_bytes(vocabulary.writer());
  EXPECT_TRUE(tokenizer) << (tokenizer ? "" : tokenizer.error().message);
  if (!tokenizer) std::abort();
  return std::move(*tokenizer);
}

inline Result<Tokenizer> open_path(const std::filesystem::path& path) {
  const auto file = gguf::File::open(path.string());
  if (!file) return file.error();
  return Tokenizer::open(*file);
}

inline std::filesystem::path shared_data() {
  const char* given = std::getenv("ASSAY_SHARED_DATA");
  return given != nullptr ? std::filesystem::path(given)
                          : std::filesystem::path(ASSAY_SOURCE_DIR) / ".." / "shared" / "data";
}

inline std::filesystem::path default_model() {
  const auto value = [](const char* name) {
    const char* found = std::getenv(name);
    return std::filesystem::path(found == nullptr ? "" : found);
  };
  std::filesystem::path cache = value("ASSAY_CACHE");
  if (cache.empty()) {
    const std::filesystem::path base = value("XDG_CACHE_HOME");
    cache = (base.empty() ? value("HOME") / ".cache" : base) / "assay";
  }
  return cache / "models" / "SmolLM2-135M-Instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf";
}

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(stream), {});
}

inline std::string joined(const Tokenizer& tokenizer, const std::vector<Token>& tokens) {
  std::string text;
  for (const Token token : tokens) text += tokenizer.piece(token);
  return text;
}

/// The names of the pre-tokenizers, one for each set of rules.
inline std::vector<std::string> families() {
  std::vector<std::string> names;
  std::set<const CutRule*> seen;
  for (const PreTokenizerRules& rules : pre_tokenizer_rules()) {
    if (seen.insert(rules.stages.data()).second) names.emplace_back(rules.name);
  }
  return names;
}

inline std::string utf8(uint32_t code_point) {
  const auto tail = [&](int shift) {
    return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  if (code_point < 0x800) return {static_cast<char>(0xC0 | code_point >> 6), tail(0)};
  if (code_point < 0x10000) return {static_cast<char>(0xE0 | code_point >> 12), tail(6), tail(0)};
  return {static_cast<char>(0xF0 | code_point >> 18), tail(12), tail(6), tail(0)};
}

/// Every code point but the surrogates, in order.
inline std::string all_of_unicode() {
  std::string text;
  for (uint32_t code_point = 0; code_point <= 0x10FFFF; ++code_point) {
    if (code_point < 0xD800 || code_point > 0xDFFF) text += utf8(code_point);
  }
  return text;
}

inline std::string repeated(std::string_view unit, uint64_t bytes) {
  std::string text;
  while (text.size() < bytes) text += unit;
  return text;
}

/// Processor seconds of this program: a busy machine doesn't change them.
inline double seconds() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

inline constexpr EncodeOptions plain{.parse_special = false, .add_bos = false};

}  // namespace assay::text
