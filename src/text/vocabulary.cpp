#include "text/vocabulary.h"

#include <fmt/format.h>

#include <unordered_map>

#include "gguf/reader.h"
#include "gguf/tokenizer_rules.h"
#include "text/known_tokens.h"
#include "text/spelling.h"

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

/// The id under `name`; -1 where absent or outside the vocabulary.
Result<int32_t> read_id(const gguf::File& file, std::string_view name) {
  const auto id = gguf::special_id(file, name);
  if (!id) return id.error();
  return *id ? static_cast<int32_t>(**id) : -1;
}

Status read_rules(const gguf::File& file, Vocabulary& vocabulary) {
  const auto pre = file.string_value(key_of("pre"));
  if (!pre) return pre.error();
  // Old files name none; llama.cpp, too, takes the default rules then, with a warning.
  vocabulary.names_rules = pre->has_value();
  const std::string_view name = pre->value_or("default");
  vocabulary.rules = find_rules(name);
  if (vocabulary.rules == nullptr) {
    return refuse(file, fmt::format("pre-tokenizer '{}' is not supported (supported: {})",
                                    gguf::printable(name), supported_pre_tokenizers()));
  }
  return ok();
}

Status read_names(const gguf::File& file, Vocabulary& vocabulary) {
  const auto model = file.string_value(key_of("model"));
  if (!model) return model.error();
  if (!*model || **model == "none" || **model == "no_vocab") {
    return refuse(
        file, "there is no tokenizer in this file (tokenizer.ggml.model); give token ids instead");
  }
  vocabulary.model_name = std::string(**model);
  if (**model == "llama" || **model == "plamo2") {
    vocabulary.model =
        **model == "llama" ? TokenizerModel::sentence_pieces : TokenizerModel::best_path;
    return ok();
  }
  if (**model == "gpt2") return read_rules(file, vocabulary);
  if (**model == "gemma4") {  // whatever tokenizer.ggml.pre says
    vocabulary.rules = find_rules("gemma4");
    return ok();
  }
  return refuse(file, fmt::format("tokenizer model '{}' is not supported (supported: gemma4, gpt2, "
                                  "llama, plamo2)",
                                  gguf::printable(**model)));
}

Status read_merges(const gguf::File& file, Vocabulary& vocabulary) {
  auto merges = read_strings(file, "merges");
  if (!merges) return merges.error();
  if (file.find(key_of("merges")) == nullptr) {
    return refuse(file,
                  fmt::format("tokenizer.ggml.merges is absent; a {} tokenizer can't do without",
                              vocabulary.model_name));
  }
  vocabulary.merges = std::move(*merges);
  return ok();
}

Status read_scores(const gguf::File& file, Vocabulary& vocabulary) {
  for (const auto* name : {"scores", "token_type"}) {
    if (file.find(key_of(name)) != nullptr) continue;
    return refuse(file, fmt::format("tokenizer.ggml.{} is absent; a {} tokenizer can't do without",
                                    name, vocabulary.model_name));
  }
  const auto scores = read_array(file, "scores");
  if (!scores) return scores.error();
  vocabulary.scores.reserve(scores->count);
  for (uint64_t i = 0; i < scores->count; ++i) {  // as many floats as tokens: checked
    vocabulary.scores.push_back(static_cast<float>(scores->real(i)));
  }
  return ok();
}

/// llama.cpp goes by the spelling of byte tokens, and some converters leave out their type.
void find_bytes(Vocabulary& vocabulary) {
  for (uint64_t id = 0; id < vocabulary.spellings.size(); ++id) {
    TokenType& type = vocabulary.types[id];
    if (type == TokenType::normal && byte_of_spelling(vocabulary.spellings[id]) >= 0)
      type = TokenType::byte;
  }
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
  for (uint64_t i = 0; i < types->count; ++i) {  // none, or as many as tokens: checked
    const int64_t type = types->integer(i);
    const bool known = type >= 0 && type <= static_cast<int64_t>(TokenType::byte);
    vocabulary.types[i] = known ? static_cast<TokenType>(type) : TokenType::undefined;
  }
  if (vocabulary.rules != nullptr && vocabulary.rules->raw) find_bytes(vocabulary);

  return vocabulary.model == TokenizerModel::byte_pairs ? read_merges(file, vocabulary)
                                                        : read_scores(file, vocabulary);
}

/// The file's own word, else the family's. Errors: the token that is to be added is not named.
Result<bool> read_adds(const gguf::File& file, std::string_view which, int32_t token,
                       bool otherwise) {
  const auto adds = file.bool_value(key_of(fmt::format("add_{}_token", which)));
  if (!adds) return adds.error();
  if (adds->value_or(false) && token < 0) {
    return refuse(file, fmt::format("{0}add_{1}_token is true, but {0}{1}_token_id names no token",
                                    prefix, which));
  }
  return token >= 0 && adds->value_or(otherwise);
}

