// The chat template that a command uses: the model file's, or the one that --chat-template names.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "gguf/file.h"
#include "text/chat_template.h"

/// --chat-template NAME|FILE.
CLI::Option* add_chat_template_flag(CLI::App& command, std::optional<std::string>& flag);

/// The template of that flag, or else the file's. Notes on stderr: the file has only the name of
/// one; the template leaves out the text of --system.
assay::Result<assay::text::ChatTemplate> open_chat_template(
    const assay::gguf::File& file, const std::optional<std::string>& flag,
    const std::optional<std::string>& system);

/// What to tell the template of --system: an empty one switches off the template's own, too.
assay::text::ChatOptions chat_options(const std::optional<std::string>& system);
