// From a checked GGUF file to a program: hyper-parameters read and bounded, every tensor's shape
// checked.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "op/program.h"

namespace assay::model {

/// Builds the program of the file's architecture; its weights are views of the file. Errors:
/// unknown architecture (names the supported ones), hyper-parameter missing or out of bounds,
/// tensor missing, unused or of wrong shape (name, wanted, found), format not supported.
Result<op::Program> build(const gguf::File& file);

/// The architectures in list.cpp.
std::vector<std::string> architectures();

}  // namespace assay::model
