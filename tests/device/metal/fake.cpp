#include "device/metal/fake.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "device/emulated/grid.h"
#include "device/emulated/kernels.h"

namespace assay::metal {

namespace fake {

World& world() {
  static World one;
  return one;
}

uint64_t count(const std::string& entry) {
  return uint64_t(std::count(world().log.begin(), world().log.end(), entry));
}

namespace {

void note(std::string entry) {
  world().log.push_back(std::move(entry));
}
void misused(std::string what) {
  world().misuse.push_back(std::move(what));
}

/// The first base of all that calls.h names, so that Release finds it.
struct Object {
  Object() { ++world().live_objects; }
  virtual ~Object() { --world().live_objects; }
};

struct Dispatch {
  const KernelEntry* kernel;
  emulated::Grid grid;
  std::vector<uint8_t> args;
  bool after_barrier = false;
};

struct Copy {
  const uint8_t* from;
  uint8_t* to;
  uint64_t bytes;
};

/// What one encoder wrote.
struct Pass {
  std::vector<Dispatch> dispatches;
  std::vector<Copy> copies;
  std::vector<Buffer*> used;
  bool waits = false, updates = false;  // there is one fence
  bool ended = false, has_run = false;
  uint32_t commands = 0;  // counted from 1 as they are committed
  Outcome* outcome = nullptr;
};

std::vector<Buffer*> all_buffers;
std::vector<Pass*> committed;  // in order
uint32_t commands_committed = 0;
bool fence_updated = false;

}  // namespace
}  // namespace fake

using namespace fake;

struct Device : Object {};
struct CommandQueue : Object {
  ResidencySet* set = nullptr;
};
struct Fence : Object {};
struct Library : Object {
  std::string text;
};
struct Pipeline : Object {
  const KernelEntry* kernel = nullptr;
};
struct Buffer : Object {
  uint8_t* bytes = nullptr;
  uint64_t size = 0;
  bool resident = false;
  ~Buffer() override {
    for (const Pass* pass : committed)
      if (!pass->has_run) misused("a buffer was released while commands that may use it run");
    std::erase(all_buffers, this);
    world().allocated -= size;
    std::free(bytes);
  }
};
struct ResidencySet : Object {
  std::vector<Buffer*> added;
};
struct Commands : Object {
  std::vector<std::unique_ptr<Pass>> passes;
  Outcome outcome;
  bool was_committed = false, ended = false;
  ~Commands() override {
    if (was_committed && !ended) misused("a command buffer was released while it runs");
    for (const auto& pass : passes) std::erase(committed, pass.get());
  }
};
struct ComputeEncoder : Object {
  Pass* pass = nullptr;
  Pipeline* pipeline = nullptr;
  std::vector<uint8_t> args;
  bool after_barrier = false;
  ~ComputeEncoder() override {
    if (!pass->ended) misused("a compute encoder was released before it was ended");
  }
};
struct CopyEncoder : Object {
  Pass* pass = nullptr;
  ~CopyEncoder() override {
    if (!pass->ended) misused("a copy encoder was released before it was ended");
  }
};

namespace fake {

void reset() {
  if (world().live_objects != 0) std::abort();
  world() = {};
  committed.clear();
  commands_committed = 0;
  fence_updated = false;
}

namespace {

/// Words of the arguments that are addresses of buffers must be of resident ones.
bool reaches_memory(const Pass& pass, const Dispatch& dispatch) {
  for (size_t at = 0; at + 8 <= dispatch.args.size(); at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, dispatch.args.data() + at, 8);
    for (Buffer* buffer : all_buffers) {
      const uint64_t begin = reinterpret_cast<uintptr_t>(buffer->bytes);
      const bool used = std::find(pass.used.begin(), pass.used.end(), buffer) != pass.used.end();
      if (word >= begin && word < begin + buffer->size && !buffer->resident && !used) return false;
    }
  }
  return true;
}

Outcome run_dispatch(const Pass& pass, const Dispatch& one) {
  if (!reaches_memory(pass, one)) return {Fault::page_fault, "GPU Address Fault", 0};
  world().ran.push_back(
      {one.kernel->name, one.grid.groups_x, one.grid.groups_y, one.grid.group_size, one.args});
  emulated::GridOptions options;
  options.tile_map = emulated::TileMap::quads;  // Apple's
  const Status done = emulated::run_grid(*one.kernel, one.grid, one.args.data(), options);
  return done ? Outcome{} : Outcome{Fault::internal, done.error().message, 0};
}

/// Dispatches with no barrier between them run from the last to the first.
void run_pass(Pass& pass) {
  pass.has_run = true;
  if (pass.outcome->fault != Fault::none) return;
  for (const Copy& one : pass.copies) std::memcpy(one.to, one.from, one.bytes);
  const bool faulty = pass.commands == world().machine.faulty_commands;
  const size_t last = faulty ? pass.dispatches.size() / 2 : pass.dispatches.size();
  for (size_t begin = 0; begin < last;) {
    size_t end = begin + 1;
    while (end < last && !pass.dispatches[end].after_barrier) ++end;
    for (size_t i = end; i-- > begin && pass.outcome->fault == Fault::none;)
      *pass.outcome = run_dispatch(pass, pass.dispatches[i]);
    begin = end;
  }
  if (faulty) *pass.outcome = {world().machine.fault, "the fake's fault", 0};
  pass.outcome->gpu_seconds = 0.001 * double(pass.dispatches.size());
}

/// An encoder that waits for the fence comes after the last one before it that updates it; all else
/// runs from the last to the first.
bool may_run(size_t index) {
  if (!committed[index]->waits) return true;
  for (size_t i = index; i-- > 0;)
    if (committed[i]->updates) return committed[i]->has_run;
  return true;
}

void run_all() {
  for (bool more = true; more;) {
    more = false;
    for (size_t i = committed.size(); i-- > 0 && !more;) {
      if (committed[i]->has_run || !may_run(i)) continue;
      run_pass(*committed[i]);
      more = true;
    }
  }
}

Pass* new_pass(Commands& commands) {
  if (commands.was_committed) misused("an encoder was begun in a committed command buffer");
  if (!commands.passes.empty() && !commands.passes.back()->ended)
    misused("an encoder was begun before the one before it was ended");
  commands.passes.push_back(std::make_unique<Pass>());
  commands.passes.back()->outcome = &commands.outcome;
  return commands.passes.back().get();
}

void wait_in(Pass& pass) {
  if (!fence_updated) misused("an encoder waits for a fence that none has updated");
  pass.waits = true;
}
void update_in(Pass& pass) {
  fence_updated = true;
  pass.updates = true;
}

}  // namespace
}  // namespace fake

