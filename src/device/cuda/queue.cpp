#include "device/cuda/queue.h"

#include <fmt/format.h>

#include <optional>
#include <string_view>
#include <unordered_map>

#include "device/arithmetic.h"
#include "device/cuda/kernels.h"
#include "device/cuda/runtime.h"
#include "device/cuda/staging.h"

namespace assay::cuda {

namespace {

using device::Address;
using device::Launch;

/// A kernel as this GPU has it.
struct Loaded {
  const Kernel* kernel;
  uint32_t most_threads;  // a group may have: its registers must suffice
};

struct Grid {
  const Kernel* kernel = nullptr;
  uint32_t groups_x = 1, groups_y = 1, group_size = 32;
};

/// A launch that is recorded; its arguments start at `args_at` of all that are kept.
struct Kept {
  Grid grid;
  size_t args_at;
};

std::string text_of(const Grid& grid) {
  return fmt::format("kernel '{}' on {} x {} groups of {}", grid.kernel->name, grid.groups_x,
                     grid.groups_y, grid.group_size);
}

class CudaQueue final : public device::Queue {
 public:
  CudaQueue(uint32_t index, std::string name) : index_(int(index)), name_(std::move(name)) {}
  ~CudaQueue() override;
  CudaQueue(const CudaQueue&) = delete;
  CudaQueue& operator=(const CudaQueue&) = delete;

  /// The stream, the staging memory and the kernels.
  Status open();

  std::string name() const override { return name_; }
  Memory memory() const override;
  Result<Address> allocate(uint64_t bytes) override;
  Status upload(Address to, std::span<const uint8_t> bytes) override;
  Status download(Address from, std::span<uint8_t> bytes) override;
  Status launch(const Launch& launch) override;
  Status wait() override;
  Status begin_recording() override;
  Result<uint32_t> end_recording() override;
  Status replay(uint32_t recording) override;

 private:
  Status ready(bool may_record);
  Result<Grid> check(const Launch& launch) const;
  cudaError_t build_graph(cudaGraph_t graph);
  Error broken(cudaError_t code, const std::string& what);
  Error broken(std::string message);
  std::string last_text() const;

