#include "device/emulated/group.h"

#include <fmt/format.h>

#include <cstring>
#include <map>

#include "base/mix64.h"

namespace assay::emulated {

namespace {

thread_local Group* group_of_thread = nullptr;

std::string text_of(const Place& place) {
  const char* slash = std::strrchr(place.file, '/');
  return fmt::format("{} at {}:{}", place.word, slash ? slash + 1 : place.file, place.line);
}

}  // namespace

Group* current_group() {
  return group_of_thread;
}

Group::Group(const GridOptions& options)
    : threads_(new GroupThread[most_threads]),
      order_(new uint32_t[most_threads]),
      schedule_(options.schedule),
      tile_map_(options.tile_map),
      inputs_arrive_(options.inputs_arrive),
      random_(options.schedule.seed) {}

Group::~Group() {
  for (uint32_t i = 0; i < allocated_; ++i) give_back_stack(threads_[i].context);
}

/// The order of the next round of turns.
void Group::arrange() {
  for (uint32_t i = 0; i < size_; ++i)
    order_[i] = schedule_.order == Schedule::Order::backward ? size_ - 1 - i : i;
  if (schedule_.order != Schedule::Order::shuffled) return;
  for (uint32_t i = size_; i > 1; --i) std::swap(order_[i - 1], order_[mix64(++random_) % i]);
}

void Group::enter(void* argument) {
  auto& self = *static_cast<GroupThread*>(argument);
  Group& group = *self.group;
  arrived(self.context);
  group.kernel_->body(group.args_, group.shared_, self.thread);
  if (group.kernel_->early && !self.has_inputs) group.fail("it ended without await_inputs");
  release(&group.ended_);
  self.state = State::ended;
  ++group.ended_;
  switch_to(self.context, group.scheduler_, true);
}

bool Group::run(const KernelEntry& kernel, const Grid& grid, const void* args, void* shared,
                uint32_t group_x, uint32_t group_y) {
  kernel_ = &kernel;
  args_ = args;
  shared_ = shared;
  size_ = grid.group_size;
  ended_ = at_barrier_ = at_inputs_ = 0;
  for (auto& exchange : exchanges_) exchange.here = 0;
  adopt_thread(scheduler_);
  for (; allocated_ < size_; ++allocated_) allocate_stack(threads_[allocated_].context);
  for (uint32_t i = 0; i < size_; ++i) {
    threads_[i].thread = {group_x, group_y, i, size_, i % simd_width, i / simd_width};
    threads_[i].state = State::ready;
    threads_[i].has_inputs = false;
    threads_[i].group = this;
    reset(threads_[i].context, &Group::enter, &threads_[i]);
  }
  group_of_thread = this;
  arrange();
  while (!all_ended() && error_.empty()) {
    bool moved = false;
    for (uint32_t i = 0; i < size_ && error_.empty(); ++i) {
      GroupThread& next = threads_[order_[i]];
      if (next.state != State::ready) continue;
      moved = true;
      running_ = &next;
      switch_to(scheduler_, next.context);
    }
    if (!moved) error_ = divergence();
    if (schedule_.order == Schedule::Order::shuffled) arrange();
  }
  group_of_thread = nullptr;
  if (error_.empty()) return true;
  see_all();  // a thread wrote the message
  error_ = fmt::format("kernel '{}', group ({}, {}): {}", kernel.name, group_x, group_y, error_);
  return false;
}

void Group::see_all() {
  acquire(&ended_);
}

/// The running fiber goes to sleep until its state is `ready` again.
void Group::wait() {
  release(&ended_);  // should it never run again
  switch_to(running_->context, scheduler_);
}

void Group::barrier(const Place& place) {
  GroupThread& self = *running_;
  release(&at_barrier_);
  self.place = place;
  self.state = State::at_barrier;
  bool complete = ++at_barrier_ == size_;
  for (uint32_t i = 0; complete && i < size_; ++i) complete = threads_[i].place == place;
  if (complete) {
    at_barrier_ = 0;
    for (uint32_t i = 0; i < size_; ++i) threads_[i].state = State::ready;
  } else {
    wait();
  }
  acquire(&at_barrier_);
}

void Group::await_inputs(const Place& place) {
  GroupThread& self = *running_;
  if (self.has_inputs) return;
  self.has_inputs = true;
  self.place = place;
  self.state = State::at_barrier;
  if (++at_inputs_ < size_) {
    wait();
  } else {
    if (inputs_arrive_) inputs_arrive_();
    release(&at_inputs_);
    for (uint32_t i = 0; i < size_; ++i) threads_[i].state = State::ready;
  }
  acquire(&at_inputs_);  // what arrived: of the last thread alone, so the others stay unordered
}

const uint32_t* Group::exchange(const uint32_t* words, uint32_t count, const Place& place) {
  GroupThread& self = *running_;
  Exchange& exchange = exchanges_[self.thread.simd];
  auto& slots = exchange.words[exchange.round % 2];
  for (uint32_t i = 0; i < count; ++i) slots[self.thread.lane][i] = words[i];
  self.place = place;
  if (exchange.here == 0) exchange.place = place;
  if (!(exchange.place == place)) {
    self.state = State::at_exchange;  // never complete: the lanes are apart
    wait();
  }
  if (++exchange.here == simd_width) {
    exchange.here = 0;
    ++exchange.round;
    GroupThread* lanes = &threads_[self.thread.simd * simd_width];
    for (uint32_t i = 0; i < simd_width; ++i) lanes[i].state = State::ready;
  } else {
    self.state = State::at_exchange;
    wait();
  }
  return &slots[0][0];
}

void Group::fail(std::string&& message) {
  if (error_.empty()) error_ = fmt::format("thread {}: {}", running_->thread.index, message);
  std::string().swap(message);  // this stack is never unwound
  running_->state = State::at_exchange;
  for (;;) wait();
}

/// Who waits where, when nobody can go on.
std::string Group::divergence() const {
  std::map<std::string, std::pair<uint32_t, uint32_t>> waiting;  // place → first thread, count
  for (uint32_t i = 0; i < size_; ++i) {
    const std::string where =
        threads_[i].state == State::ended ? "has ended" : "waits for " + text_of(threads_[i].place);
    auto [entry, first] = waiting.try_emplace(where, i, 0);
    ++entry->second.second;
  }
  std::string text = "not all threads came to the same meeting point:";
  const char* separator = " ";
  for (const auto& [where, who] : waiting) {
    text += fmt::format("{}thread {}{} {}", separator, who.first,
                        who.second > 1 ? fmt::format(" (and {} more)", who.second - 1) : "", where);
    separator = "; ";
  }
  return text;
}

}  // namespace assay::emulated

