// The prompt of the commands that run one: text or token ids.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "run/model.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

struct PromptFlags {
  std::optional<std::string> text, tokens;
  bool no_parse_special = false, no_bos = false;

  bool given() const { return text || tokens; }
};
void add_prompt_flags(CLI::App& command, PromptFlags& flags);

/// Errors: both or neither given, no tokens, what the tokenizer refuses. With --tokens the
/// tokenizer is not opened.
assay::Result<std::vector<int32_t>> read_prompt(const PromptFlags& flags,
                                                const assay::run::Model& model);
/// The tokens of a text that a person gave, as every command reads it. What they should know of it
/// goes to stderr as warnings: bytes without a token, bytes that are not UTF-8, a second BOS.
std::vector<int32_t> encode_text(const assay::text::Tokenizer& tokenizer, std::string_view text,
                                 const assay::text::EncodeOptions& options);
/// The same warnings for the texts of messages, in which a chat template replaces bytes that are
/// not UTF-8.
void warn_of_messages(const assay::text::Tokenizer& tokenizer,
                      const nlohmann::ordered_json& messages);
/// Notes on stderr if the template ends each answer by a token that the file does not know as an
/// end of generation, unless one of the stop strings does.
void note_turn_end(const assay::text::Tokenizer& tokenizer, const assay::text::ChatTemplate& chat,
                   const std::vector<std::string>& stops);
/// Whether exactly one of text and tokens is given: to be asked before a model is loaded.
assay::Status check_prompt(const PromptFlags& flags);
