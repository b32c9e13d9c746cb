#include "device/metal/metal_queue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace assay::metal {

namespace {

constexpr uint64_t alignment = 256;        // of what allocate() gives
constexpr uint32_t most_args_bytes = 512;  // Metal itself would take 4096
constexpr uint32_t simd_width = 32;

double megabytes(uint64_t bytes) {
  return double(bytes) / 1e6;
}

}  // namespace

Result<std::unique_ptr<MetalQueue>> MetalQueue::open(const QueueOptions& options) {
  std::unique_ptr<MetalQueue> queue(new MetalQueue(options));
  if (Status done = queue->set_up(); !done) return done.error();
  if (Status done = queue->compile_all(); !done) return done.error();
  return queue;
}

Status MetalQueue::set_up() {
  device_ = default_device();
  if (!device_)
    return Error{"Metal finds no GPU on this machine (a virtual machine or a session without one)",
                 Exit::device};
  facts_ = facts_of(*device_);
  if (!facts_.has_addresses)
    return Error{fmt::format("{} is too old: the kernels need macOS 13 or later", facts_.system),
                 Exit::device};
  if (!facts_.has_family)
    return Error{
        fmt::format("{} is not of the M1's family or later, which the kernels need", facts_.name),
        Exit::device};
  queue_ = make_command_queue(*device_);
  fence_ = make_fence(*device_);
  if (!queue_ || !fence_)
    return Error{fmt::format("{} did not create a command queue", facts_.name), Exit::device};
  resident_ = make_residency_set(*device_, *queue_);
  return ok();
}

Status MetalQueue::compile_all() {
  for (const KernelFile& file : options_.files) {
    Compiled compiled = compile(*device_, file.text);
    if (!compiled.library) return Error{compile_sentence(file.name, compiled.error), Exit::device};
    libraries_.push_back(std::move(compiled.library));
  }
  return ok();
}

/// Running commands must have ended, with or without an error, before their memory is freed:
/// whoever destroys the queue no longer asks.
MetalQueue::~MetalQueue() {
  end_encoder();
  for (const Batch& batch : in_flight_) metal::wait(*batch.commands);
}

std::string MetalQueue::name() const {
  return fmt::format("{} ({})", facts_.name, facts_.system);
}

device::Queue::Memory MetalQueue::memory() const {
  const uint64_t used = allocated_bytes(*device_);
  return {facts_.working_set - std::min(used, facts_.working_set), facts_.working_set};
}

Error MetalQueue::fail(std::string message) {
  broken_ = Error{std::move(message), Exit::device};
  return *broken_;
}

Status MetalQueue::usable(std::string_view what) const {
  if (broken_) return *broken_;
  if (recording_)
    return Error{fmt::format("{}: {} is not possible in a recording", facts_.name, what),
                 Exit::device};
  return ok();
}

// Memory

Result<device::Address> MetalQueue::allocate(uint64_t bytes) {
  if (broken_) return *broken_;
  const Memory have = memory();
  if (bytes > facts_.longest_buffer)
    return Error{fmt::format("{} takes buffers of at most {:.1f} MB, {:.1f} MB were asked for",
                             facts_.name, megabytes(facts_.longest_buffer), megabytes(bytes)),
                 Exit::device};
  Block block;
  if (bytes <= have.free)
    block = {make_buffer(*device_, std::max<uint64_t>(bytes, alignment)), bytes};
  if (!block.buffer)
    return Error{fmt::format("{} has no {:.1f} MB left: {:.1f} of {:.1f} MB are free", facts_.name,
                             megabytes(bytes), megabytes(have.free), megabytes(have.total)),
                 Exit::device};
  const device::Address address = address_of(*block.buffer);
  if (address == 0 || address % alignment != 0)
    return Error{fmt::format("{} gave memory at {:#x}, which is not aligned to {} bytes",
                             facts_.name, address, alignment),
                 Exit::device};
  if (resident_) {
    add(*resident_, *block.buffer);
    residency_changed_ = true;
  }
  buffers_.push_back(block.buffer.get());
  blocks_.emplace(address, std::move(block));
  return address;
}

Result<MetalQueue::Place> MetalQueue::place_of(device::Address address, uint64_t bytes) const {
  auto after = blocks_.upper_bound(address);
  if (after != blocks_.begin()) {
    const auto& [begin, block] = *std::prev(after);
    const uint64_t offset = address - begin;
    if (offset <= block.bytes && bytes <= block.bytes - offset)
      return Place{block.buffer.get(), offset};
  }
  return Error{
      fmt::format("{}: {} bytes at {:#x} are not in its memory", facts_.name, bytes, address),
      Exit::device};
}

