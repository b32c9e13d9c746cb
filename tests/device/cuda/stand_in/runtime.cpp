#include "runtime.h"

#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <string_view>
#include <vector>

#include "device/cuda/kernels.h"
#include "device/emulated/grid.h"
#include "device/emulated/kernels.h"

namespace assay::tests {

Machine& machine() {
  static Machine one;
  return one;
}

}  // namespace assay::tests

namespace assay::cuda {

/// The emulated grid's kernels; the entry stands for CUDA's function.
const std::vector<Kernel>& all_kernels() {
  static const std::vector<Kernel> kernels = [] {
    std::vector<Kernel> all;
    for (const KernelEntry* entry : emulated::all_kernels())
      all.push_back({entry->name, entry->args_bytes, entry});
    return all;
  }();
  return kernels;
}

}  // namespace assay::cuda

// The runtime's handles point to these.
struct CUstream_st {
  std::deque<std::function<cudaError_t()>> queued;
  uint64_t done = 0;
};
struct CUevent_st {
  CUstream_st* stream = nullptr;
  uint64_t place = 0;  // in the stream: how many were queued before
};
struct CUgraphNode_st {
  const assay::KernelEntry* kernel;
  dim3 grid, group;
  std::vector<uint8_t> args;
};
struct CUgraph_st {
  std::deque<CUgraphNode_st> nodes;
  size_t edges = 0;
};
struct CUgraphExec_st {
  std::deque<CUgraphNode_st> nodes;
};

namespace {

cudaError_t fault = cudaSuccess;  // of a kernel; every later call gives it
std::map<uintptr_t, uint64_t> blocks;
uint64_t used = 0;

/// Runs what stands before `place` in the stream.
cudaError_t run_until(CUstream_st& stream, uint64_t place) {
  while (stream.done < place && fault == cudaSuccess) {
    fault = stream.queued.front()();
    stream.queued.pop_front();
    ++stream.done;
  }
  return fault;
}

cudaError_t queue(cudaStream_t stream, std::function<cudaError_t()> work) {
  if (fault == cudaSuccess) stream->queued.push_back(std::move(work));
  return fault;
}

/// `add` reads its first argument: null there is the fault that a test makes.
cudaError_t run(const CUgraphNode_st& node) {
  uint64_t first = 0;
  std::memcpy(&first, node.args.data(), sizeof first);
  if (first == 0 && std::string_view(node.kernel->name) == "add") return cudaErrorIllegalAddress;
  const assay::emulated::Grid grid{node.grid.x, node.grid.y, node.group.x};
  const auto done = assay::emulated::run_grid(*node.kernel, grid, node.args.data(), {});
  return done ? cudaSuccess : cudaErrorLaunchFailure;
}

CUgraphNode_st node_of(const void* function, dim3 grid, dim3 group, void** args) {
  const auto* kernel = static_cast<const assay::KernelEntry*>(function);
  const auto* bytes = static_cast<const uint8_t*>(args[0]);
  return {kernel, grid, group, {bytes, bytes + kernel->args_bytes}};
}

bool inside_a_block(const void* address, uint64_t bytes) {
  const auto at = reinterpret_cast<uintptr_t>(address);
  auto after = blocks.upper_bound(at);
  return after != blocks.begin() && at + bytes <= (--after)->first + after->second;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = assay::tests::machine().gpus;
  return assay::tests::machine().counting;
}
cudaError_t cudaDriverGetVersion(int* version) {
  *version = assay::tests::machine().driver;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "Stand-in");
  properties->major = assay::tests::machine().capability / 10;
  properties->minor = assay::tests::machine().capability % 10;
  properties->totalGlobalMem = assay::tests::machine().memory;
  return cudaSuccess;
}
cudaError_t cudaSetDevice(int) {
  return fault;
}
cudaError_t cudaGetLastError() {
  return fault;
}
const char* cudaGetErrorName(cudaError_t code) {
  return code == cudaErrorIllegalAddress ? "cudaErrorIllegalAddress" : "cudaErrorOfAnotherKind";
}
const char* cudaGetErrorString(cudaError_t) {
  return "as the runtime describes it";
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  *stream = new CUstream_st;
  return fault;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return fault;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  return run_until(*stream, stream->done + stream->queued.size());
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st;
  return fault;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return fault;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  *event = {stream, stream->done + stream->queued.size()};
  return fault;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return event->stream ? run_until(*event->stream, event->place) : fault;
}

