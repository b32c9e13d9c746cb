// A vocabulary and a text. The first byte chooses tokenizer and pre-tokenizer, the second cuts the
// rest: lines of the vocabulary, then the text.
#include <array>
#include <cstdlib>
#include <string>
#include <vector>

#include "gguf/file.h"
#include "gguf/writer.h"
#include "text/tokenizer.h"

namespace {

constexpr std::array pre_tokenizers = {"default",   "gpt-2",  "smollm",       "llama-bpe",
                                       "qwen2",     "falcon", "deepseek-llm", "deepseek-coder",
                                       "starcoder", "refact", "command-r",    "mpt",
                                       "tekken",    "gpt-4o", "deepseek-v3",  "chatglm-bpe"};

std::vector<std::string> lines(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

/// A letter for every byte, as GPT-2 spells them, so that most texts have tokens.
std::string letter(int byte) {
  const bool printable = (byte >= 33 && byte < 127) || (byte >= 161 && byte < 173) || byte >= 174;
  int code = byte;
  if (!printable) code = 256 + (byte <= 32 ? byte : byte < 161 ? byte - 127 + 33 : 67);
  if (code < 0x80) return {char(code)};
  return {char(0xC0 | code >> 6), char(0x80 | (code & 0x3F))};
}

std::string make_file(uint8_t choice, const std::vector<std::string>& extra) {
  const bool pieces = choice & 1;
  assay::gguf::Writer writer;
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"}, merges;
  std::vector<int32_t> types = {2, 3, 3};
  std::vector<float> scores = {0, 0, 0};
  for (int byte = 0; byte < 256; ++byte) {
    constexpr char hex[] = "0123456789ABCDEF";
    tokens.push_back(pieces ? std::string("<0x") + hex[byte >> 4] + hex[byte & 15] + ">"
                            : letter(byte));
    types.push_back(pieces ? 6 : 1);
    scores.push_back(0);
  }
  for (const std::string& line : extra) {
    if (line.size() > 1 && line[0] == '\t') {
      merges.push_back(line.substr(1));
      continue;
    }
    // The last byte of a line says what kind of token it is.
    tokens.push_back(line.substr(0, line.empty() ? 0 : line.size() - 1));
    types.push_back(line.empty() ? 1 : uint8_t(line.back()) % 7);
    scores.push_back(line.empty() ? 0 : float(line.size()) - float(tokens.size()) / 8);
  }
  writer.add_string("tokenizer.ggml.model", pieces ? "llama" : "gpt2");
  writer.add_string("tokenizer.ggml.pre", pre_tokenizers[(choice >> 1) % pre_tokenizers.size()]);
  writer.add_bool("tokenizer.ggml.add_space_prefix", choice & 64);
  writer.add_bool("tokenizer.ggml.add_bos_token", choice & 128);
  writer.add_string_array("tokenizer.ggml.tokens", tokens);
  writer.add_i32_array("tokenizer.ggml.token_type", types);
  writer.add_f32_array("tokenizer.ggml.scores", scores);
  writer.add_string_array("tokenizer.ggml.merges", merges);
  writer.add_u32("tokenizer.ggml.bos_token_id", 1);
  writer.add_u32("tokenizer.ggml.eos_token_id", 2);
  writer.add_u32("tokenizer.ggml.unknown_token_id", 0);
  const auto bytes = writer.bytes();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = rest.size() * data[1] / 255;
  const std::string bytes = make_file(data[0], lines(rest.substr(0, cut)));
  const auto file = assay::gguf::File::parse(
      {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "x.gguf");
  if (!file) return 0;
  const auto tokenizer = assay::text::Tokenizer::open(*file);
  if (!tokenizer) return 0;
  const std::string_view text = rest.substr(cut);
  for (const bool special : {false, true}) {
    const auto tokens = tokenizer->encode(text, {.parse_special = special, .add_bos = special});
    assay::text::Detokenizer detokenizer;
    std::string joined;
    for (const int32_t token : tokens) {
      if (token < 0 || uint64_t(token) >= tokenizer->vocabulary_size()) std::abort();
      joined += detokenizer.add(tokenizer->piece(token));
    }
    joined += detokenizer.finish();
    if (special) tokenizer->decode(tokens);
  }
  // All of the text as plain is the text with nothing parsed.
  const std::vector<assay::text::Span> all = {{0, text.size()}};
  if (tokenizer->encode(text, {.plain = all}) != tokenizer->encode(text, {.parse_special = false}))
    std::abort();
  return 0;
}
