// A stand-in for an executor, for the tests of engines and sequences: its logits depend on every token
// that it finds in the pages of a sequence.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "base/mix64.h"
#include "op/executor.h"
#include "op/paging.h"
#include "run/engine.h"

namespace assay::run {

using op::page_positions;
using Ids = std::vector<int32_t>;

/// The first logits of a row are words of a hash of the sequence's tokens so far, of the last ones
/// where a group has a window.
inline constexpr size_t words = 4;

inline std::vector<float> words_of(std::span<const int32_t> ids,
                                   const std::vector<uint32_t>& windows = {0}) {
  uint64_t hash = 1;
  for (const uint32_t window : windows)
    for (const int32_t id : window&& window < ids.size() ? ids.last(window) : ids)
      hash = mix64(hash + uint64_t(uint32_t(id)));
  std::vector<float> row;
  for (size_t i = 0; i < words; ++i) row.push_back(float(hash >> (16 * i) & 0xFFFF));
  return row;
}

/// Keeps a token where an executor keeps keys and values, found by the step's page table alone.
class Recall final : public op::Executor {
 public:
  Recall(const op::Program& program, const op::ExecutorOptions& options)
      : vocabulary_(program.vocabulary), windows_(program.windows) {
    for (const uint32_t window : windows_)
      memory_.emplace_back(uint64_t(op::pages_of(options, window)) * page_positions, -1);
  }

  std::span<const float> run(const op::Step& step, const op::Sink&) override {
    if (fail) throw op::DeviceFailure({"the device is gone", Exit::device});
    std::set<std::pair<uint32_t, uint64_t>> written;
    for (size_t t = 0; t < step.tokens.size(); ++t)
      for (uint32_t group = 0; group < windows_.size(); ++group) {
        const uint64_t at = place(step, group, step.sequences[t], step.positions[t]);
        EXPECT_TRUE(written.insert({group, at}).second) << "two tokens of a step in one place";
        memory_[group].at(at) = step.tokens[t];
      }
    logits_.assign(step.selected.size() * vocabulary_, 0.0f);
    for (size_t row = 0; row < step.selected.size(); ++row) {
      const uint32_t t = step.selected[row];
      Ids seen;
      for (uint32_t group = 0; group < windows_.size(); ++group) {
        const op::AttentionShape shape{.window = windows_[group]};
        for (uint32_t p = shape.first_key(step.positions[t]); p <= step.positions[t]; ++p)
          seen.push_back(memory_[group].at(place(step, group, step.sequences[t], p)));
      }
      std::ranges::copy(words_of(seen), logits_.begin() + std::ptrdiff_t(row * vocabulary_));
    }
    return logits_;
  }
  uint32_t most_ahead(const op::Drawing&) const override { return 8; }
  std::vector<int32_t> run_ahead(const op::Step& step, std::span<const op::Drawing>,
                                 uint32_t count) override {
    if (fail) throw op::DeviceFailure({"the device is gone", Exit::device});
    std::vector<int32_t> drawn(count * step.tokens.size());
    for (size_t s = 0; s < step.tokens.size(); ++s)
      for (uint32_t i = 0; i < count; ++i) {
        const int32_t token = i ? drawn[(i - 1) * step.tokens.size() + s] : step.tokens[s];
        for (uint32_t group = 0; group < windows_.size(); ++group)
          memory_[group].at(place(step, group, step.sequences[s], step.positions[s] + i)) = token;
        drawn[i * step.tokens.size() + s] = (token + 1) % int32_t(vocabulary_);
      }
    return drawn;
  }
  void truncate(uint32_t, uint32_t) override {}
  std::string device() const override { return "recall"; }
  std::string isa() const override { return ""; }
  std::string contract() const override { return "none"; }
  uint32_t threads() const override { return 1; }

  bool fail = false;

 private:
  static uint64_t place(const op::Step& step, uint32_t group, uint32_t sequence,
                        uint32_t position) {
    EXPECT_LT(position / page_positions, step.pages.stride);
    return uint64_t(step.pages.page_of(sequence, position, group)) * page_positions +
           position % page_positions;
  }

  uint32_t vocabulary_;
  std::vector<uint32_t> windows_;
  std::vector<std::vector<int32_t>> memory_;  // by group (pages, 64)
  std::vector<float> logits_;
};

/// Makes the stand-in, which is put into `recall` where this is not null.
inline auto recalling(Recall** recall) {
  return [recall](const op::Program& program,
                  const op::ExecutorOptions& options) -> Result<std::unique_ptr<op::Executor>> {
    auto made = std::make_unique<Recall>(program, options);
    if (recall) *recall = made.get();
    return std::unique_ptr<op::Executor>(std::move(made));
  };
}

inline Sequence started(Engine& engine) {
  auto sequence = engine.start();
  EXPECT_TRUE(sequence) << sequence.error().message;
  return std::move(*sequence);
}

}  // namespace assay::run
