// The weights that a trace is judged by: a GGUF file, or what `assay convert` makes of a Hugging Face folder.
#pragma once

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "base/result.h"
#include "gguf/file.h"
#include "temporary.h"
#include "trace/name_map.h"

struct Weights {
  std::string path;                       ///< of the file or the folder
  std::optional<TemporaryFolder> folder;  ///< of a file that was made; it goes with it
  assay::gguf::File file;
};

/// The file at the path; of a folder a GGUF file that holds its weights as they are, for as long as the
/// result lives. Errors: as gguf::File::open; as convert::convert.
assay::Result<Weights> open_weights(const std::string& path);

/// --names: the file that says what a trace's own names are.
void add_names_flag(CLI::App& command, std::string& path);
/// That file; empty where there is no path.
assay::Result<assay::trace::NameMap> read_names(const std::string& path);