void Release::operator()(void* object) const {
  delete static_cast<Object*>(object);
}

Owned<Device> default_device() {
  return Owned<Device>(world().machine.has_gpu ? new Device : nullptr);
}
DeviceFacts facts_of(Device&) {
  return world().machine.facts;
}
uint64_t allocated_bytes(Device&) {
  return world().allocated;
}
Owned<CommandQueue> make_command_queue(Device&) {
  return Owned<CommandQueue>(new CommandQueue);
}
Owned<Fence> make_fence(Device&) {
  return Owned<Fence>(new Fence);
}

Owned<ResidencySet> make_residency_set(Device&, CommandQueue&) {
  return Owned<ResidencySet>(world().machine.residency_sets ? new ResidencySet : nullptr);
}
void add(ResidencySet& set, Buffer& buffer) {
  set.added.push_back(&buffer);
}
void commit(ResidencySet& set) {
  note("resident " + std::to_string(set.added.size()));
  for (Buffer* buffer : set.added) buffer->resident = true;
}

Owned<Buffer> make_buffer(Device&, uint64_t bytes) {
  if (!world().machine.gives_buffers || bytes == 0) return nullptr;
  Owned<Buffer> buffer(new Buffer);
  void* memory = nullptr;
  if (posix_memalign(&memory, 16384, bytes) != 0) std::abort();
  buffer->bytes = static_cast<uint8_t*>(memory);
  std::memset(memory, 0xff, bytes);
  buffer->size = bytes;
  world().allocated += bytes;
  all_buffers.push_back(buffer.get());
  return buffer;
}
uint64_t address_of(Buffer& buffer) {
  return reinterpret_cast<uintptr_t>(buffer.bytes);
}
uint8_t* contents_of(Buffer& buffer) {
  return buffer.bytes;
}

Compiled compile(Device&, std::string_view text) {
  if (text.data()[text.size()] != '\0') misused("a kernel's text has no NUL at its end");
  const Machine& machine = world().machine;
  if (!machine.refused_text.empty() && text.find(machine.refused_text) != text.npos)
    return {nullptr, machine.compile_error};
  Owned<Library> library(new Library);
  library->text = text;
  return {std::move(library), {}};
}

