// Proves, before anything else runs, that a device's compiler has not changed f32 arithmetic.
#pragma once

#include "base/result.h"
#include "device/queue.h"

namespace assay::device {

/// Runs the kernel `probe` over numbers of all sizes, NaN and infinity, and compares with the host.
/// Errors (exit 3): what the device computed otherwise, with the numbers.
Status prove_arithmetic(Queue& queue);

}  // namespace assay::device
