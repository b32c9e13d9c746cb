// A stand-in for the CUDA runtime over the emulated grid, so that the queue's own logic is tested
// where there is no GPU. Whatever is queued runs as late as CUDA allows: only at a wait.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace assay::tests {

/// The machine that the runtime tells of.
struct Machine {
  cudaError_t counting = cudaSuccess;  ///< what counting the GPUs gives
  int gpus = 1;
  int driver = CUDART_VERSION;  ///< 0: none is installed
  int capability = 90;
  uint64_t memory = 3ull << 30;
  int ptx = 90;  ///< what the kernels were compiled for
  uint64_t overlapping =
      0;  ///< launches and edges of graphs that may begin before what they follow ends
};

/// Changed by tests; each starts from Machine{}.
Machine& machine();

}  // namespace assay::tests
