#include "text/tokenizer.h"

#include <fmt/format.h>

#include <optional>
#include <variant>

#include "gguf/reader.h"
#include "text/best_path.h"
#include "text/bpe.h"
#include "text/byte_level.h"
#include "text/pre_tokenizer.h"
#include "text/sentence_pieces.h"
#include "text/special.h"
#include "text/spelling.h"
#include "text/vocabulary.h"

namespace assay::text {

/// A pre-tokenizer cuts, byte pairs merge inside the cuts.
struct BytePairModel {
  PreTokenizer pre_tokenizer;
  BytePairs pairs;
  const PreTokenizerRules* rules;

  void encode(std::string_view text, std::vector<Token>& tokens, LostBytes& lost) const {
    const std::string letters = rules->raw ? with_space_letters(text) : std::string();
    if (rules->raw) text = letters;
    for (const std::string_view word : pre_tokenizer.split(text)) {
      const bool as_one = rules->whole_words || (rules->whole_line_ends && word[0] == '\n');
      const Token whole = as_one ? pairs.whole(word) : -1;
      if (whole >= 0) {
        tokens.push_back(whole);
      } else {
        pairs.encode(word, tokens, lost);
      }
    }
  }
};

using Model = std::variant<BytePairModel, SentencePieces, BestPath>;

struct Tokenizer::Data {
  Vocabulary vocabulary;
  std::string pre_tokenizer_name;
  Model model;
  SpecialTokens specials;
  Strings pieces;  // (tokens)

