// calls.h by metal-cpp, Apple's C++ headers over the Objective-C runtime.
#define NS_PRIVATE_IMPLEMENTATION
#define MTL_PRIVATE_IMPLEMENTATION
#include <fmt/format.h>

#include <Metal/Metal.hpp>

#include "device/metal/calls.h"

namespace assay::metal {

namespace {

/// What Metal gives without ownership lives as long as the pool.
class Pool {
 public:
  Pool() : pool_(NS::AutoreleasePool::alloc()->init()) {}
  ~Pool() { pool_->release(); }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

 private:
  NS::AutoreleasePool* pool_;
};

// The types of calls.h are names for metal-cpp's.
MTL::Device* of(Device& device) {
  return reinterpret_cast<MTL::Device*>(&device);
}
MTL::CommandQueue* of(CommandQueue& queue) {
  return reinterpret_cast<MTL::CommandQueue*>(&queue);
}
MTL::Fence* of(Fence& fence) {
  return reinterpret_cast<MTL::Fence*>(&fence);
}
MTL::ResidencySet* of(ResidencySet& set) {
  return reinterpret_cast<MTL::ResidencySet*>(&set);
}
MTL::Buffer* of(Buffer& buffer) {
  return reinterpret_cast<MTL::Buffer*>(&buffer);
}
MTL::Library* of(Library& library) {
  return reinterpret_cast<MTL::Library*>(&library);
}
MTL::ComputePipelineState* of(Pipeline& pipeline) {
  return reinterpret_cast<MTL::ComputePipelineState*>(&pipeline);
}
MTL::CommandBuffer* of(Commands& commands) {
  return reinterpret_cast<MTL::CommandBuffer*>(&commands);
}
MTL::ComputeCommandEncoder* of(ComputeEncoder& encoder) {
  return reinterpret_cast<MTL::ComputeCommandEncoder*>(&encoder);
}
MTL::BlitCommandEncoder* of(CopyEncoder& encoder) {
  return reinterpret_cast<MTL::BlitCommandEncoder*>(&encoder);
}

/// Takes what the caller owns already ("new…" gives it so).
template <class Name, class Object>
Owned<Name> owned(Object* object) {
  return Owned<Name>(reinterpret_cast<Name*>(object));
}
/// Keeps what only the pool owns.
template <class Name, class Object>
Owned<Name> kept(Object* object) {
  return owned<Name>(object ? object->retain() : nullptr);
}

std::string text_of(const NS::String* string) {
  const char* text = string ? string->utf8String() : nullptr;
  return text ? text : "";
}
std::string text_of(const NS::Error* error) {
  return error ? text_of(error->localizedDescription()) : "";
}

bool system_is_at_least(NS::Integer major) {
  return NS::ProcessInfo::processInfo()->isOperatingSystemAtLeastVersion({major, 0, 0});
}

/// Bytes that the kernel reads of buffer 0.
uint32_t args_bytes_of(const MTL::ComputePipelineReflection* reflection) {
  const NS::Array* bindings = reflection ? reflection->bindings() : nullptr;
  for (NS::UInteger i = 0; bindings && i < bindings->count(); ++i) {
    const auto* binding = static_cast<const MTL::Binding*>(bindings->object(i));
    if (binding->type() == MTL::BindingTypeBuffer && binding->index() == 0)
      return uint32_t(static_cast<const MTL::BufferBinding*>(binding)->bufferDataSize());
  }
  return 0;
}

static_assert(int(Fault::internal) == int(MTL::CommandBufferErrorInternal));
static_assert(int(Fault::timeout) == int(MTL::CommandBufferErrorTimeout));
static_assert(int(Fault::page_fault) == int(MTL::CommandBufferErrorPageFault));
static_assert(int(Fault::access_revoked) == int(MTL::CommandBufferErrorAccessRevoked));
static_assert(int(Fault::not_permitted) == int(MTL::CommandBufferErrorNotPermitted));
static_assert(int(Fault::out_of_memory) == int(MTL::CommandBufferErrorOutOfMemory));
static_assert(int(Fault::invalid_resource) == int(MTL::CommandBufferErrorInvalidResource));
static_assert(int(Fault::device_removed) == int(MTL::CommandBufferErrorDeviceRemoved));
static_assert(int(Fault::stack_overflow) == int(MTL::CommandBufferErrorStackOverflow));

}  // namespace

void Release::operator()(void* object) const {
  static_cast<NS::Object*>(object)->release();
}

// The device

Owned<Device> default_device() {
  const Pool pool;
  return owned<Device>(MTL::CreateSystemDefaultDevice());
}

DeviceFacts facts_of(Device& device) {
  const Pool pool;
  const NS::OperatingSystemVersion system =
      NS::ProcessInfo::processInfo()->operatingSystemVersion();
  DeviceFacts facts;
  facts.name = text_of(of(device)->name());
  facts.system =
      fmt::format("macOS {}.{}.{}", system.majorVersion, system.minorVersion, system.patchVersion);
  facts.has_family = of(device)->supportsFamily(MTL::GPUFamilyApple7);
  facts.has_addresses = system_is_at_least(13);
  facts.working_set = of(device)->recommendedMaxWorkingSetSize();
  facts.longest_buffer = of(device)->maxBufferLength();
  return facts;
}

uint64_t allocated_bytes(Device& device) {
  return of(device)->currentAllocatedSize();
}

Owned<CommandQueue> make_command_queue(Device& device) {
  const Pool pool;
  return owned<CommandQueue>(of(device)->newCommandQueue());
}

Owned<Fence> make_fence(Device& device) {
  const Pool pool;
  return owned<Fence>(of(device)->newFence());
}

// Memory

Owned<ResidencySet> make_residency_set(Device& device, CommandQueue& queue) {
  if (!system_is_at_least(15)) return nullptr;
  const Pool pool;
  NS::Error* error = nullptr;
  const auto descriptor = NS::TransferPtr(MTL::ResidencySetDescriptor::alloc()->init());
  auto set = owned<ResidencySet>(of(device)->newResidencySet(descriptor.get(), &error));
  if (set) of(queue)->addResidencySet(of(*set));
  return set;
}

void add(ResidencySet& set, Buffer& buffer) {
  of(set)->addAllocation(of(buffer));
}

void commit(ResidencySet& set) {
  of(set)->commit();
  of(set)->requestResidency();
}

Owned<Buffer> make_buffer(Device& device, uint64_t bytes) {
  const Pool pool;
  return owned<Buffer>(of(device)->newBuffer(
      bytes, MTL::ResourceStorageModeShared | MTL::ResourceHazardTrackingModeUntracked));
}

uint64_t address_of(Buffer& buffer) {
  return of(buffer)->gpuAddress();
}

uint8_t* contents_of(Buffer& buffer) {
  return static_cast<uint8_t*>(of(buffer)->contents());
}

// Kernels

Compiled compile(Device& device, std::string_view text) {
  const Pool pool;
  const auto options = NS::TransferPtr(MTL::CompileOptions::alloc()->init());
  options->setLanguageVersion(MTL::LanguageVersion3_0);
  if (system_is_at_least(15))
    options->setMathMode(MTL::MathModeSafe);
  else
    options->setFastMathEnabled(false);
  NS::Error* error = nullptr;
  const NS::String* source = NS::String::string(text.data(), NS::UTF8StringEncoding);
  auto library = owned<Library>(of(device)->newLibrary(source, options.get(), &error));
  if (library) return {std::move(library), {}};
  return {nullptr, text_of(error)};
}

PipelineFacts make_pipeline(Device& device, Library& library, std::string_view kernel) {
  const Pool pool;
  PipelineFacts facts;
  const auto function = NS::TransferPtr(of(library)->newFunction(
      NS::String::string(std::string(kernel).c_str(), NS::UTF8StringEncoding)));
  if (!function) {
    facts.error = "its library has no such function";
    return facts;
  }
  NS::Error* error = nullptr;
  MTL::ComputePipelineReflection* reflection = nullptr;
  MTL::ComputePipelineState* pipeline = of(device)->newComputePipelineState(
      function.get(), MTL::PipelineOptionBindingInfo | MTL::PipelineOptionBufferTypeInfo,
      &reflection, &error);
  facts.pipeline = owned<Pipeline>(pipeline);
  facts.error = text_of(error);
  if (!pipeline) return facts;
  facts.most_threads = uint32_t(pipeline->maxTotalThreadsPerThreadgroup());
  facts.simd_width = uint32_t(pipeline->threadExecutionWidth());
  facts.args_bytes = args_bytes_of(reflection);
  return facts;
}

// Commands

Owned<Commands> begin_commands(CommandQueue& queue) {
  const Pool pool;
  return kept<Commands>(of(queue)->commandBufferWithUnretainedReferences());
}

void commit(Commands& commands) {
  const Pool pool;
  of(commands)->commit();
}

void wait(Commands& commands) {
  const Pool pool;
  of(commands)->waitUntilCompleted();
}

Outcome outcome_of(Commands& commands) {
  const Pool pool;
  MTL::CommandBuffer* buffer = of(commands);
  Outcome outcome;
  outcome.gpu_seconds = buffer->GPUEndTime() - buffer->GPUStartTime();
  if (buffer->status() == MTL::CommandBufferStatusCompleted) return outcome;
  const NS::Error* error = buffer->error();
  outcome.fault = error && error->code() != 0 ? Fault(error->code()) : Fault::internal;
  outcome.text = text_of(error);
  return outcome;
}

Owned<ComputeEncoder> begin_compute(Commands& commands) {
  const Pool pool;
  return kept<ComputeEncoder>(of(commands)->computeCommandEncoder(MTL::DispatchTypeSerial));
}

void wait_for(ComputeEncoder& encoder, Fence& fence) {
  of(encoder)->waitForFence(of(fence));
}

void use(ComputeEncoder& encoder, std::span<Buffer* const> buffers) {
  const auto* resources = reinterpret_cast<const MTL::Resource* const*>(buffers.data());
  of(encoder)->useResources(resources, buffers.size(),
                            MTL::ResourceUsageRead | MTL::ResourceUsageWrite);
}

void set_pipeline(ComputeEncoder& encoder, Pipeline& pipeline) {
  of(encoder)->setComputePipelineState(of(pipeline));
}

void set_args(ComputeEncoder& encoder, std::span<const uint8_t> bytes) {
  of(encoder)->setBytes(bytes.data(), bytes.size(), 0);
}

void dispatch(ComputeEncoder& encoder, uint32_t groups_x, uint32_t groups_y, uint32_t group_size) {
  of(encoder)->dispatchThreadgroups({groups_x, groups_y, 1}, {group_size, 1, 1});
}

void barrier(ComputeEncoder& encoder) {
  of(encoder)->memoryBarrier(MTL::BarrierScopeBuffers);
}

void update(ComputeEncoder& encoder, Fence& fence) {
  of(encoder)->updateFence(of(fence));
}

void end(ComputeEncoder& encoder) {
  of(encoder)->endEncoding();
}

Owned<CopyEncoder> begin_copy(Commands& commands) {
  const Pool pool;
  return kept<CopyEncoder>(of(commands)->blitCommandEncoder());
}

void wait_for(CopyEncoder& encoder, Fence& fence) {
  of(encoder)->waitForFence(of(fence));
}

void copy(CopyEncoder& encoder, Buffer& from, uint64_t from_offset, Buffer& to, uint64_t to_offset,
          uint64_t bytes) {
  of(encoder)->copyFromBuffer(of(from), from_offset, of(to), to_offset, bytes);
}

void update(CopyEncoder& encoder, Fence& fence) {
  of(encoder)->updateFence(of(fence));
}

void end(CopyEncoder& encoder) {
  of(encoder)->endEncoding();
}

}  // namespace assay::metal
