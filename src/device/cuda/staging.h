// Pinned host memory between the caller's memory and the device's: copies from it are
// asynchronous, and the caller's span is free when a copy has been queued.
#pragma once

#include <cuda_runtime_api.h>

#include <array>
#include <cstdint>
#include <span>

namespace assay::cuda {

/// A ring of segments for uploads and one segment for downloads, on one stream. Small uploads fill
/// a segment one after another. A copy waits only when the ring comes back to a segment whose
/// earlier copies have not ended, so a decode loop, with some kilobytes per step, never waits.
class Staging {
 public:
  ~Staging();
  Staging() = default;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  cudaError_t open(cudaStream_t stream);
  /// Queues the copy of `bytes` to the device address `to`.
  cudaError_t upload(uint64_t to, std::span<const uint8_t> bytes);
  /// Waits for the stream and copies from the device address `from`.
  cudaError_t download(uint64_t from, std::span<uint8_t> bytes);

 private:
  cudaError_t next_segment();

  static constexpr uint64_t segment_bytes = 4 << 20;
  static constexpr uint32_t ring_segments = 8;

  cudaStream_t stream_ = nullptr;
  uint8_t* memory_ = nullptr;                         // the ring, then the segment for downloads
  std::array<cudaEvent_t, ring_segments> left_ = {};  // when a segment's copies have been made
  uint32_t segment_ = 0;
  uint64_t used_ = 0;  // bytes of the segment
};

}  // namespace assay::cuda
