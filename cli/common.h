// What the subcommands share: names of models, errors, escaping.
#pragma once

#include <string>

#include "base/result.h"

namespace assay::cli {}

/// A path as it stands, or the file of a known model in the cache; "" is the default model.
/// Errors: no such file, a known model that has not been fetched (says how to fetch it).
assay::Result<std::string> resolve_model(const std::string& name_or_path);

/// Prints `assay: SENTENCE` to stderr and returns the exit code.
int report(const assay::Error& error);
