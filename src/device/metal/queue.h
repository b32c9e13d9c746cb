// Apple's GPUs as a device: kernels compiled from the text in the program, run by Metal.
#pragma once

#include <memory>

#include "base/result.h"
#include "device/queue.h"

namespace assay::metal {

/// The system's GPU, with all kernels compiled. Errors (exit 3): a build without Metal, no GPU, one
/// older than the M1's, a kernel that the system's Metal compiler refuses.
Result<std::unique_ptr<device::Queue>> make_metal_queue();

}  // namespace assay::metal
