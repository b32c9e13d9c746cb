// The prompt of the commands that run one: text or token ids.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "run/model.h"

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
/// Whether exactly one of text and tokens is given: to be asked before a model is loaded.
assay::Status check_prompt(const PromptFlags& flags);