namespace assay {

using emulated::current_group;
using emulated::Place;

void await_inputs(const char* file, int line) {
  current_group()->await_inputs({"await_inputs", file, line});
}

void barrier_group(const char* file, int line) {
  current_group()->barrier({"barrier_group", file, line});
}

uint32_t shuffle_from(uint32_t value, uint32_t lane, const char* file, int line) {
  const uint32_t* all = current_group()->exchange(&value, 1, {"shuffle_from", file, line});
  if (lane >= emulated::simd_width)
    current_group()->fail(fmt::format("shuffle_from lane {}: a simd has 32", lane));
  return all[4 * lane];
}

uint32_t shuffle_xor(uint32_t value, uint32_t mask, const char* file, int line) {
  emulated::Group& group = *current_group();
  const uint32_t own = group.own_lane();
  const uint32_t* all = group.exchange(&value, 1, {"shuffle_xor", file, line});
  if ((own ^ mask) >= emulated::simd_width)
    group.fail(fmt::format("shuffle_xor mask {}: a simd has 32 lanes", mask));
  return all[4 * (own ^ mask)];
}

void check_alignment(const void* p, uint32_t bytes, const char* file, int line) {
  const auto at = reinterpret_cast<uintptr_t>(p);
  if (at % bytes == 0 || !current_group()) return;
  const char* slash = std::strrchr(file, '/');
  current_group()->fail(fmt::format("an access of {} bytes at {}:{} is {} bytes off its alignment",
                                    bytes, slash ? slash + 1 : file, line, at % bytes));
}

}  // namespace assay
