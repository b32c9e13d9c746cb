// The tokens of a tokenizer.json.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/result.h"

namespace assay::convert {

/// What tokenizer.ggml.* say of a vocabulary.
struct Vocabulary {
  std::string model;  ///< "gpt2", "llama"
  std::string pre;    ///< of gpt2: a name of text/pre_tokenizer_rules.cpp; else "default"
  std::vector<std::string> tokens;
  std::vector<int32_t> types;                       ///< text::TokenType
  std::vector<float> scores;                        ///< of llama; else empty
  std::vector<std::string> merges;                  ///< of gpt2: "LEFT RIGHT"; else empty
  bool adds_space_prefix = false;                   ///< of llama
  std::map<std::string, int32_t, std::less<>> ids;  ///< of each token's text in tokenizer.json
};

/// `configuration` is tokenizer_config.json, an empty object where there is none; `size` the
/// model's vocabulary, 0: as many as there are tokens. Errors and notes: see add_tokenizer().
Result<Vocabulary> read_vocabulary(const nlohmann::json& tokenizer,
                                   const nlohmann::json& configuration, uint32_t size,
                                   std::vector<std::string>& notes);

}  // namespace assay::convert