  int index_;
  std::string name_;
  // A launch may start before the one before it has ended: where all kernels were compiled to await
  // it, which is not so of the PTX that older GPUs share.
  bool overlaps_ = true;
  cudaStream_t stream_ = nullptr;
  std::optional<Staging> staging_;
  std::unordered_map<std::string_view, Loaded> kernels_;
  std::vector<void*> blocks_;
  std::vector<cudaGraphExec_t> recordings_;
  bool recording_ = false;
  std::vector<Kept> kept_;
  std::vector<uint8_t> kept_args_;
  std::optional<Error> broken_;
  // What was queued last, for errors that are seen later: a launch, or a recording.
  Grid last_;
  std::optional<uint32_t> last_replay_;
};

CudaQueue::~CudaQueue() {
  cudaSetDevice(index_);
  if (stream_) cudaStreamSynchronize(stream_);
  for (cudaGraphExec_t recording : recordings_) cudaGraphExecDestroy(recording);
  for (void* block : blocks_) cudaFree(block);
  staging_.reset();
  if (stream_) cudaStreamDestroy(stream_);
}

Status CudaQueue::open() {
  if (const auto code = cudaSetDevice(index_); code != cudaSuccess)
    return failure(name_, code, "opening it");
  if (const auto code = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
      code != cudaSuccess)
    return failure(name_, code, "making a stream");
  staging_.emplace();
  if (const auto code = staging_->open(stream_); code != cudaSuccess)
    return failure(name_, code, "taking pinned host memory for copies");
  for (const Kernel& kernel : all_kernels()) {
    cudaFuncAttributes attributes;
    const auto code = cudaFuncGetAttributes(&attributes, kernel.function);
    if (code != cudaSuccess)
      return failure(name_, code,
                     fmt::format("loading kernel '{}'; this build has code for {}", kernel.name,
                                 ASSAY_CUDA_ARCHITECTURES));
    if (attributes.ptxVersion < 90) overlaps_ = false;
    kernels_.emplace(kernel.name, Loaded{&kernel, uint32_t(attributes.maxThreadsPerBlock)});
  }
  return ok();
}

device::Queue::Memory CudaQueue::memory() const {
  size_t free = 0, total = 0;
  cudaSetDevice(index_);
  if (cudaMemGetInfo(&free, &total) != cudaSuccess) return {};
  return {free, total};
}

/// The runtime's device is the thread's, and a queue may pass from thread to thread.
Status CudaQueue::ready(bool may_record) {
  if (broken_) return *broken_;
  if (recording_ && !may_record)
    return broken(name_ + ": only launches may be queued while a recording lasts");
  if (const auto code = cudaSetDevice(index_); code != cudaSuccess)
    return broken(code, "choosing it");
  return ok();
}

Error CudaQueue::broken(std::string message) {
  broken_ = Error{std::move(message), Exit::device};
  return *broken_;
}

Error CudaQueue::broken(cudaError_t code, const std::string& what) {
  broken_ = failure(name_, code, what);
  return *broken_;
}

std::string CudaQueue::last_text() const {
  if (last_replay_) return fmt::format("; queued last: recording {}", *last_replay_);
  return last_.kernel ? "; queued last: " + text_of(last_) : "";
}

Result<Address> CudaQueue::allocate(uint64_t bytes) {
  if (const auto good = ready(false); !good) return good.error();
  void* block = nullptr;
  const auto code = cudaMalloc(&block, bytes ? bytes : 1);  // aligned to 256 bytes at least
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // it is told here, and not a second time by another call
    const Memory now = memory();
    return Error{fmt::format("{}: {} were requested, but only {} of {} are free", name_,
                             size_text(bytes), size_text(now.free), size_text(now.total)),
                 Exit::device};
  }
  if (code != cudaSuccess)
    return broken(code, fmt::format("allocating {}", size_text(bytes)) + last_text());
  blocks_.push_back(block);
  return Address(reinterpret_cast<uintptr_t>(block));
}

Status CudaQueue::upload(Address to, std::span<const uint8_t> bytes) {
  if (auto good = ready(false); !good) return good;
  if (const auto code = staging_->upload(to, bytes); code != cudaSuccess)
    return broken(code,
                  fmt::format("uploading {} to {:#x}", size_text(bytes.size()), to) + last_text());
  return ok();
}

Status CudaQueue::download(Address from, std::span<uint8_t> bytes) {
  if (auto good = ready(false); !good) return good;
  if (const auto code = staging_->download(from, bytes); code != cudaSuccess)
    return broken(
        code, fmt::format("waiting and downloading {} from {:#x}", size_text(bytes.size()), from) +
                  last_text());
  return ok();
}

Status CudaQueue::wait() {
  if (auto good = ready(false); !good) return good;
  if (const auto code = cudaStreamSynchronize(stream_); code != cudaSuccess)
    return broken(code, "waiting" + last_text());
  return ok();
}

/// What CUDA would refuse, in our words.
Result<Grid> CudaQueue::check(const Launch& launch) const {
  const auto refused = [&](const std::string& why) {
    return Error{fmt::format("{}: kernel '{}' {}", name_, launch.kernel, why), Exit::device};
  };
  const auto found = kernels_.find(launch.kernel);
  if (found == kernels_.end()) return refused("is not in this build");
  const Loaded& loaded = found->second;
  if (launch.args.size() != loaded.kernel->args_bytes)
    return refused(fmt::format("takes {} bytes of arguments, not {}", loaded.kernel->args_bytes,
                               launch.args.size()));
  if (launch.group_size == 0 || launch.group_size % 32 || launch.group_size > loaded.most_threads)
    return refused(fmt::format("takes groups of 32, 64 … {} threads, not {}", loaded.most_threads,
                               launch.group_size));
  if (launch.groups_x == 0 || launch.groups_y == 0 || launch.groups_x > 0x7fffffffu ||
      launch.groups_y > 65535u)
    return refused(fmt::format("takes 1 to 2147483647 x 1 to 65535 groups, not {} x {}",
                               launch.groups_x, launch.groups_y));
  return Grid{loaded.kernel, launch.groups_x, launch.groups_y, launch.group_size};
}

Status CudaQueue::launch(const Launch& launch) {
  if (auto good = ready(true); !good) return good;
  const auto grid = check(launch);
  if (!grid) return broken(grid.error().message);
  if (recording_) {
    kept_.push_back({*grid, kept_args_.size()});
    kept_args_.insert(kept_args_.end(), launch.args.begin(), launch.args.end());
    return ok();
  }
  // The runtime copies the arguments before it returns.
  void* args = const_cast<uint8_t*>(launch.args.data());
  cudaLaunchAttribute overlap = {};
  overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  overlap.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = {grid->groups_x, grid->groups_y, 1};
  config.blockDim = {grid->group_size, 1, 1};
  config.stream = stream_;
  config.attrs = &overlap;
  config.numAttrs = overlaps_ ? 1 : 0;
  const auto code = cudaLaunchKernelExC(&config, grid->kernel->function, &args);
  if (code != cudaSuccess) return broken(code, "launching " + text_of(*grid) + last_text());
  last_ = *grid;
  last_replay_.reset();
  return ok();
}

Status CudaQueue::begin_recording() {
  if (auto good = ready(false); !good) return good;
  recording_ = true;
  kept_.clear();
  kept_args_.clear();
  return ok();
}

/// Node `to` comes after `from`; with `overlaps`, and CUDA 13 or newer, its groups may start once
/// all of `from`'s have.
cudaError_t add_edge(cudaGraph_t graph, cudaGraphNode_t from, cudaGraphNode_t to,
                     [[maybe_unused]] bool overlaps) {
#if CUDART_VERSION >= 13000
  cudaGraphEdgeData edge = {};
  if (overlaps) {
    edge.from_port = cudaGraphKernelNodePortProgrammatic;
    edge.type = cudaGraphDependencyTypeProgrammatic;
  }
  return cudaGraphAddDependencies(graph, &from, &to, &edge, 1);
#else
  return cudaGraphAddDependencies(graph, &from, &to, 1);
#endif
}

/// The kept launches as a chain: each node after the one before it.
cudaError_t CudaQueue::build_graph(cudaGraph_t graph) {
  cudaGraphNode_t previous = nullptr;
  for (const Kept& one : kept_) {
    void* args = kept_args_.data() + one.args_at;
    cudaKernelNodeParams node = {};
    node.func = const_cast<void*>(one.grid.kernel->function);
    node.gridDim = {one.grid.groups_x, one.grid.groups_y, 1};
    node.blockDim = {one.grid.group_size, 1, 1};
    node.kernelParams = &args;
    cudaGraphNode_t added = nullptr;
    auto code = cudaGraphAddKernelNode(&added, graph, nullptr, 0, &node);
    if (code == cudaSuccess && previous) code = add_edge(graph, previous, added, overlaps_);
    if (code != cudaSuccess) return code;
    previous = added;
  }
  return cudaSuccess;
}

Result<uint32_t> CudaQueue::end_recording() {
  if (const auto good = ready(true); !good) return good.error();
  if (!recording_) return broken(name_ + ": no recording was begun");
  recording_ = false;
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t recording = nullptr;
  cudaError_t code = cudaGraphCreate(&graph, 0);
  if (code == cudaSuccess) code = build_graph(graph);
  if (code == cudaSuccess) code = cudaGraphInstantiate(&recording, graph, 0);
  if (recording) recordings_.push_back(recording);
  if (graph) cudaGraphDestroy(graph);
  if (code == cudaSuccess) code = cudaGraphUpload(recording, stream_);  // not at the first replay
  if (code != cudaSuccess)
    return broken(code, fmt::format("making a graph of {} launches", kept_.size()) + last_text());
  return uint32_t(recordings_.size() - 1);
}

Status CudaQueue::replay(uint32_t recording) {
  if (auto good = ready(false); !good) return good;
  if (recording >= recordings_.size())
    return broken(fmt::format("{}: there is no recording {}", name_, recording));
  if (const auto code = cudaGraphLaunch(recordings_[recording], stream_); code != cudaSuccess)
    return broken(code, fmt::format("launching recording {}", recording) + last_text());
  last_replay_ = recording;
  return ok();
}

}  // namespace
}  // namespace assay::cuda

namespace assay::device {

Result<std::unique_ptr<Queue>> make_cuda_queue(uint32_t index) {
  const auto devices = cuda_devices();
  if (!devices) return devices.error();
  if (index >= devices->size())
    return Error{fmt::format("cuda:{} does not exist; this machine has {} (cuda:0 is the first)",
                             index, devices->size()),
                 Exit::device};
  const CudaDevice& chosen = (*devices)[index];
  const std::string name = fmt::format("{} (sm_{})", chosen.name, chosen.capability);
  if (chosen.capability < lowest_cuda_capability)
    return Error{fmt::format("cuda:{}, {}, is too old: sm_{}, needs sm_{}", index, chosen.name,
                             chosen.capability, lowest_cuda_capability),
                 Exit::device};
  auto queue = std::make_unique<cuda::CudaQueue>(index, name);
  if (const Status opened = queue->open(); !opened) return opened.error();
  if (const Status sound = prove_arithmetic(*queue); !sound) return sound.error();
  return Result<std::unique_ptr<Queue>>(std::move(queue));
}

}  // namespace assay::device
