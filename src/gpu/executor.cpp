#include "gpu/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cassert>
#include <cstring>
#include <map>

#include "gpu/encode.h"
#include "gpu/memory.h"
#include "gpu/plan.h"
#include "kernel/attention_tile.h"
#include "kernel/route.h"
#include "kernel/sample.h"
#include "kernel/top_k.h"
#include "op/paging.h"
#include "op/rope.h"

namespace assay::gpu {

namespace {

static_assert(most_drawn <= op::most_drawn_ahead, "windows leave room for what is drawn ahead");

constexpr uint32_t most_recorded_tokens = 8;  // steps of so few tokens come again and again

/// What a step's tokens are followed by: `count` are drawn of each sequence, from its `most` best.
struct Ahead {
  std::span<const op::Drawing> drawings;
  uint32_t count, most;
};

/// cos and sin of a table's positions, each made once.
class RopeRows {
 public:
  explicit RopeRows(const op::RopeTable& table) : table_(table) {}

  std::span<const float> row(uint32_t position) {
    const uint64_t dimensions = table_.dimensions;
    if (position >= made_.size()) {
      made_.resize(position + 1, false);
      values_.resize(made_.size() * dimensions);
    }
    const auto row = std::span(values_).subspan(position * dimensions, dimensions);
    if (!made_[position]) op::rope_row(table_, position, row);
    made_[position] = true;
    return row;
  }

 private:
  const op::RopeTable& table_;
  std::vector<float> values_;  // (positions, dimensions)
  std::vector<bool> made_;
};

class DeviceExecutor final : public op::Executor {
 public:
  DeviceExecutor(std::string device, std::unique_ptr<device::Queue> queue,
                 const op::Program& program, const op::ExecutorOptions& options,
                 DeviceMemory memory)
      : device_(std::move(device)),
        queue_(std::move(queue)),
        program_(program),
        options_(options),
        memory_(std::move(memory)),
        paging_(options, program.windows),
        table_(memory_.table ? uint64_t(options.sequences) * memory_.groups * memory_.stride : 0,
               op::none),
        plain_(make_plan(program, false)),
        fused_(make_plan(program, true)),
        rope_(program.rope_tables.begin(), program.rope_tables.end()) {}

  std::span<const float> run(const op::Step& step, const op::Sink& sink) override;
  std::vector<std::vector<op::Candidate>> run_best(const op::Step& step, uint32_t most) override;
  uint32_t most_ahead(const op::Drawing& drawing) const override;
  std::vector<int32_t> run_ahead(const op::Step& step, std::span<const op::Drawing> drawings,
                                 uint32_t count) override;
  void truncate(uint32_t, uint32_t) override {
  }  // a position is read only after it is written again
  bool fill_caches(float value) override;
  std::string device() const override { return device_; }
  std::string isa() const override { return queue_->name(); }
  std::string contract() const override {
    return options_.cache == op::CacheType::f32 ? "assay/1 kv=f32" : "assay/1";
  }
  uint32_t threads() const override { return 0; }

 private:
  Encoder begin(const op::Step& step, bool traced, const Ahead* ahead = nullptr);
  void upload(const op::Step& step, const Ahead* ahead, StepShape& shape);
  void upload_table(const op::Step& step);
  void upload_row(const op::PageTable& pages, uint32_t sequence, uint32_t group);
  void run_fused(const Encoder& encoder, uint32_t best = 0);
  bool selects_logits() const;
  void run_plain(const Encoder& encoder, const op::Sink& sink);
  void offer(const Encoder& encoder, const op::Operation& operation, const op::Sink& sink);

