// What a chat template writes after an answer, and whether generation ends there.
#pragma once

#include <string>

#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace assay::text {

/// The spelling that the template puts behind each answer, like "<|im_end|>", if it is not a token
/// that ends generation: a model that learned this template writes it and goes on. Empty where it
/// is one or a frame, where no such spelling follows an answer, and where the template refuses the
/// question.
std::string unknown_turn_end(const Tokenizer& tokenizer, const ChatTemplate& chat);

}  // namespace assay::text
