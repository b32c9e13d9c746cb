// A stand-in for Metal behind src/device/metal/calls.h: kernels run on the emulated grid, as late
// and in as wrong an order as the queue's barriers, fences and waits allow.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "device/metal/calls.h"

namespace assay::metal::fake {

/// What a machine is like, and what goes wrong on it.
struct Machine {
  bool has_gpu = true;
  bool residency_sets = true;  ///< macOS 15 and later
  DeviceFacts facts{"Fake M9", "macOS 15.1.0", true, true, 64 << 20, 32 << 20};
  bool gives_buffers = true;
  std::string compile_error;  ///< what the compiler prints about a text that has `refused_text`
  std::string refused_text;
  std::string pipeline_error;  ///< of every pipeline
  uint32_t most_threads = 1024;
  uint32_t simd_width = 32;
  uint32_t faulty_commands = 0;  ///< the command buffer that faults half-way, counted from 1
  Fault fault = Fault::none;
};

/// One call that matters to the order of things: "commit", "wait", "dispatch rms_norm", "copy",
/// "use 3", "resident 2".
using Log = std::vector<std::string>;

/// Of the dispatches that ran, in the order in which they ran.
struct Ran {
  std::string kernel;
  uint32_t groups_x, groups_y, group_size;
  std::vector<uint8_t> args;
};

struct World {
  Machine machine;
  Log log;
  std::vector<Ran> ran;
  std::vector<std::string> misuse;  ///< what Metal's own checks would stop at
  uint64_t live_objects = 0;
  uint64_t allocated = 0;
};

World& world();
/// Forgets all; there must be no live objects.
void reset();
uint64_t count(const std::string& entry);

}  // namespace assay::metal::fake
