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
/// `<|im_end|>` gets the plain tokens of these letters, whatever the template does to them. One BOS:
/// the template's, or the file's rule where the template writes none. Errors: what the template
/// refuses, by its line; a template that leaves out the user's last message.
Result<std::vector<Token>> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                       const nlohmann::ordered_json& messages,
                                       const ChatOptions& options = {});

}  // namespace assay::text
