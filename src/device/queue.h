// A device as an ordered queue of copies and kernel launches: the second of the two virtual
// interfaces. Entries run in order, and each one sees all effects of those before it.
#pragma once

#include <cassert>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "lang/lang.h"

namespace assay::device {

/// An address in the device's memory, as kernels see it: arguments hold it as a pointer. 0: none.
using Address = uint64_t;

/// A kernel by name, its grid of workgroups and the bytes of its arguments, which the caller owns.
/// A workgroup has a multiple of 32 threads, at most 1024. launch_of() makes a launch from a
/// kernel's handle.
struct Launch {
  std::string_view kernel;
  uint32_t groups_x = 1, groups_y = 1;
  uint32_t group_size = 32;
  std::span<const uint8_t> args;
};

/// A launch in workgroups of as many threads as the kernel takes. `kernel` is a handle: kernels::x
/// of kernel/….h. Arguments of another kernel do not compile.
template <class Kernel>
Launch launch_of(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y,
                 const typename Kernel::Args& args) {
  const std::span bytes(reinterpret_cast<const uint8_t*>(&args), sizeof args);
  return {kernel.name, groups_x, groups_y, Kernel::threads, bytes};
}
/// A kernel whose launch chooses the threads per workgroup, up to the kernel's maximum.
template <class Kernel>
concept TakesThreads = !Kernel::exactly;
/// The same in workgroups of `threads` threads, for such a kernel.
template <TakesThreads Kernel>
Launch launch_of(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y, uint32_t threads,
                 const typename Kernel::Args& args) {
  assert(threads > 0 && threads % 32 == 0 && threads <= Kernel::threads);
  Launch launch = launch_of(kernel, groups_x, groups_y, args);
  launch.group_size = threads;
  return launch;
}

/// Errors carry Exit::device and name the device. After a failed launch or wait the queue is
/// broken, and every later call returns that error again. Only one thread may use a queue at a
/// time.
class Queue {
 public:
  virtual ~Queue() = default;

  /// "NVIDIA H100 80GB HBM3 (sm_90)", "emulated grid": for people.
  virtual std::string name() const = 0;
  /// The bytes that allocate() could give now, and the device's total.
  struct Memory {
    uint64_t free = 0, total = 0;
  };
  virtual Memory memory() const = 0;

  /// Memory of the device, aligned to 256 bytes, not initialised. Freed with the queue.
  virtual Result<Address> allocate(uint64_t bytes) = 0;
  /// Copies to the device; the span may be reused when the call returns.
  virtual Status upload(Address to, std::span<const uint8_t> bytes) = 0;
  /// Waits for all that was queued, then copies from the device.
  virtual Status download(Address from, std::span<uint8_t> bytes) = 0;
  /// Queues a kernel. Errors: an unknown name, arguments of another size than the kernel's.
  virtual Status launch(const Launch& launch) = 0;
  /// Waits for all that was queued. Errors: what a kernel did wrong.
  virtual Status wait() = 0;

  /// From here until end_recording(), launches are kept instead of run. Only one recording at a
  /// time; only launches may be queued meanwhile.
  virtual Status begin_recording() = 0;
  /// Returns a handle of the kept launches, for replay().
  virtual Result<uint32_t> end_recording() = 0;
  /// Queues a recording's launches, with the arguments they were recorded with.
  virtual Status replay(uint32_t recording) = 0;
};

}  // namespace assay::device
