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

struct Vocabulary {
  std::string model;                         ///< "gpt2"
  const PreTokenizerRules* rules = nullptr;  ///< never null in a vocabulary that was read
  Strings spellings;                         ///< (tokens)
  std::vector<TokenType> types;              ///< (tokens)
  gguf::Array merges;                        ///< strings "LEFT RIGHT", in the order of their rank
  int32_t bos = -1, eos = -1;                ///< -1: none
  bool adds_bos = false;
  std::unordered_set<int32_t> ends_generation;
};

/// `merges` points into the file. Errors: as Tokenizer::open.
Result<Vocabulary> read_vocabulary(const gguf::File& file);

}  // namespace assay::text