Status read_special_ids(const gguf::File& file, Vocabulary& vocabulary) {
  const bool pieces = vocabulary.model == TokenizerModel::sentence_pieces;
  const bool pairs = vocabulary.model == TokenizerModel::byte_pairs;
  const auto count = static_cast<int32_t>(vocabulary.spellings.size());
  const int32_t zero = vocabulary.types[0] == TokenType::unknown ? 0 : -1;
  struct Id {
    std::string_view name;
    int32_t* id;
    int32_t otherwise;  // where the file is silent: SentencePiece's ids
  };
  for (const auto& [name, id, otherwise] :
       {Id{"bos_token_id", &vocabulary.bos, 1}, Id{"eos_token_id", &vocabulary.eos, 2},
        Id{"unknown_token_id", &vocabulary.unknown, zero}}) {
    const auto read = read_id(file, name);
    if (!read) return read.error();
    *id = *read >= 0 || pairs || otherwise >= count ? *read : otherwise;
  }
  // As llama.cpp: BOS for sentence pieces, and for the pre-tokenizers of some families.
  const AddsBos rule = pieces  ? AddsBos::where_silent
                       : pairs ? vocabulary.rules->adds_bos
                               : AddsBos::no;
  const auto adds_bos = read_adds(file, "bos", vocabulary.bos, rule != AddsBos::no);
  if (!adds_bos) return adds_bos.error();
  const auto adds_eos = read_adds(file, "eos", vocabulary.eos, false);
  if (!adds_eos) return adds_eos.error();
  const auto space = file.bool_value(key_of("add_space_prefix"));
  if (!space) return space.error();
  vocabulary.adds_bos = *adds_bos || (rule == AddsBos::always && vocabulary.bos >= 0);
  vocabulary.adds_eos = *adds_eos;
  vocabulary.adds_space_prefix = pieces && space->value_or(true);
  return ok();
}

/// Some files name tokens that no text has, and that a model would draw all the same. Ids outside of
/// the vocabulary are left out, as by llama.cpp.
Status read_suppressed(const gguf::File& file, Vocabulary& vocabulary) {
  const auto ids = read_array(file, "suppress_tokens");
  if (!ids) return ids.error();
  if (ids->count > 0 && ids->type != gguf::ValueType::i32)
    return refuse(file,
                  fmt::format("{}suppress_tokens is not an array of 32-bit integers", prefix));
  for (uint64_t i = 0; i < ids->count; ++i) {
    const int64_t id = ids->integer(i);
    if (id >= 0 && static_cast<uint64_t>(id) < vocabulary.spellings.size())
      vocabulary.suppressed.push_back(static_cast<int32_t>(id));
  }
  return ok();
}

/// The formats whose answers have several messages: harmony and Solar Open's. In both, <|end|> ends a
/// message only, and a call or a return ends the answer.
void find_frames(Vocabulary& vocabulary) {
  std::unordered_map<std::string_view, int32_t> found;
  for (int32_t id = 0; id < static_cast<int32_t>(vocabulary.spellings.size()); ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    if (spelling.starts_with("<|")) found.emplace(spelling, id);
  }
  const auto has = [&](const char* spelling) { return found.contains(spelling); };
  const bool harmony = has("<|return|>") && has("<|call|>");
  const bool solar = has("<|flush|>") && (has("<|calls|>") || has("<|call|>"));
  if (!has("<|end|>") || !(harmony || solar)) return;
  for (const char* frame : {"<|start|>", "<|channel|>", "<|constrain|>", "<|message|>", "<|end|>",
                            "<|begin|>", "<|think|>", "<|content|>"}) {
    if (!has(frame)) continue;
    const int32_t id = found[frame];
    vocabulary.types[id] = TokenType::control;
    vocabulary.ends_generation.erase(id);
    vocabulary.frames.insert(id);
  }
}

Status find_ends(const gguf::File& file, Vocabulary& vocabulary) {
  const auto count = static_cast<int32_t>(vocabulary.spellings.size());
  for (int32_t id = 0; id < count; ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    TokenType& type = vocabulary.types[id];
    const bool special = type == TokenType::control || type == TokenType::user_defined;
    const auto known = known_token(spelling);
    if (known && (special || !known->where_special)) {
      // Converters sometimes write another type; text must not reach these.
      type = TokenType::control;
      if (known->ends_generation) vocabulary.ends_generation.insert(id);
    }
  }
  for (const auto name : {"eos_token_id", "eot_token_id", "eom_token_id", "fim_pad_token_id",
                          "fim_rep_token_id", "fim_sep_token_id"}) {
    const auto id = read_id(file, name);
    if (!id) return id.error();
    if (*id >= 0) vocabulary.ends_generation.insert(*id);
  }
  find_frames(vocabulary);
  return ok();
}

/// Phi-3's special tokens swallow the white space after them. No key of a file says so: llama.cpp,
/// too, goes by the model's name.
Status find_strips(const gguf::File& file, Vocabulary& vocabulary) {
  const auto name = file.string_value("general.name");
  if (!name) return name.error();
  std::string lower(name->value_or(""));
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  const auto named = [&](std::string_view part) { return lower.find(part) != std::string::npos; };
  const bool phi3 = named("phi-3") || named("phi3");
  const std::string_view pre = vocabulary.rules != nullptr ? vocabulary.rules->name : "";
  const std::string_view mask = pre.starts_with("jina-v2-") ? "<mask>"
                                : named("modern-bert")      ? "[MASK]"
                                                            : "";
  if (!phi3 && mask.empty()) return ok();
  for (int32_t id = 0; id < static_cast<int32_t>(vocabulary.spellings.size()); ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    if (!vocabulary.special(id)) continue;
    const bool plain = spelling == "<unk>" || spelling == "<s>" || spelling == "<|endoftext|>";
    if (phi3 && !plain) vocabulary.strips_right.insert(id);
    if (spelling == mask) vocabulary.strips_left.insert(id);
  }
  return ok();
}

}  // namespace

Result<Vocabulary> read_vocabulary(const gguf::File& file) {
  Vocabulary vocabulary;
  if (const Status good = gguf::check_tokenizer(file); !good) return good.error();
  vocabulary.ids_outside = gguf::ids_outside(file);
  for (const auto step :
       {read_names, read_tokens, read_special_ids, read_suppressed, find_ends, find_strips}) {
    if (Status status = step(file, vocabulary); !status) return status.error();
  }
  return vocabulary;
}

}  // namespace assay::text
