#include "text/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>

namespace assay::text {
namespace {

constexpr std::string_view prefix = "tokenizer.ggml.";

Error refuse(const gguf::File& file, std::string_view detail) {
  return Error{fmt::format("{}: {}", file.path(), detail)};
}

std::string key_of(std::string_view name) {
  return std::string(prefix) + std::string(name);
}

/// The array under `name`; an empty one where absent.
Result<gguf::Array> read_array(const gguf::File& file, std::string_view name) {
  const gguf::Value* value = file.find(key_of(name));
  if (value == nullptr) return gguf::Array{};
  const auto* array = std::get_if<gguf::Array>(&value->data);
  if (array == nullptr) return refuse(file, fmt::format("{}{} is not an array", prefix, name));
  return *array;
}

Result<gguf::Array> read_strings(const gguf::File& file, std::string_view name) {
  auto array = read_array(file, name);
  if (array && array->count > 0 && array->type != gguf::ValueType::string) {
    return refuse(file, fmt::format("{}{} is not an array of strings", prefix, name));
  }
  return array;
}

/// The id under `name`, which gguf::File has checked against the vocabulary; -1 where absent.
Result<int32_t> read_id(const gguf::File& file, std::string_view name) {
  const auto id = file.unsigned_value(key_of(name));
  if (!id) return id.error();
  return *id ? static_cast<int32_t>(**id) : -1;
}

Status read_names(const gguf::File& file, Vocabulary& vocabulary) {
  const auto model = file.string_value(key_of("model"));
  if (!model) return model.error();
  if (!*model || **model == "none" || **model == "no_vocab") {
    return refuse(
        file, "there is no tokenizer in this file (tokenizer.ggml.model); give token ids instead");
  }
  if (**model != "gpt2") {
    return refuse(file,
                  fmt::format("tokenizer model '{}' is not supported (supported: gpt2)", **model));
  }
  vocabulary.model = std::string(**model);

  const auto pre = file.string_value(key_of("pre"));
  if (!pre) return pre.error();
  if (!*pre) {
    return refuse(
        file,
        fmt::format("the file doesn't name its pre-tokenizer (tokenizer.ggml.pre); supported: {}",
                    supported_pre_tokenizers()));
  }
  vocabulary.rules = find_rules(**pre);
  if (vocabulary.rules == nullptr) {
    return refuse(file, fmt::format("pre-tokenizer '{}' is not supported (supported: {})", **pre,
                                    supported_pre_tokenizers()));
  }
  return ok();
}

Status read_tokens(const gguf::File& file, Vocabulary& vocabulary) {
  const auto tokens = read_strings(file, "tokens");
  if (!tokens) return tokens.error();
  if (tokens->count == 0) return refuse(file, "tokenizer.ggml.tokens is absent or empty");
  if (tokens->count > INT32_MAX) {
    return refuse(file, fmt::format("{} tokens are more than ids can number", tokens->count));
  }
  for (const std::string_view spelling : tokens->strings) vocabulary.spellings.add(spelling);

  const auto types = read_array(file, "token_type");
  if (!types) return types.error();
  vocabulary.types.assign(tokens->count, TokenType::normal);
  for (uint64_t i = 0; i < types->count;
       ++i) {  // none, or as many as tokens: gguf::File has checked
    const int64_t type = types->integer(i);
    const bool known = type >= 0 && type <= static_cast<int64_t>(TokenType::byte);
    vocabulary.types[i] = known ? static_cast<TokenType>(type) : TokenType::undefined;
  }

  auto merges = read_strings(file, "merges");
  if (!merges) return merges.error();
  if (file.find(key_of("merges")) == nullptr) {
    return refuse(file, "tokenizer.ggml.merges is absent; a gpt2 tokenizer can't do without");
  }
  vocabulary.merges = std::move(*merges);
  return ok();
}

Status read_bos_and_eos(const gguf::File& file, Vocabulary& vocabulary) {
  for (const auto& [name, id] :
       {std::pair{"bos_token_id", &vocabulary.bos}, {"eos_token_id", &vocabulary.eos}}) {
    const auto read = read_id(file, name);
    if (!read) return read.error();
    *id = *read;
  }
  // As llama.cpp: the file's own word, else what the pre-tokenizer's family does (llama-bpe: yes,
  // others: no).
  const auto add_bos = file.bool_value(key_of("add_bos_token"));
  if (!add_bos) return add_bos.error();
  if (add_bos->value_or(false) && vocabulary.bos < 0) {
    return refuse(
        file, "tokenizer.ggml.add_bos_token is true, but there is no tokenizer.ggml.bos_token_id");
  }
  vocabulary.adds_bos = vocabulary.bos >= 0 && add_bos->value_or(vocabulary.rules->adds_bos);
  return ok();
}

// Spellings that end generation whatever the metadata says, because many files name only one of
// them. The list is llama.cpp's; it counts the fill-in-the-middle separators too.
constexpr std::string_view ending_spellings[] = {
    "<|eot_id|>",    "<|im_end|>",   "<|end|>",         "<|return|>",
    "<|call|>",      "<|flush|>",    "<|calls|>",       "<end_of_turn>",
    "<|endoftext|>", "<|eom_id|>",   "<|end_of_text|>", "<end_of_utterance>",
    "<|fim_pad|>",   "<|fim_repo|>", "<|repo_name|>",   "<|file_sep|>"};
// Of these llama.cpp takes any token; but qwen2 has an ordinary token "</s>" that HTML text
// reaches, so they count only where the file types them as special.
constexpr std::string_view ending_where_special[] = {"</s>",   "<eos>", "<EOT>",
                                                     "_<EOT>", "[EOT]", "[EOS]"};

template <size_t N>
bool among(const std::string_view (&list)[N], std::string_view spelling) {
  return std::find(std::begin(list), std::end(list), spelling) != std::end(list);
}

Status find_ends(const gguf::File& file, Vocabulary& vocabulary) {
  const auto count = static_cast<int32_t>(vocabulary.spellings.size());
  int32_t harmony_end = -1, harmony_marks = 0;
  for (int32_t id = 0; id < count; ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    if (spelling.empty() || (spelling[0] != '<' && spelling[0] != '_' && spelling[0] != '['))
      continue;
    TokenType& type = vocabulary.types[id];
    const bool special = type == TokenType::control || type == TokenType::user_defined;
    if (among(ending_spellings, spelling)) {
      vocabulary.ends_generation.insert(id);
      type =
          TokenType::control;  // converters sometimes write another type; text must not reach these
    } else if (special && among(ending_where_special, spelling)) {
      vocabulary.ends_generation.insert(id);
      type = TokenType::control;
    }
    if (spelling == "<|end|>") harmony_end = id;
    if (spelling == "<|return|>" || spelling == "<|call|>") ++harmony_marks;
  }
  // In the harmony format <|end|> only ends a message; <|return|> and <|call|> end the answer.
  if (harmony_marks == 2 && harmony_end >= 0) {
    vocabulary.ends_generation.erase(harmony_end);
    vocabulary.types[harmony_end] = TokenType::user_defined;
  }
  for (const auto name : {"eos_token_id", "eot_token_id", "eom_token_id", "fim_pad_token_id",
                          "fim_rep_token_id", "fim_sep_token_id"}) {
    const auto id = read_id(file, name);
    if (!id) return id.error();
    if (*id >= 0) vocabulary.ends_generation.insert(*id);
  }
  return ok();
}

}  // namespace

Result<Vocabulary> read_vocabulary(const gguf::File& file) {
  Vocabulary vocabulary;
  for (const auto step : {read_names, read_tokens, read_bos_and_eos, find_ends}) {
    if (Status status = step(file, vocabulary); !status) return status.error();
  }
  return vocabulary;
}

}  // namespace assay::text
