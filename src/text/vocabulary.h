// What the `tokenizer.ggml.*` keys of a file say, checked.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_set>
#include <vector>

#include "gguf/file.h"
#include "text/pre_tokenizer.h"
#include "text/strings.h"

namespace assay::text {

/// tokenizer.ggml.token_type
enum class TokenType : int32_t {
  undefined = 0,
  normal = 1,
  unknown = 2,
  control = 3,
  user_defined = 4,
  unused = 5,
  byte = 6
};

enum class TokenizerModel { byte_pairs, sentence_pieces, best_path };

struct Vocabulary {
  TokenizerModel model = TokenizerModel::byte_pairs;
  std::string model_name;                    ///< "gpt2", "gemma4", "llama", "plamo2"
  const PreTokenizerRules* rules = nullptr;  ///< of byte pairs only: never null there
  bool names_rules = true;                   ///< false: `rules` are the default for want of a name
  Strings spellings;                         ///< (tokens)
  std::vector<TokenType> types;              ///< (tokens)
  std::vector<float> scores;                 ///< (tokens) for all but byte pairs
  gguf::Array merges;  ///< for byte pairs: strings "LEFT RIGHT", in the order of their rank
  int32_t bos = -1, eos = -1, unknown = -1;  ///< -1: none
  bool adds_bos = false, adds_eos = false;
  bool adds_space_prefix = false;  ///< sentence pieces: a space before text that begins or follows
                                   ///< a special token
  std::string ids_outside;         ///< as gguf::ids_outside says
  std::unordered_set<int32_t> ends_generation;
  std::vector<int32_t> suppressed;     ///< ids that are never to be drawn
  std::unordered_set<int32_t> frames;  ///< control tokens that stand between the parts of an answer
  std::unordered_set<int32_t> strips_left, strips_right;  ///< see SpecialToken

  bool special(int32_t token) const {
    const TokenType type = types[static_cast<uint64_t>(token)];
    return type == TokenType::control || type == TokenType::user_defined ||
           type == TokenType::unknown;
  }
};

/// `merges` points into the file. Errors: as Tokenizer::open.
Result<Vocabulary> read_vocabulary(const gguf::File& file);

}  // namespace assay::text