  bool known(Token token) const {
    return token >= 0 && static_cast<uint64_t>(token) < vocabulary.spellings.size();
  }
};

namespace {

Result<SpecialTokens> collect_specials(const Vocabulary& vocabulary) {
  SpecialTokens specials;
  for (Token id = 0; id < static_cast<Token>(vocabulary.spellings.size()); ++id) {
    if (!vocabulary.special(id)) continue;
    const SpecialToken special{id, vocabulary.types[id] == TokenType::user_defined,
                               vocabulary.strips_left.contains(id),
                               vocabulary.strips_right.contains(id)};
    const Token before = specials.add(vocabulary.spellings[id], special);
    if (before < 0) continue;
    return Error{fmt::format("special tokens {} and {} have the same spelling '{}'", before, id,
                             gguf::printable(vocabulary.spellings[id]))};
  }
  return specials;
}

std::string piece_of(const Vocabulary& vocabulary, Token token) {
  const std::string_view spelling = vocabulary.spellings[token];
  if (vocabulary.special(token)) return std::string(spelling);
  const bool pairs = vocabulary.model == TokenizerModel::byte_pairs;
  if (pairs && !vocabulary.rules->raw)
    return bytes_of_letters(spelling).value_or(std::string(spelling));
  if (vocabulary.types[token] == TokenType::byte)
    return std::string(1, static_cast<char>(byte_of_spelling(spelling)));
  return vocabulary.model == TokenizerModel::best_path ? std::string(spelling)
                                                       : with_spaces(spelling);
}

Result<Model> make_model(const Vocabulary& vocabulary) {
  if (vocabulary.model == TokenizerModel::sentence_pieces) {
    auto pieces = SentencePieces::build(vocabulary);
    if (!pieces) return pieces.error();
    return Model(std::move(*pieces));
  }
  if (vocabulary.model == TokenizerModel::best_path) {
    auto path = BestPath::build(vocabulary);
    if (!path) return path.error();
    return Model(std::move(*path));
  }
  const PreTokenizerRules& rules = *vocabulary.rules;
  // A control token comes from its spelling only, and only where special tokens are parsed: merges
  // of ordinary text must not reach it. Nor must they reach a byte's token by its spelling.
  std::vector<bool> usable;
  for (const TokenType type : vocabulary.types)
    usable.push_back(type != TokenType::control && !(rules.raw && type == TokenType::byte));
  std::optional<ByteTokens> bytes;
  if (rules.raw) {
    const auto tokens = byte_tokens(vocabulary);
    if (!tokens) return tokens.error();
    bytes = *tokens;
  }
  auto pairs = BytePairs::build(vocabulary.spellings, usable, vocabulary.merges.strings, bytes);
  if (!pairs) return pairs.error();
  return Model(BytePairModel{PreTokenizer(rules), std::move(*pairs), &rules});
}

}  // namespace

Tokenizer::Tokenizer(std::unique_ptr<Data> data) : data_(std::move(data)) {}
Tokenizer::Tokenizer(Tokenizer&&) noexcept = default;
Tokenizer& Tokenizer::operator=(Tokenizer&&) noexcept = default;
Tokenizer::~Tokenizer() = default;

Result<Tokenizer> Tokenizer::open(const gguf::File& file) {
  auto vocabulary = read_vocabulary(file);
  if (!vocabulary) return vocabulary.error();
  const auto refuse = [&](const Error& error) {
    return Error{fmt::format("{}: {}", file.path(), error.message)};
  };
  auto model = make_model(*vocabulary);
  if (!model) return refuse(model.error());
  auto specials = collect_specials(*vocabulary);
  if (!specials) return refuse(specials.error());
  Strings pieces;
  for (Token id = 0; id < static_cast<Token>(vocabulary->spellings.size()); ++id) {
    pieces.add(piece_of(*vocabulary, id));
  }
  vocabulary->merges = {};  // views into the file, which may be closed before the tokenizer
  std::string name(vocabulary->rules != nullptr ? vocabulary->rules->name : "");
  return Tokenizer(
      std::make_unique<Data>(Data{std::move(*vocabulary), std::move(name), std::move(*model),
                                  std::move(*specials), std::move(pieces)}));
}

uint64_t Tokenizer::vocabulary_size() const {
  return data_->vocabulary.spellings.size();
}
bool Tokenizer::adds_bos() const {
  return data_->vocabulary.adds_bos;
}
bool Tokenizer::adds_eos() const {
  return data_->vocabulary.adds_eos;
}
bool Tokenizer::adds_space_prefix() const {
  return data_->vocabulary.adds_space_prefix;
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
const std::vector<Token>& Tokenizer::suppressed() const {
  return data_->vocabulary.suppressed;
}
const std::string& Tokenizer::model() const {
  return data_->vocabulary.model_name;
}
const std::string& Tokenizer::pre_tokenizer() const {
  return data_->pre_tokenizer_name;
}

bool Tokenizer::names_pre_tokenizer() const {
  return data_->vocabulary.names_rules;
}

const std::string& Tokenizer::ids_outside() const {
  return data_->vocabulary.ids_outside;
}

Encoded Tokenizer::encode_counting(std::string_view text, const EncodeOptions& options) const {
  Encoded encoded;
  auto& [tokens, lost] = encoded;
  if (options.add_bos && adds_bos()) tokens.push_back(bos());
  for (const Fragment& fragment :
       data_->specials.split(text, options.parse_special, options.plain)) {
    if (fragment.token >= 0) {
      tokens.push_back(fragment.token);
    } else {
      // Ordinary text begins the input or follows a special token: two never stand side by side.
      std::string prefixed(adds_space_prefix() ? 1 : 0, ' ');
      prefixed.append(fragment.text);
      std::visit([&](const auto& model) { model.encode(prefixed, tokens, lost); }, data_->model);
    }
  }
  if (options.add_eos && adds_eos()) tokens.push_back(eos());
  return encoded;
}

std::string Tokenizer::decode(std::span<const Token> tokens) const {
  if (!tokens.empty() && adds_bos() && tokens.front() == bos()) tokens = tokens.subspan(1);
  std::string text;
  for (const Token token : tokens) text += piece(token);
  if (adds_space_prefix() && text.starts_with(' ')) text.erase(0, 1);
  return text;
}

std::string_view Tokenizer::piece(Token token) const {
  return data_->known(token) ? data_->pieces[token] : std::string_view();
}

bool Tokenizer::is_frame(Token token) const {
  return data_->vocabulary.frames.contains(token);
}

bool Tokenizer::is_control(Token token) const {
  return data_->known(token) && data_->vocabulary.types[token] == TokenType::control;
}

std::string_view Tokenizer::spelling(Token token) const {
  return data_->known(token) ? data_->vocabulary.spellings[token] : std::string_view();
}

}  // namespace assay::text
