// `assay guide`: the guide for coding agents, as a folder.
#pragma once

#include <CLI/CLI.hpp>
#include <span>
#include <string_view>

struct GuidePage {
  std::string_view name, text;
};
/// The pages of docs/agents as they were when this program was built (scripts/embed_guide.py).
std::span<const GuidePage> guide_pages();

/// Registers `assay guide`; on use it sets the exit code.
void add_guide(CLI::App& app, int& exit_code);
