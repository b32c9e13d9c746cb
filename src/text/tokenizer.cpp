#include "text/tokenizer.h"

#include <fmt/format.h>

#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"
#include "text/special.h"
#include "text/vocabulary.h"

namespace assay::text {

struct Tokenizer::Data {
  Vocabulary vocabulary;
  std::string pre_tokenizer_name;
  PreTokenizer pre_tokenizer;
  BytePairs pairs;
  SpecialTokens specials;
  Strings pieces;  // (tokens)

  bool known(Token token) const {
    return token >= 0 && static_cast<uint64_t>(token) < vocabulary.spellings.size();
  }
};

namespace {

bool spelled_as_text(TokenType type) {
  return type == TokenType::control || type == TokenType::user_defined ||
         type == TokenType::unknown;
}

SpecialTokens collect_specials(const Vocabulary& vocabulary) {
  SpecialTokens specials;
  for (uint64_t id = 0; id < vocabulary.spellings.size(); ++id) {
    const TokenType type = vocabulary.types[id];
    if (!spelled_as_text(type)) continue;
    specials.add(vocabulary.spellings[id], static_cast<Token>(id), type == TokenType::user_defined);
  }
  return specials;
}

Strings make_pieces(const Vocabulary& vocabulary) {
  Strings pieces;
  for (uint64_t id = 0; id < vocabulary.spellings.size(); ++id) {
    const std::string_view spelling = vocabulary.spellings[id];
    const auto bytes =
        spelled_as_text(vocabulary.types[id]) ? std::nullopt : bytes_of_letters(spelling);
    pieces.add(bytes ? std::string_view(*bytes) : spelling);
  }
  return pieces;
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Data> data) : data_(std::move(data)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const gguf::File& file) {
  auto vocabulary = read_vocabulary(file);
  if (!vocabulary) return vocabulary.error();

  // A control token comes from its spelling only, and only where special tokens are parsed: merges
  // of ordinary text must not reach it.
  std::vector<bool> usable;
  for (const TokenType type : vocabulary->types) usable.push_back(type != TokenType::control);
  auto pairs = BytePairs::build(vocabulary->spellings, usable, vocabulary->merges.strings);
  if (!pairs) return Error{fmt::format("{}: {}", file.path(), pairs.error().message)};

  SpecialTokens specials = collect_specials(*vocabulary);
  Strings pieces = make_pieces(*vocabulary);
  PreTokenizer pre_tokenizer(*vocabulary->rules);
  vocabulary->merges = {};  // views into the file, which may be closed before the tokenizer
  std::string name(vocabulary->rules->name);
  return Tokenizer(
      std::make_unique<Data>(Data{std::move(*vocabulary), std::move(name), std::move(pre_tokenizer),
                                  std::move(*pairs), std::move(specials), std::move(pieces)}));
}

uint64_t Tokenizer::vocabulary_size() const {
  return data_->vocabulary.spellings.size();
}
bool Tokenizer::adds_bos() const {
  return data_->vocabulary.adds_bos;
}
Token Tokenizer::bos() const {
  return data_->vocabulary.bos;
}
Token Tokenizer::eos() const {
  return data_->vocabulary.eos;
}
bool Tokenizer::ends_generation(Token token) const {
  return data_->vocabulary.ends_generation.contains(token);
}
const std::string& Tokenizer::model() const {
  return data_->vocabulary.model;
}
const std::string& Tokenizer::pre_tokenizer() const {
  return data_->pre_tokenizer_name;
}

std::vector<Token> Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  std::vector<Token> tokens;
  if (options.add_bos && adds_bos()) tokens.push_back(bos());
  const bool whole_words = data_->vocabulary.rules->whole_words;
  for (const Fragment& fragment : data_->specials.split(text, options.parse_special)) {
    if (fragment.token >= 0) {
      tokens.push_back(fragment.token);
      continue;
    }
    for (const std::string_view word : data_->pre_tokenizer.split(fragment.text)) {
      const Token whole = whole_words ? data_->pairs.whole(word) : -1;
      if (whole >= 0) {
        tokens.push_back(whole);
      } else {
        data_->pairs.encode(word, tokens);
      }
    }
  }
  return tokens;
}

std::string_view Tokenizer::piece(Token token) const {
  return data_->known(token) ? data_->pieces[token] : std::string_view();
}

bool Tokenizer::is_control(Token token) const {
  return data_->known(token) && data_->vocabulary.types[token] == TokenType::control;
}

std::string_view Tokenizer::spelling(Token token) const {
  return data_->known(token) ? data_->vocabulary.spellings[token] : std::string_view();
}

}  // namespace assay::text
