#include "device/cuda/staging.h"

#include <algorithm>
#include <cstring>

namespace assay::cuda {

Staging::~Staging() {
  for (cudaEvent_t event : left_)
    if (event) cudaEventDestroy(event);
  if (memory_) cudaFreeHost(memory_);
}

cudaError_t Staging::open(cudaStream_t stream) {
  stream_ = stream;
  void* memory = nullptr;
  cudaError_t code = cudaMallocHost(&memory, (ring_segments + 1) * segment_bytes);
  memory_ = static_cast<uint8_t*>(memory);
  for (cudaEvent_t& event : left_)
    if (code == cudaSuccess) code = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
  return code;
}

/// An event that was never recorded counts as past: the first round waits for nothing.
cudaError_t Staging::next_segment() {
  if (const auto code = cudaEventRecord(left_[segment_], stream_); code != cudaSuccess) return code;
  segment_ = (segment_ + 1) % ring_segments;
  used_ = 0;
  return cudaEventSynchronize(left_[segment_]);
}

cudaError_t Staging::upload(uint64_t to, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    if (used_ == segment_bytes)
      if (const auto code = next_segment(); code != cudaSuccess) return code;
    const uint64_t count = std::min<uint64_t>(bytes.size(), segment_bytes - used_);
    uint8_t* from = memory_ + segment_ * segment_bytes + used_;
    std::memcpy(from, bytes.data(), count);
    const auto code =
        cudaMemcpyAsync(reinterpret_cast<void*>(to), from, count, cudaMemcpyHostToDevice, stream_);
    if (code != cudaSuccess) return code;
    used_ = std::min((used_ + count + 255) / 256 * 256, segment_bytes);
    to += count;
    bytes = bytes.subspan(count);
  }
  return cudaSuccess;
}

cudaError_t Staging::download(uint64_t from, std::span<uint8_t> bytes) {
  uint8_t* landing = memory_ + ring_segments * segment_bytes;
  do {  // once where there are no bytes: the wait is a part of it
    const uint64_t count = std::min<uint64_t>(bytes.size(), segment_bytes);
    cudaError_t code = cudaSuccess;
    if (count)
      code = cudaMemcpyAsync(landing, reinterpret_cast<const void*>(from), count,
                             cudaMemcpyDeviceToHost, stream_);
    if (code == cudaSuccess) code = cudaStreamSynchronize(stream_);
    if (code != cudaSuccess) return code;
    std::copy_n(landing, count, bytes.data());
    from += count;
    bytes = bytes.subspan(count);
  } while (!bytes.empty());
  return cudaSuccess;
}

}  // namespace assay::cuda