cudaError_t cudaMallocHost(void** memory, size_t bytes) {
  *memory = std::malloc(bytes);
  return fault;
}
cudaError_t cudaFreeHost(void* memory) {
  std::free(memory);
  return fault;
}
cudaError_t cudaMalloc(void** memory, size_t bytes) {
  if (fault != cudaSuccess) return fault;
  if (bytes > assay::tests::machine().memory - used) return cudaErrorMemoryAllocation;
  *memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  blocks[reinterpret_cast<uintptr_t>(*memory)] = bytes;
  used += bytes;
  return cudaSuccess;
}
cudaError_t cudaFree(void* memory) {
  const auto block = blocks.find(reinterpret_cast<uintptr_t>(memory));
  if (block == blocks.end()) std::abort();  // freed twice, or never allocated
  used -= block->second;
  blocks.erase(block);
  std::free(memory);
  return fault;
}
cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *total = assay::tests::machine().memory;
  *free = *total - used;
  return fault;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  if (!inside_a_block(kind == cudaMemcpyHostToDevice ? to : from, bytes))
    return cudaErrorInvalidValue;
  return queue(stream, [=] {
    std::memcpy(to, from, bytes);
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void*) {
  *attributes = {};
  attributes->maxThreadsPerBlock = 1024;
  attributes->ptxVersion = assay::tests::machine().ptx;
  return fault;
}
cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** args) {
  for (unsigned i = 0; i < config->numAttrs; ++i)
    if (config->attrs[i].id == cudaLaunchAttributeProgrammaticStreamSerialization)
      ++assay::tests::machine().overlapping;
  return queue(config->stream, [node = node_of(function, config->gridDim, config->blockDim, args)] {
    return run(node);
  });
}
cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned) {
  *graph = new CUgraph_st;
  return fault;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return fault;
}
/// A chain is expected: what a node is not bound to, it may overtake.
cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* added, cudaGraph_t graph,
                                   const cudaGraphNode_t*, size_t count,
                                   const cudaKernelNodeParams* node) {
  if (count != 0 || graph->edges + 1 < graph->nodes.size()) return cudaErrorInvalidValue;
  graph->nodes.push_back(node_of(node->func, node->gridDim, node->blockDim, node->kernelParams));
  *added = &graph->nodes.back();
  return fault;
}
/// From the last node but one to the last.
cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* to,
#if CUDART_VERSION >= 13000
                                     const cudaGraphEdgeData* edges,
#endif
                                     size_t count) {
  const size_t nodes = graph->nodes.size();
  if (count != 1 || nodes < 2 || *from != &graph->nodes[nodes - 2] || *to != &graph->nodes.back())
    return cudaErrorInvalidValue;
  ++graph->edges;
#if CUDART_VERSION >= 13000
  if (edges[0].type == cudaGraphDependencyTypeProgrammatic) ++assay::tests::machine().overlapping;
#endif
  return fault;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* recording, cudaGraph_t graph,
                                 unsigned long long) {
  if (graph->edges + 1 < graph->nodes.size()) return cudaErrorInvalidValue;
  *recording = new CUgraphExec_st{graph->nodes};
  return fault;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t recording) {
  delete recording;
  return fault;
}
cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t) {
  return fault;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t recording, cudaStream_t stream) {
  return queue(stream, [recording] {
    for (const CUgraphNode_st& node : recording->nodes)
      if (const cudaError_t code = run(node); code != cudaSuccess) return code;
    return cudaSuccess;
  });
}

}  // extern "C"