Status MetalQueue::upload(device::Address to, std::span<const uint8_t> bytes) {
  if (Status good = usable("an upload"); !good) return good;
  if (bytes.empty()) return ok();
  const auto place = place_of(to, bytes.size());
  if (!place) return fail(place.error().message);
  const bool whole_words = place->offset % 4 == 0 && bytes.size() % 4 == 0;
  if (busy() && whole_words && bytes.size() <= options_.staging_bytes - staged_)
    return stage(*place, bytes);
  if (Status done = drain(); !done) return done;
  std::memcpy(contents_of(*place->buffer) + place->offset, bytes.data(), bytes.size());
  return ok();
}

/// A copy that waits its turn behind the launches before it.
Status MetalQueue::stage(const Place& to, std::span<const uint8_t> bytes) {
  if (!staging_) staging_ = make_buffer(*device_, options_.staging_bytes);
  if (!staging_)
    return fail(fmt::format("{} has no {:.1f} MB left for copies", facts_.name,
                            megabytes(options_.staging_bytes)));
  if (Status done = open_batch(); !done) return done;
  end_encoder();
  std::memcpy(contents_of(*staging_) + staged_, bytes.data(), bytes.size());
  const Owned<CopyEncoder> encoder = begin_copy(*open_.commands);
  if (!encoder) return fail(fmt::format("{} gives no encoder for copies", facts_.name));
  if (ordered_) wait_for(*encoder, *fence_);
  copy(*encoder, *staging_, staged_, *to.buffer, to.offset, bytes.size());
  metal::update(*encoder, *fence_);
  metal::end(*encoder);
  ordered_ = true;
  staged_ += bytes.size();
  return ok();
}

Status MetalQueue::download(device::Address from, std::span<uint8_t> bytes) {
  if (Status good = usable("a download"); !good) return good;
  const auto place = place_of(from, bytes.size());
  if (!place) return fail(place.error().message);
  if (Status done = drain(); !done) return done;
  if (!bytes.empty())
    std::memcpy(bytes.data(), contents_of(*place->buffer) + place->offset, bytes.size());
  return ok();
}

// Kernels

/// Compiled for this device when it is first asked for.
Result<const MetalQueue::Kernel*> MetalQueue::kernel_of(std::string_view name) {
  if (const auto known = kernels_.find(name); known != kernels_.end()) return &known->second;
  for (size_t i = 0; i < libraries_.size(); ++i) {
    const auto& names = options_.files[i].kernels;
    if (std::find(names.begin(), names.end(), name) == names.end()) continue;
    Kernel kernel{std::string(name), make_pipeline(*device_, *libraries_[i], name)};
    if (!kernel.facts.pipeline)
      return Error{fmt::format("{} cannot run the kernel '{}' of {}: {}", facts_.name, name,
                               options_.files[i].name, kernel.facts.error),
                   Exit::device};
    if (kernel.facts.simd_width != simd_width)
      return Error{fmt::format("{} runs the kernel '{}' {} threads wide; it is written for {}",
                               facts_.name, name, kernel.facts.simd_width, simd_width),
                   Exit::device};
    return &kernels_.emplace(name, std::move(kernel)).first->second;
  }
  return Error{fmt::format("{} has no kernel '{}'", facts_.name, name), Exit::device};
}

Status MetalQueue::launch(const device::Launch& launch) {
  if (broken_) return *broken_;
  const auto found = kernel_of(launch.kernel);
  if (!found) return fail(found.error().message);
  const Kernel& kernel = **found;
  const uint64_t expected = kernel.facts.args_bytes ? kernel.facts.args_bytes : launch.args.size();
  if (launch.args.size() != expected || launch.args.size() > most_args_bytes)
    return fail(fmt::format("kernel '{}' takes {} bytes of arguments, not {}", kernel.name,
                            std::min<uint64_t>(expected, most_args_bytes), launch.args.size()));
  if (launch.group_size == 0 || launch.group_size % simd_width != 0)
    return fail(
        fmt::format("kernel '{}' was asked for in groups of {} threads, not whole simds of "
                    "{}",
                    kernel.name, launch.group_size, simd_width));
  if (launch.group_size > kernel.facts.most_threads)
    return fail(
        fmt::format("{} runs kernel '{}' in groups of at most {} threads; {} were asked for",
                    facts_.name, kernel.name, kernel.facts.most_threads, launch.group_size));
  if (recording_) {
    recordings_.back().push_back({&kernel,
                                  launch.groups_x,
                                  launch.groups_y,
                                  launch.group_size,
                                  {launch.args.begin(), launch.args.end()}});
    return ok();
  }
  return encode(kernel, launch.groups_x, launch.groups_y, launch.group_size, launch.args);
}

