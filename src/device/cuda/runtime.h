// What the parts of the device cuda share: the runtime's errors as sentences, the GPUs' numbers.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "base/result.h"

namespace assay::cuda {

/// "NAME: cudaErrorX (its description) when WHAT", Exit::device.
Error failure(const std::string& name, cudaError_t code, const std::string& what);

/// "1.50 GiB", "12.0 MiB", "100 bytes".
std::string size_text(uint64_t bytes);

}  // namespace assay::cuda