  std::string device_;
  std::unique_ptr<device::Queue> queue_;
  const op::Program& program_;
  op::ExecutorOptions options_;
  DeviceMemory memory_;
  op::Paging paging_;
  std::vector<uint32_t> table_;  // (sequences, groups, stride): as the device has it
  std::vector<Node> plain_, fused_;
  // (tokens, selected, best, split_heads, draws) → handle
  std::map<std::array<uint32_t, 5>, uint32_t> recordings_;
  std::vector<RopeRows> rope_;  // by rotary table
  std::vector<uint8_t> staged_;
  std::vector<float> output_;
};

void require(const Status& status) {
  if (!status) throw op::DeviceFailure(status.error());
}

/// One copy to the device: tokens, positions, sequences, selected, then cos and sin of each rotary
/// table by token; where tokens are drawn, rules and the cos and sin of what will be.
void DeviceExecutor::upload(const op::Step& step, const Ahead* ahead, StepShape& shape) {
  staged_.clear();
  const auto append = [&]<class T>(std::span<const T> from) {
    const uint64_t at = staged_.size();
    staged_.resize((at + from.size_bytes() + 15) / 16 * 16);
    if (!from.empty()) std::memcpy(staged_.data() + at, from.data(), from.size_bytes());
    return pointer<T>(memory_.step + at);
  };
  const auto append_rope = [&](uint32_t first_ahead, uint32_t steps) {
    std::vector<float> table;
    for (uint32_t i = first_ahead; i < first_ahead + steps; ++i)
      for (RopeRows& rows : rope_)
        for (uint32_t position : step.positions) {
          const auto row = rows.row(position + i);
          table.insert(table.end(), row.begin(), row.end());
        }
    return append(std::span<const float>(table));
  };
  StepInputs& inputs = shape.inputs;
  inputs.tokens = append(step.tokens);
  inputs.positions = append(step.positions);
  inputs.sequences = append(step.sequences);
  inputs.selected = append(step.selected);
  inputs.rope = append_rope(0, 1);
  if (ahead) {
    std::vector<SampleRule> rules;
    for (size_t i = 0; i < step.tokens.size(); ++i) {
      const op::Drawing& how = ahead->drawings[i];
      rules.push_back({uint32_t(how.seed), uint32_t(how.seed >> 32), how.temperature, how.top_p,
                       how.min_p, how.top_k, step.positions[i] + 1, ahead->count});
    }
    shape.rules = append(std::span<const SampleRule>(rules));
    shape.rope_ahead = append_rope(1, ahead->count - 1);
  }
  require(queue_->upload(memory_.step, staged_));
}

bool DeviceExecutor::fill_caches(float value) {
  require(gpu::fill_caches(*queue_, program_, options_, memory_, value));
  return true;
}

/// Brings the device's page table up to date: of each sequence in the step, what has changed.
void DeviceExecutor::upload_table(const op::Step& step) {
  if (table_.empty()) return;
  for (size_t t = 0; t < step.sequences.size(); ++t)
    if (t == 0 || step.sequences[t - 1] != step.sequences[t])
      for (uint32_t group = 0; group < memory_.groups; ++group)
        upload_row(step.pages, step.sequences[t], group);
}

void DeviceExecutor::upload_row(const op::PageTable& pages, uint32_t sequence, uint32_t group) {
  const uint32_t stride = memory_.stride, shared = std::min(stride, pages.stride);
  const uint64_t row = (uint64_t(sequence) * memory_.groups + group) * stride;
  const auto want = pages.row(sequence, group).first(shared);
  const auto have = std::span(table_).subspan(row, shared);
  const auto [from, unused] = std::ranges::mismatch(want, have);
  if (from == want.end()) return;
  const auto first = uint64_t(from - want.begin());
  uint64_t last = shared;
  while (want[last - 1] == have[last - 1]) --last;
  std::copy(from, want.begin() + ptrdiff_t(last), have.begin() + ptrdiff_t(first));
  const auto changed = have.subspan(first, last - first);
  require(queue_->upload(memory_.table + (row + first) * sizeof(uint32_t),
                         {reinterpret_cast<const uint8_t*>(changed.data()), changed.size_bytes()}));
}

/// If best > 0, also finds the `best` highest logits of each row, and draws a token from them if the
/// shape has drawing rules.
void DeviceExecutor::run_fused(const Encoder& encoder, uint32_t best) {
  const auto encode = [&] {
    for (const Node& node : fused_) require(encoder.node(node));
    if (best) require(encoder.best(program_.operations.back().output, best));
    if (encoder.shape.rules) require(encoder.sample(best));
  };
  if (encoder.shape.most_keys) return encode();  // not to be recorded
  const std::array key{encoder.shape.tokens, encoder.shape.selected, best,
                       uint32_t(encoder.shape.split_heads),
                       uint32_t(encoder.shape.rules != nullptr)};
  auto known = recordings_.find(key);
  if (known == recordings_.end()) {
    require(queue_->begin_recording());
    encode();
    auto handle = queue_->end_recording();
    if (!handle) throw op::DeviceFailure(handle.error());
    known = recordings_.emplace(key, *handle).first;
  }
  require(queue_->replay(known->second));
}

void DeviceExecutor::run_plain(const Encoder& encoder, const op::Sink& sink) {
  for (const Node& node : plain_) {
    require(encoder.node(node));
    if (!node.operations.empty()) offer(encoder, program_.operations[node.operations[0]], sink);
  }
}

void DeviceExecutor::offer(const Encoder& encoder, const op::Operation& operation,
                           const op::Sink& sink) {
  device::Address from = memory_.scratch;
  uint64_t count = 0;
  if (operation.output == op::none) {
    require(encoder.load_cache(operation));
    const op::CacheShape& a = program_.caches[operation.as<op::KvStore>()->cache];
    count = uint64_t(encoder.shape.tokens) * a.kv_heads * (a.key_dim + a.value_dim);
  } else {
    from = encoder.buffer(operation.output);
    count = uint64_t(encoder.rows(operation.output)) * program_.values[operation.output].width;
  }
  std::vector<float> output(count);
  require(queue_->download(
      from, {reinterpret_cast<uint8_t*>(output.data()), output.size() * sizeof(float)}));
  sink(operation, output);
}

/// True if there are at least eight tokens and each aligned group of eight tokens belongs to one
/// sequence.
bool of_one_sequence_each(std::span<const uint32_t> sequences) {
  for (size_t i = 0; i < sequences.size(); ++i)
    if (sequences[i] != sequences[i / attention_queries * attention_queries]) return false;
  return sequences.size() >= attention_queries;
}

/// Uploads a step.
Encoder DeviceExecutor::begin(const op::Step& given, bool traced, const Ahead* ahead) {
  const op::Step step = paging_.resolve(given, ahead ? ahead->count - 1 : 0);
  StepShape shape{.tokens = uint32_t(step.tokens.size()),
                  .selected = uint32_t(step.selected.size())};
  upload_table(step);
  upload(step, ahead, shape);
  const bool recorded = !traced && shape.tokens <= most_recorded_tokens;
  const uint32_t most_keys =
      shape.tokens ? 1 + *std::max_element(step.positions.begin(), step.positions.end()) : 0;
  if (!recorded) shape.most_keys = most_keys;
  shape.split_heads = shape.tokens <= most_split_tokens && most_keys > most_whole_keys;
  shape.sequence_tiles = !recorded && of_one_sequence_each(step.sequences);
  return {*queue_, program_, memory_, options_.cache == op::CacheType::f32, shape};
}

std::span<const float> DeviceExecutor::run(const op::Step& step, const op::Sink& sink) {
  const Encoder encoder = begin(step, bool(sink));
  if (sink)
    run_plain(encoder, sink);
  else
    run_fused(encoder);
  const uint32_t last = program_.operations.back().output;
  if (last == op::none) {
    require(queue_->wait());
    return {};
  }
  output_.resize(uint64_t(encoder.rows(last)) * program_.values[last].width);
  require(queue_->download(encoder.buffer(last), {reinterpret_cast<uint8_t*>(output_.data()),
                                                  output_.size() * sizeof(float)}));
  return output_;
}

/// Whether the program ends with logits, whose rows are those selected.
bool DeviceExecutor::selects_logits() const {
  const uint32_t last = program_.operations.back().output;
  return last != op::none && program_.values[last].selected;
}

std::vector<std::vector<op::Candidate>> DeviceExecutor::run_best(const op::Step& step,
                                                                 uint32_t most) {
  if (most == 0 || most > most_best || step.selected.size() > options_.sequences ||
      !selects_logits())
    return Executor::run_best(step, most);  // on the host
  run_fused(begin(step, false), most);
  std::vector<uint64_t> keys(step.selected.size() * most);
  require(queue_->download(
      memory_.best[0], {reinterpret_cast<uint8_t*>(keys.data()), keys.size() * sizeof keys[0]}));
  std::vector<std::vector<op::Candidate>> rows(step.selected.size());
  for (size_t i = 0; i < keys.size(); ++i) {
    const auto ordered = uint32_t(keys[i] >> 32);
    const uint32_t bits = ordered >> 31 ? ordered ^ 0x80000000u : ~ordered;
    if (keys[i])
      rows[i / most].push_back({int32_t(~uint32_t(keys[i])), std::bit_cast<float>(bits)});
  }
  return rows;
}

uint32_t DeviceExecutor::most_ahead(const op::Drawing& drawing) const {
  return selects_logits() && drawing.top_k > 0 && drawing.top_k <= most_best ? most_drawn : 0;
}

std::vector<int32_t> DeviceExecutor::run_ahead(const op::Step& step,
                                               std::span<const op::Drawing> drawings,
                                               uint32_t count) {
  assert(count >= 1 && step.tokens.size() == step.selected.size() &&
         step.tokens.size() == drawings.size() && drawings.size() <= options_.sequences);
  Ahead ahead{drawings, count, 1};
  for (const op::Drawing& one : drawings) {
    assert(count <= most_ahead(one));
    ahead.most = std::max(ahead.most, one.top_k);
  }
  Encoder encoder = begin(step, false, &ahead);
  for (uint32_t i = 0; i < count; ++i) {
    run_fused(encoder, ahead.most);
    if (encoder.shape.most_keys) ++encoder.shape.most_keys;
  }
  std::vector<int32_t> drawn(count * step.tokens.size());
  require(queue_->download(
      memory_.drawn, {reinterpret_cast<uint8_t*>(drawn.data()), drawn.size() * sizeof(int32_t)}));
  return drawn;
}

uint64_t experts_of(const op::Program& program, const op::Operation& operation) {
  if (const auto* p = operation.as<op::MatmulExperts>()) return p->experts;
  return operation.is<op::Route>() ? program.values[operation.inputs[0]].width : 0;
}

/// What the kernels do not take, as a sentence; empty where they take all.
std::string unsupported(const std::string& device, const op::Program& program,
                        const op::ExecutorOptions& options) {
  if (options.contract != op::Contract::assay1)
    return fmt::format("the device '{}' runs only the contract assay/1", device);
  if (!options.isa.empty())
    return fmt::format("the device '{}' has no instruction sets to choose from", device);
  const auto widest = std::ranges::max_element(program.buffer_width);
  if (widest != program.buffer_width.end() && uint64_t(*widest) * options.batch > UINT32_MAX)
    return fmt::format("rows of {} values, {} at once, are more than the device '{}' can address",
                       *widest, options.batch, device);
  for (const op::Operation& operation : program.operations) {
    if (const uint64_t experts = experts_of(program, operation); experts > most_experts)
      return fmt::format("'{}' chooses from {} experts; the device '{}' takes at most {}",
                         operation.name, experts, device, most_experts);
    if (!operation.is<op::Attend>()) continue;
    const op::AttentionShape a = program.attention_of(operation);
    if (std::max(a.key_dim, a.value_dim) > most_head_dim)
      return fmt::format("'{}' has heads of {}; the device '{}' takes at most {}", operation.name,
                         std::max(a.key_dim, a.value_dim), device, most_head_dim);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<op::Executor>> make_executor(std::string device,
                                                    std::unique_ptr<device::Queue> queue,
                                                    const op::Program& program,
                                                    const op::ExecutorOptions& options) {
  if (std::string reason = unsupported(device, program, options); !reason.empty())
    return Error{std::move(reason)};
  auto memory = allocate(*queue, program, options);
  if (!memory) return memory.error();
  return std::unique_ptr<op::Executor>(std::make_unique<DeviceExecutor>(
      std::move(device), std::move(queue), program, options, std::move(*memory)));
}

}  // namespace assay::gpu