Status MetalQueue::begin_recording() {
  if (Status good = usable("another recording"); !good) return good;
  recordings_.emplace_back();
  recording_ = true;
  return ok();
}

Result<uint32_t> MetalQueue::end_recording() {
  if (broken_) return *broken_;
  if (!recording_) return fail(fmt::format("{}: no recording was begun", facts_.name));
  recording_ = false;
  return uint32_t(recordings_.size() - 1);
}

Status MetalQueue::replay(uint32_t recording) {
  if (Status good = usable("a replay"); !good) return good;
  if (recording >= recordings_.size())
    return fail(fmt::format("{} has no recording {}", facts_.name, recording));
  for (const Kept& one : recordings_[recording])
    if (Status done = encode(*one.kernel, one.groups_x, one.groups_y, one.group_size, one.args);
        !done)
      return done;
  return ok();
}

// Commands

Status MetalQueue::open_batch() {
  if (open_.commands) return ok();
  open_ = {begin_commands(*queue_), {}};
  if (!open_.commands) return fail(fmt::format("{} gives no command buffer", facts_.name));
  return ok();
}

/// The encoder that launches are written to; it knows all memory.
Result<ComputeEncoder*> MetalQueue::computing() {
  if (Status done = open_batch(); !done) return done.error();
  if (!encoder_) {
    encoder_ = begin_compute(*open_.commands);
    if (!encoder_) return fail(fmt::format("{} gives no encoder for kernels", facts_.name));
    bound_ = nullptr;
    used_buffers_ = 0;
    if (ordered_) wait_for(*encoder_, *fence_);
  } else {
    barrier(*encoder_);
  }
  if (!resident_ && used_buffers_ < buffers_.size()) {
    use(*encoder_, std::span(buffers_).subspan(used_buffers_));
    used_buffers_ = buffers_.size();
  }
  return encoder_.get();
}

Status MetalQueue::encode(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y,
                          uint32_t group_size, std::span<const uint8_t> args) {
  if (groups_x == 0 || groups_y == 0) return ok();
  const auto encoder = computing();
  if (!encoder) return encoder.error();
  if (bound_ != &kernel) set_pipeline(**encoder, *kernel.facts.pipeline);
  bound_ = &kernel;
  set_args(**encoder, args);
  dispatch(**encoder, groups_x, groups_y, group_size);
  Launched& span = open_.kernels;
  if (span.launches == 0) span.first = kernel.name;
  span.last = kernel.name;
  return ++span.launches < options_.launches ? ok() : commit_batch();
}

void MetalQueue::end_encoder() {
  if (!encoder_) return;
  metal::update(*encoder_, *fence_);
  metal::end(*encoder_);
  encoder_.reset();
  ordered_ = true;
}

Status MetalQueue::commit_batch() {
  if (!open_.commands) return ok();
  end_encoder();
  if (residency_changed_) metal::commit(*resident_);
  residency_changed_ = false;
  metal::commit(*open_.commands);
  in_flight_.push_back(std::move(open_));
  open_ = {};
  return in_flight_.size() <= options_.in_flight ? ok() : retire_oldest();
}

Status MetalQueue::retire_oldest() {
  const Batch batch = std::move(in_flight_.front());
  in_flight_.pop_front();
  metal::wait(*batch.commands);
  const Outcome outcome = outcome_of(*batch.commands);
  if (outcome.fault != Fault::none)
    return fail(fault_sentence(facts_.name, outcome, batch.kernels));
  work_.command_buffers += 1;
  work_.launches += batch.kernels.launches;
  work_.gpu_seconds += outcome.gpu_seconds;
  return ok();
}

Status MetalQueue::drain() {
  if (Status done = commit_batch(); !done) return done;
  while (!in_flight_.empty())
    if (Status done = retire_oldest(); !done) return done;
  staged_ = 0;
  return ok();
}

Status MetalQueue::wait() {
  if (Status good = usable("a wait"); !good) return good;
  return drain();
}

}  // namespace assay::metal
