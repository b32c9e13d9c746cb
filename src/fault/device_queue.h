// Faults that only a device can have, seeded at its queue: they run on every queue (emulated,
// CUDA).
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "device/queue.h"

namespace assay::fault {

/// A fault's name, which is its cause's, too, and its row in the catalogue.
struct DeviceFault {
  std::string_view name;
  int row;
};
const std::vector<DeviceFault>& device_faults();

/// No cause of a wrong number: the device is gone after 100 launches.
inline constexpr std::string_view device_lost = "device-lost";

/// A queue that passes all on to `inner` but what the fault alters. Errors: an unknown name.
Result<std::unique_ptr<device::Queue>> make_faulty_queue(std::unique_ptr<device::Queue> inner,
                                                         std::string_view fault);

}  // namespace assay::fault
