#include <fmt/format.h>

#include "device/cuda/queue.h"
#include "device/cuda/runtime.h"

namespace assay::cuda {

Error failure(const std::string& name, cudaError_t code, const std::string& what) {
  return {fmt::format("{}: {} ({}) when {}", name, cudaGetErrorName(code), cudaGetErrorString(code),
                      what),
          Exit::device};
}

std::string size_text(uint64_t bytes) {
  constexpr double mib = 1 << 20, gib = 1 << 30;
  if (bytes < 1 << 20) return fmt::format("{} bytes", bytes);
  if (double(bytes) < gib) return fmt::format("{:.1f} MiB", double(bytes) / mib);
  return fmt::format("{:.2f} GiB", double(bytes) / gib);
}

namespace {

/// "13.0" of 13000.
std::string version_text(int version) {
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

/// Why there is no device to count.
Error no_device(cudaError_t code) {
  int driver = 0;
  cudaDriverGetVersion(&driver);  // 0 where no driver is installed
  std::string why;
  if (driver == 0)
    why = "no NVIDIA driver is installed (libcuda.so.1 was not found)";
  else if (code == cudaErrorInsufficientDriver)
    why = fmt::format("the NVIDIA driver is too old: it has CUDA {}, this build needs {}",
                      version_text(driver), version_text(CUDART_VERSION));
  else if (code == cudaSuccess || code == cudaErrorNoDevice)
    why = fmt::format("the NVIDIA driver (CUDA {}) sees no GPU", version_text(driver));
  else
    return failure("no CUDA device", code, "counting the GPUs");
  return {"no CUDA device: " + why, Exit::device};
}

}  // namespace
}  // namespace assay::cuda

namespace assay::device {

Result<std::vector<CudaDevice>> cuda_devices() {
  int count = 0;
  const cudaError_t code = cudaGetDeviceCount(&count);
  if (code != cudaSuccess || count == 0) return cuda::no_device(code);
  std::vector<CudaDevice> devices;
  for (int i = 0; i < count; ++i) {
    cudaDeviceProp properties;
    if (const cudaError_t bad = cudaGetDeviceProperties(&properties, i); bad != cudaSuccess)
      return cuda::failure(fmt::format("cuda:{}", i), bad, "reading its properties");
    devices.push_back({properties.name, uint32_t(properties.major * 10 + properties.minor),
                       properties.totalGlobalMem});
  }
  return devices;
}

}  // namespace assay::device
