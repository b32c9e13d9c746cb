// From a checked GGUF file to a program: hyper-parameters read and bounded, every tensor's shape
// checked.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "op/program.h"

namespace assay::model {

/// Whose reading of a file: the model's own code's, or llama.cpp's where it departs
/// (departures.h).
enum class Reading { own, llama_cpp };

/// Builds the program of the file's architecture; its weights are views of the file. `context` is
/// the most positions that a sequence will have; 0 means the trained context. It chooses between
/// long and short RoPE factors, never the present length: or bits would depend on how a prompt is
/// cut. Errors: unknown architecture (names the supported ones), hyper-parameter missing or out of
/// bounds, a key whose meaning is not implemented (keys.h), a context beyond a table of positions,
/// tensor missing, unused or of wrong shape (name, wanted, found), format not supported.
Result<op::Program> build(const gguf::File& file, uint32_t context = 0,
                          Reading reading = Reading::own);

/// Sentences for people on how a file is read: what a context limit chooses, and where assay
/// departs from llama.cpp. Empty for a file that does not run.
std::vector<std::string> remarks(const gguf::File& file);

/// The architectures in list.cpp.
std::vector<std::string> architectures();

}  // namespace assay::model
