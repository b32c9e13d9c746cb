// A conversation as token ids.
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "base/result.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace assay::text {

/// Renders `messages` (an array of {"role", "content", …}) with the generation prompt and encodes
/// the text. Special tokens are parsed in what the template wrote only: a message that spells
/// `<|im_end|>` gets the plain tokens of these letters. One BOS: the template's, or the file's rule
/// where the template writes none. Templates see an invisible letter before such a spelling, so a
/// template that compares or measures these messages may see a difference. Errors: what the
/// template refuses, by its line.
Result<std::vector<Token>> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                       const nlohmann::ordered_json& messages,
                                       const ChatOptions& options = {});

}  // namespace assay::text