PipelineFacts make_pipeline(Device&, Library& library, std::string_view kernel) {
  note("pipeline " + std::string(kernel));
  PipelineFacts facts;
  const KernelEntry* entry = emulated::find_kernel(kernel);
  facts.error = world().machine.pipeline_error;
  if (library.text.find(kernel) == library.text.npos || !entry) facts.error = "no such function";
  if (!facts.error.empty()) return facts;
  facts.pipeline.reset(new Pipeline);
  facts.pipeline->kernel = entry;
  facts.most_threads = world().machine.most_threads;
  facts.simd_width = world().machine.simd_width;
  facts.args_bytes = entry->args_bytes;
  return facts;
}

Owned<Commands> begin_commands(CommandQueue&) {
  return Owned<Commands>(new Commands);
}
void commit(Commands& commands) {
  note("commit");
  if (commands.was_committed) misused("a command buffer was committed twice");
  if (!commands.passes.empty() && !commands.passes.back()->ended)
    misused("a command buffer was committed before its encoder was ended");
  commands.was_committed = true;
  ++commands_committed;
  for (const auto& pass : commands.passes) {
    pass->commands = commands_committed;
    committed.push_back(pass.get());
  }
}
void wait(Commands& commands) {
  note("wait");
  if (!commands.was_committed) misused("a wait for a command buffer that was not committed");
  run_all();
  commands.ended = true;
}
Outcome outcome_of(Commands& commands) {
  if (!commands.ended) misused("the outcome of a command buffer was asked for before it ended");
  return commands.outcome;
}

Owned<ComputeEncoder> begin_compute(Commands& commands) {
  Owned<ComputeEncoder> encoder(new ComputeEncoder);
  encoder->pass = new_pass(commands);
  return encoder;
}
void wait_for(ComputeEncoder& encoder, Fence&) {
  wait_in(*encoder.pass);
}
void use(ComputeEncoder& encoder, std::span<Buffer* const> buffers) {
  note("use " + std::to_string(buffers.size()));
  encoder.pass->used.insert(encoder.pass->used.end(), buffers.begin(), buffers.end());
}
void set_pipeline(ComputeEncoder& encoder, Pipeline& pipeline) {
  encoder.pipeline = &pipeline;
}
void set_args(ComputeEncoder& encoder, std::span<const uint8_t> bytes) {
  if (bytes.size() > 4096) misused("more than 4096 bytes of arguments");
  encoder.args.assign(bytes.begin(), bytes.end());
}
void dispatch(ComputeEncoder& encoder, uint32_t groups_x, uint32_t groups_y, uint32_t group_size) {
  if (!encoder.pipeline) return misused("a dispatch without a pipeline");
  if (encoder.pass->ended) misused("a dispatch into an encoder that was ended");
  if (groups_x == 0 || groups_y == 0) misused("a dispatch of no groups");
  note(std::string("dispatch ") + encoder.pipeline->kernel->name);
  encoder.pass->dispatches.push_back({encoder.pipeline->kernel,
                                      {groups_x, groups_y, group_size},
                                      encoder.args,
                                      encoder.after_barrier});
  encoder.after_barrier = false;
}
void barrier(ComputeEncoder& encoder) {
  encoder.after_barrier = true;
}
void update(ComputeEncoder& encoder, Fence&) {
  update_in(*encoder.pass);
}
void end(ComputeEncoder& encoder) {
  encoder.pass->ended = true;
}

Owned<CopyEncoder> begin_copy(Commands& commands) {
  Owned<CopyEncoder> encoder(new CopyEncoder);
  encoder->pass = new_pass(commands);
  return encoder;
}
void wait_for(CopyEncoder& encoder, Fence&) {
  wait_in(*encoder.pass);
}
void copy(CopyEncoder& encoder, Buffer& from, uint64_t from_offset, Buffer& to, uint64_t to_offset,
          uint64_t bytes) {
  note("copy");
  if (from_offset % 4 || to_offset % 4 || bytes % 4) misused("a copy of parts of words");
  if (from_offset + bytes > from.size || to_offset + bytes > to.size)
    misused("a copy outside a buffer");
  encoder.pass->copies.push_back({from.bytes + from_offset, to.bytes + to_offset, bytes});
}
void update(CopyEncoder& encoder, Fence&) {
  update_in(*encoder.pass);
}
void end(CopyEncoder& encoder) {
  encoder.pass->ended = true;
}

}  // namespace assay::metal
