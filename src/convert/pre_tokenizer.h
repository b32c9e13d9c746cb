// Which name of tokenizer.ggml.pre cuts as a tokenizer.json does.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "base/result.h"

namespace assay::convert {

/// The name of rules in text/pre_tokenizer_rules.cpp. `whole_words`: the model's ignore_merges.
/// Errors: no rules cut so (shows the steps of the pre-tokenizer).
Result<std::string> pre_tokenizer_name(const nlohmann::json& pre_tokenizer, bool whole_words);

/// True where bytes are spelled as GPT-2's letters: a step ByteLevel.
bool is_byte_level(const nlohmann::json& pre_tokenizer);

}  // namespace assay::convert
