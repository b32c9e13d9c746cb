// Where llama.cpp reads a file otherwise than the model's own code, and assay follows the latter
// (docs/models.md has the list in words). The judge of a trace of llama.cpp takes llama.cpp's
// reading, so that nobody is blamed.
#pragma once

#include <string>
#include <vector>

#include "gguf/file.h"
#include "model/architecture.h"

namespace assay::model {

/// The traits as llama.cpp has them.
Architecture as_llama_cpp_reads(const Architecture& architecture);

/// A sentence without a full stop for each departure that touches a file, in a context of which
/// `positions` are used. Empty for a file that does not run.
std::vector<std::string> departures_of(const gguf::File& file, uint32_t context,
                                       uint32_t positions);

}  // namespace assay::model
