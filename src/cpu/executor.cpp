#include "cpu/executor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <mutex>
#include <vector>

#include "cpu/cache.h"
#include "cpu/experts.h"
#include "cpu/kernels.h"
#include "cpu/panel.h"
#include "cpu/pool.h"
#include "op/rope.h"
#include "quant/formats.h"

namespace assay::cpu {

namespace {

/// The quantised form of a value's rows, made once per step and shared by the matmuls that read the
/// value.
struct QuantisedRows {
  std::vector<int8_t> codes;
  std::vector<float> scale, scaled_sum;
  std::vector<int32_t> half_sums;

  void reserve(uint64_t count) {
    if (codes.size() >= count) return;
    codes.resize(count);
    scale.resize(count / quantum);
    scaled_sum.resize(count / quantum);
    half_sums.resize(count / 16);
  }
  /// What begins at activation `index`, a multiple of 32.
  QuantisedRow at(uint64_t index) {
    return {codes.data() + index, scale.data() + index / quantum,
            scaled_sum.data() + index / quantum, half_sums.data() + index / 16};
  }
};

bool is_block_format(uint32_t type) {
  return quant::info(type).block_size > 1;
}

/// The matrices of an operation that multiplies.
uint32_t experts_of(const op::Operation& operation) {
  const auto* p = operation.as<op::MatmulExperts>();
  return p ? p->experts : 1;
}

/// y = x·factor (+ bias)
void scale_row(const float* x, float factor, const float* bias, uint64_t n, float* y) {
  for (uint64_t i = 0; i < n; ++i) {
    const float product = x[i] * factor;
    y[i] = bias ? product + bias[i] : product;
  }
}

/// The rows that one matrix product reads and writes.
struct Factors {
  std::vector<QuantisedRow> quantised;  // one of the two is empty
  std::vector<const float*> plain;
  std::vector<float*> y;

  void clear() {
    quantised.clear();
    plain.clear();
    y.clear();
  }
};

class CpuExecutor final : public op::Executor {
 public:
  CpuExecutor(const op::Program& program, const op::ExecutorOptions& options,
              const Kernels& kernels)
      : program_(program),
        options_(options),
        kernels_(kernels),
        pool_(options.threads, options.flush_denormals),
        paging_(options, program.windows),
        panels_(program.weights.size()),
        buffers_(program.buffers),
        counters_(program.operations.size()),
        slopes_(program.operations.size()),
        mine_(options.threads) {
    find_barriers();
    for (size_t i = 0; i < program.operations.size(); ++i)
      if (const auto* attend = program.operations[i].as<op::Attend>(); attend && attend->alibi != 0)
        for (uint32_t head = 0; head < attend->heads; ++head)
          slopes_[i].push_back(op::alibi_slope(attend->alibi, head, attend->heads));
    uint64_t stride = 0;
    for (uint32_t i = 0; i < program.caches.size(); ++i) {
      caches_.emplace_back(program.caches[i], options, program.window_of(i));
      stride = std::max<uint64_t>(stride, caches_.back().value_stride());
    }
    scratch_.resize(options.threads * 2 * stride);
  }

  Status prepare();
  std::span<const float> run(const op::Step& step, const op::Sink& sink) override;
  void truncate(uint32_t, uint32_t) override {
  }  // a position is read only after it is written again
  bool fill_caches(float value) override {
    for (Cache& cache : caches_) cache.fill(value);
    return true;
  }
  std::string device() const override { return "cpu"; }
  std::string isa() const override { return kernels_.isa; }
  std::string contract() const override {
    return std::string(options_.contract == op::Contract::f32 ? "f32" : "assay/1") +
           (options_.cache == op::CacheType::f32 ? " kv=f32" : "");
  }
  uint32_t threads() const override { return pool_.threads(); }

 private:
  struct Work;
  void find_barriers();
  void reserve(const op::Step& step);
  void offer(const op::Operation& operation, const op::Step& step, const op::Sink& sink);
  void execute(size_t index, const op::Step& step, uint32_t thread);
  void quantise_input(const op::Operation& operation, const op::Step& step, uint32_t thread);
  void multiply(const Panels& panels, uint64_t expert, uint64_t first, uint64_t last,
                const Factors& factors, const float* bias) const;
  void matmul(size_t index, const op::Step& step, uint32_t thread);
  void matmul_experts(size_t index, const op::Step& step, uint32_t thread);
  const ExpertRows& rows_by_expert(uint32_t routing, uint32_t experts, const op::Step& step,
                                   uint32_t thread);
  void attention(size_t index, const op::Step& step, uint32_t thread);

  bool quantises(const op::Operation& operation) const {
    return op::multiplies(operation) && options_.contract == op::Contract::assay1 &&
           is_block_format(program_.weights[operation.weight].type);
  }
  /// The values of an F32 weight or bias; null where there is none.
  const float* floats_of(uint32_t weight) const {
    if (weight == op::none) return nullptr;
    return reinterpret_cast<const float*>(program_.weights[weight].data.data());
  }
  const float* bias_of(const op::Operation& operation) const { return floats_of(operation.bias); }
  uint64_t rows_of(uint32_t value, const op::Step& step) const {
    return program_.values[value].selected ? step.selected.size() : step.tokens.size();
  }
  float* data(uint32_t value, uint64_t row = 0) {
    return buffers_[program_.values[value].buffer].data() + row * program_.values[value].width;
  }
  /// Calls function(item) for this thread's share of `count` items.
  template <class Function>
  void share(uint64_t count, uint32_t thread, Function function) const {
    const uint64_t threads = pool_.threads();
    for (uint64_t i = count * thread / threads; i < count * (thread + 1) / threads; ++i)
      function(i);
  }
  /// Calls function(first, last) for pieces of [0, count) claimed from the operation's counter.
  template <class Function>
  void claim(size_t index, uint64_t count, uint64_t piece, Function function) {
    for (;;) {
      const uint64_t first = counters_[index].fetch_add(piece, std::memory_order_relaxed);
      if (first >= count) return;
      function(first, std::min(count, first + piece));
    }
  }

  /// What a thread keeps for itself.
  struct Mine {
    Chooser chooser;
    ExpertRows rows;
    Factors factors;
    std::vector<float> probabilities;
  };

  const op::Program& program_;
  op::ExecutorOptions options_;
  const Kernels& kernels_;
  Pool pool_;
  op::Paging paging_;
  std::vector<Cache> caches_;   // by index of the program's
  std::vector<Panels> panels_;  // by weight; empty where no operation multiplies with it
  std::vector<std::vector<float>> buffers_;
  std::vector<std::atomic<uint64_t>> counters_;  // next unclaimed item of each operation
  std::vector<bool> barrier_before_, quantise_before_;
  QuantisedRows quantised_;
  std::vector<std::vector<float>> rope_;    // by rotary table: (tokens, dimensions): cos, sin
  std::vector<std::vector<float>> slopes_;  // by operation: ALiBi's, (heads)
  std::vector<Mine> mine_;                  // by thread
  std::vector<float> scratch_;
  uint64_t steps_ = 0;  // begun
};

/// A barrier stands before an operation that reads what was written since the last one, or whose
/// output's buffer was touched since; activations are quantised before the first matmul that reads
/// a value.
void CpuExecutor::find_barriers() {
  const size_t count = program_.operations.size();
  barrier_before_.assign(count, false);
  quantise_before_.assign(count, false);
  std::vector<bool> touched(program_.buffers, false), written(program_.buffers, false);
  bool cache_written = false;
  uint32_t quantised_value = op::none;
  for (size_t i = 0; i < count; ++i) {
    const op::Operation& operation = program_.operations[i];
    const auto buffer = [&](uint32_t value) { return program_.values[value].buffer; };
    bool needed = operation.is<op::Attend>() && cache_written;
    for (uint32_t input : operation.inputs) needed = needed || written[buffer(input)];
    if (operation.output != op::none) needed = needed || touched[buffer(operation.output)];
    if (quantises(operation) && quantised_value != operation.inputs[0]) {
      quantise_before_[i] = true;  // with barriers on both sides
      quantised_value = operation.inputs[0];
      needed = true;
    }
    if (needed) {
      barrier_before_[i] = true;
      touched.assign(touched.size(), false);
      written.assign(written.size(), false);
      cache_written = false;
    }
    for (uint32_t input : operation.inputs) touched[buffer(input)] = true;
    if (operation.output != op::none)
      touched[buffer(operation.output)] = written[buffer(operation.output)] = true;
    cache_written = cache_written || operation.is<op::KvStore>();
  }
}

Status CpuExecutor::prepare() {
  for (uint32_t i = 0; i < caches_.size(); ++i)
    if (!caches_[i].allocated())
      return Error{fmt::format("not enough memory for a KV cache: {} bytes",
                               Cache::bytes(program_.caches[i], options_, program_.window_of(i))),
                   Exit::device};
  uint64_t total = 0, done = 0;
  std::vector<uint32_t> wanted;
  for (const op::Operation& operation : program_.operations) {
    if (!op::multiplies(operation)) continue;
    const op::Weight& weight = program_.weights[operation.weight];
    Panels& panels = panels_[operation.weight];
    if (std::find(wanted.begin(), wanted.end(), operation.weight) == wanted.end()) {
      wanted.push_back(operation.weight);
      total += weight.data.size();
      panels = shape_of_panels(weight, experts_of(operation));
    } else if (panels.experts != experts_of(operation)) {
      return Error{fmt::format("{} is read as {} matrices and as {}", weight.name, panels.experts,
                               experts_of(operation))};
    }
  }
  for (uint32_t weight : wanted) {
    const op::Weight& source = program_.weights[weight];
    Panels& panels = panels_[weight];
    panels = allocate_panels(source, panels.experts);
    if (!panels.data)
      return Error{fmt::format("not enough memory for {} packed weights of {} bytes", source.name,
                               panels.count() * panels.panel_bytes),
                   Exit::device};
    std::atomic<uint64_t> next{0};
    pool_.run([&](uint32_t) {
      for (uint64_t i = next.fetch_add(4); i < panels.count(); i = next.fetch_add(4))
        pack(source, panels, i, std::min(panels.count(), i + 4));
    });
    if (options_.release) options_.release(source.data);
    done += source.data.size();
    if (options_.progress) options_.progress(done, total);
  }
  return ok();
}

void CpuExecutor::reserve(const op::Step& step) {
  const uint64_t tokens = step.tokens.size();
  for (const op::Value& value : program_.values) {
    if (value.buffer == op::none) continue;
    const uint64_t needed = (value.selected ? step.selected.size() : tokens) * value.width;
    if (buffers_[value.buffer].size() < needed) buffers_[value.buffer].resize(needed);
  }
  uint64_t widest = 0;
  for (const op::Operation& operation : program_.operations)
    if (quantises(operation))
      widest = std::max(
          widest, rows_of(operation.inputs[0], step) * program_.values[operation.inputs[0]].width);
  quantised_.reserve(widest);
  rope_.resize(program_.rope_tables.size());
  for (size_t i = 0; i < rope_.size(); ++i) {
    const op::RopeTable& table = program_.rope_tables[i];
    rope_[i].resize(tokens * table.dimensions);
    for (uint64_t t = 0; t < tokens; ++t)
      op::rope_row(table, step.positions[t],
                   std::span(rope_[i]).subspan(t * table.dimensions, table.dimensions));
  }
  for (auto& counter : counters_) counter.store(0, std::memory_order_relaxed);
  ++steps_;
}

std::span<const float> CpuExecutor::run(const op::Step& given, const op::Sink& sink) {
  const op::Step step = paging_.resolve(given);
  reserve(step);
  pool_.run([&](uint32_t thread) {
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const op::Operation& operation = program_.operations[i];
      if (barrier_before_[i]) pool_.barrier();
      if (quantise_before_[i]) {
        quantise_input(operation, step, thread);
        pool_.barrier();
      }
      execute(i, step, thread);
      if (sink) {
        pool_.barrier();
        if (thread == 0) offer(operation, step, sink);
        pool_.barrier();
      }
    }
  });
  const uint32_t output = program_.operations.back().output;
  return {data(output), rows_of(output, step) * program_.values[output].width};
}

void CpuExecutor::offer(const op::Operation& operation, const op::Step& step,
                        const op::Sink& sink) {
  if (operation.output != op::none) {
    sink(operation, {data(operation.output),
                     rows_of(operation.output, step) * program_.values[operation.output].width});
    return;
  }
  const uint64_t key_width = program_.values[operation.inputs[0]].width;
  const uint64_t value_width = program_.values[operation.inputs[1]].width;
  const uint64_t tokens = step.tokens.size();
  const uint32_t cache = operation.as<op::KvStore>()->cache, group = program_.group_of(cache);
  std::vector<float> stored(tokens * (key_width + value_width));
  for (uint64_t t = 0; t < tokens; ++t)
    caches_[cache].read(place_of(step.pages, step.sequences[t], step.positions[t], group),
                        stored.data() + t * key_width,
                        stored.data() + tokens * key_width + t * value_width);
  sink(operation, stored);
}

void CpuExecutor::quantise_input(const op::Operation& operation, const op::Step& step,
                                 uint32_t thread) {
  const uint32_t input = operation.inputs[0];
  const uint64_t columns = program_.values[input].width;
  const uint64_t rows = rows_of(input, step);
  const uint64_t quanta = columns / quantum;
  const auto quantise = [&](uint64_t row, uint64_t first, uint64_t last) {
    kernels_.quantise(data(input, row) + first * quantum, (last - first) * quantum,
                      quantised_.at((row * quanta + first) * quantum));
  };
  if (rows == 1) {
    const uint64_t threads = pool_.threads();
    quantise(0, quanta * thread / threads, quanta * (thread + 1) / threads);
  } else {
    share(rows, thread, [&](uint64_t row) { quantise(row, 0, quanta); });
  }
}

/// The panels first … last − 1 of an expert times the rows.
void CpuExecutor::multiply(const Panels& panels, uint64_t expert, uint64_t first, uint64_t last,
                           const Factors& factors, const float* bias) const {
  const auto count = uint32_t(factors.y.size());
  if (!factors.quantised.empty())
    kernels_.matmul(panels.type, panels.expert(expert), panels.panel_bytes, panels.rows,
                    panels.columns, first, last, factors.quantised.data(), count, bias,
                    factors.y.data());
  else if (!factors.plain.empty())
    kernels_.matmul_f32(panels.type, panels.expert(expert), panels.panel_bytes, panels.rows,
                        panels.columns, first, last, factors.plain.data(), count, bias,
                        factors.y.data());
}

/// Pieces of panels small enough to even out two threads, large enough that claiming costs nothing.
static uint64_t piece_of(uint64_t panels, uint32_t threads) {
  return std::clamp<uint64_t>(panels / (8 * threads), 1, 16);
}

void CpuExecutor::matmul(size_t index, const op::Step& step, uint32_t thread) {
  const op::Operation& operation = program_.operations[index];
  const Panels& panels = panels_[operation.weight];
  const uint32_t input = operation.inputs[0];
  Factors& factors = mine_[thread].factors;
  factors.clear();
  for (uint64_t r = 0; r < rows_of(input, step); ++r) {
    if (quantises(operation))
      factors.quantised.push_back(quantised_.at(r * panels.columns));
    else
      factors.plain.push_back(data(input, r));
    factors.y.push_back(data(operation.output, r));
  }
  claim(index, panels.count(), piece_of(panels.count(), pool_.threads()),
        [&](uint64_t first, uint64_t last) {
          multiply(panels, 0, first, last, factors, bias_of(operation));
        });
}

const ExpertRows& CpuExecutor::rows_by_expert(uint32_t routing, uint32_t experts,
                                              const op::Step& step, uint32_t thread) {
  ExpertRows& rows = mine_[thread].rows;
  const uint32_t width = program_.values[routing].width;
  rows.make({data(routing), rows_of(routing, step) * width}, width / 2, experts,
            steps_ << 32 | routing);
  return rows;
}

/// Each chosen expert's panels times its own rows, the panels of all of them claimed in one list:
/// what is not chosen is not read.
void CpuExecutor::matmul_experts(size_t index, const op::Step& step, uint32_t thread) {
  const op::Operation& operation = program_.operations[index];
  const Panels& panels = panels_[operation.weight];
  const uint32_t input = operation.inputs[0], routing = operation.inputs[1];
  const uint32_t used = program_.values[routing].width / 2;
  const uint64_t width = program_.values[input].width;
  const bool row_of_slot = width != panels.columns;
  const ExpertRows& rows = rows_by_expert(routing, panels.experts, step, thread);
  const auto y = [&](uint32_t place) { return data(operation.output) + place * panels.rows; };
  Factors& factors = mine_[thread].factors;
  const auto gather = [&](uint32_t expert) {
    factors.clear();
    for (const uint32_t place : rows.of(expert)) {
      const uint64_t first =
          place / used * width + (row_of_slot ? place % used * panels.columns : 0);
      if (quantises(operation))
        factors.quantised.push_back(quantised_.at(first));
      else
        factors.plain.push_back(data(input) + first);
      factors.y.push_back(y(place));
    }
  };
  const float* bias = bias_of(operation);
  const uint64_t each = panels.per_expert(), count = rows.chosen().size() * each;
  uint32_t gathered = op::none;
  claim(index, count, piece_of(count, pool_.threads()), [&](uint64_t first, uint64_t last) {
    for (uint64_t end; first < last; first = end) {
      const uint64_t start = first / each * each;
      end = std::min(last, start + each);
      const uint32_t expert = rows.chosen()[first / each];
      if (gathered != expert) gather(expert);
      gathered = expert;
      multiply(panels, expert, first - start, end - start, factors,
               bias ? bias + expert * panels.rows : nullptr);
    }
  });
  share(rows.strays().size(), thread, [&](uint64_t i) {
    std::fill_n(y(rows.strays()[i]), panels.rows, std::numeric_limits<float>::quiet_NaN());
  });
}

void CpuExecutor::attention(size_t index, const op::Step& step, uint32_t thread) {
  const op::Operation& operation = program_.operations[index];
  const op::AttentionShape a = program_.attention_of(operation);
  const uint32_t cache_index = operation.as<op::Attend>()->cache;
  const Cache& cache = caches_[cache_index];
  const uint32_t group = a.heads / a.kv_heads;
  const float* sinks = floats_of(operation.weight);
  const std::vector<float>& slopes = slopes_[index];
  claim(index, step.tokens.size() * a.heads, 1, [&](uint64_t first, uint64_t) {
    // Heads of one KV head and neighbouring tokens are claimed one after another, so its keys stay
    // in cache.
    const uint64_t kv_head = first / (step.tokens.size() * group);
    const uint64_t rest = first % (step.tokens.size() * group);
    const uint64_t token = rest / group;
    const uint64_t head = kv_head * group + rest % group;
    const uint32_t sequence = step.sequences[token];
    AttentionHead work{};
    work.query = data(operation.inputs[0], token) + head * a.key_dim;
    work.keys = cache.keys(uint32_t(kv_head));
    work.values = cache.values(uint32_t(kv_head));
    work.pages = step.pages.row(sequence, program_.group_of(cache_index)).data();
    work.key_page = cache.key_page();
    work.value_page = cache.value_page();
    work.key_count = step.positions[token] + 1;
    work.key_dim = a.key_dim;
    work.value_dim = a.value_dim;
    work.value_stride = cache.value_stride();
    work.scale = a.scale;
    work.first_key = a.first_key(step.positions[token]);
    work.soft_cap = a.soft_cap;
    work.slope = slopes.empty() ? 0.0f : slopes[head];
    work.sink = sinks ? sinks + head : nullptr;
    work.scratch = scratch_.data() + uint64_t(thread) * 2 * cache.value_stride();
    work.output = data(operation.output, token) + head * a.value_dim;
    (options_.cache == op::CacheType::f16 ? kernels_.attention_f16 : kernels_.attention_f32)(work);
  });
}

/// What a thread does of an operation, by its kind.
struct CpuExecutor::Work {
  CpuExecutor& cpu;
  const size_t index;
  const op::Operation& operation;
  const op::Step& step;
  const uint32_t thread;

  uint64_t tokens() const { return step.tokens.size(); }
  uint64_t rows() const { return cpu.rows_of(operation.output, step); }
  uint64_t width() const { return cpu.program_.values[operation.output].width; }
  const float* x(uint64_t row = 0) const { return cpu.data(operation.inputs[0], row); }
  float* y(uint64_t row = 0) const { return cpu.data(operation.output, row); }
  template <class Function>
  void share(uint64_t count, Function function) const {
    cpu.share(count, thread, function);
  }
  /// Calls function(first, count) for this thread's elements of all rows together, in pieces of 256.
  template <class Function>
  void elements(Function function) const {
    const uint64_t count = rows() * width(), pieces = (count + 255) / 256;
    const uint64_t threads = cpu.pool_.threads();
    const uint64_t first = pieces * thread / threads * 256;
    const uint64_t last = std::min(count, pieces * (thread + 1) / threads * 256);
    if (first < last) function(first, last - first);
  }
  /// Of a norm: calls function(x, weight, bias, n, y) for each part of each row; the weight and the
  /// bias have the width of a part, or of the row.
  template <class Function>
  void parts(uint32_t count, Function function) const {
    const float *weight = cpu.floats_of(operation.weight), *bias = cpu.bias_of(operation);
    const uint64_t n = width() / count;
    const bool of_row = cpu.program_.weights[operation.weight].columns == width();
    share(rows() * count, [&](uint64_t i) {
      const uint64_t first = of_row ? i % count * n : 0;
      function(x() + i * n, weight + first, bias ? bias + first : nullptr, n, y() + i * n);
    });
  }
  uint32_t used() const { return cpu.program_.values[operation.inputs[1]].width / 2; }
  const float* routing(uint64_t row) const { return cpu.data(operation.inputs[1], row); }

  void operator()(const op::Embed& p) const {
    const op::Weight& table = cpu.program_.weights[operation.weight];
    share(tokens(), [&](uint64_t t) {
      const uint64_t row = p.of_position ? step.positions[t] : uint64_t(step.tokens[t]);
      quant::decode_row(table.type, table.row(row), {y(t), width()});
    });
  }
  void operator()(const op::RmsNorm& p) const {
    parts(p.parts, [&](const float* x, const float* weight, const float*, uint64_t n, float* y) {
      cpu.kernels_.rms_norm(x, weight, n, p.eps, y);
    });
  }
  void operator()(const op::LayerNorm& p) const {
    parts(p.parts, [&](const float* x, const float* weight, const float* bias, uint64_t n,
                       float* y) { cpu.kernels_.layer_norm(x, weight, bias, n, p.eps, y); });
  }
  void operator()(const op::Matmul&) const { cpu.matmul(index, step, thread); }
  void operator()(const op::Rope& p) const {
    const op::RopeTable& table = cpu.program_.rope_tables[p.table];
    const uint64_t dim = width() / p.heads;
    share(rows() * p.heads, [&](uint64_t i) {
      cpu.kernels_.rope(x() + i * dim, &cpu.rope_[p.table][i / p.heads * table.dimensions],
                        uint32_t(dim), table.dimensions, table.adjacent, y() + i * dim);
    });
  }
  void operator()(const op::KvStore& p) const {
    const uint32_t group = cpu.program_.group_of(p.cache);
    share(tokens(), [&](uint64_t t) {
      cpu.caches_[p.cache].store(place_of(step.pages, step.sequences[t], step.positions[t], group),
                                 x(t), cpu.data(operation.inputs[1], t));
    });
  }
  void operator()(const op::Attend&) const { cpu.attention(index, step, thread); }
  void operator()(const op::Gate& p) const {
    const float* up = cpu.data(operation.inputs[1]);
    const uint64_t gates = cpu.program_.values[operation.inputs[0]].width;
    const uint64_t repeat = width() / gates;
    if (repeat == 1)
      elements([&](uint64_t first, uint64_t count) {
        cpu.kernels_.gate(uint32_t(p.activation), x() + first, up + first, count, y() + first);
      });
    else
      share(rows() * gates, [&](uint64_t i) {
        cpu.kernels_.gate_all(uint32_t(p.activation), x()[i], up + i * repeat, repeat,
                              y() + i * repeat);
      });
  }
  void operator()(const op::Activate& p) const {
    elements([&](uint64_t first, uint64_t count) {
      cpu.kernels_.activate(uint32_t(p.activation), x() + first, count, y() + first);
    });
  }
  void operator()(const op::Xielu& p) const {
    elements([&](uint64_t first, uint64_t count) {
      cpu.kernels_.xielu(x() + first, {p.alpha_p, p.alpha_n, p.beta, p.eps}, count, y() + first);
    });
  }
  void operator()(const op::Add&) const {
    const float* second = cpu.data(operation.inputs[1]);
    elements([&](uint64_t first, uint64_t count) {
      cpu.kernels_.add(x() + first, second + first, count, y() + first);
    });
  }
  void operator()(const op::Scale& p) const {
    const float* bias = cpu.bias_of(operation);
    share(rows(), [&](uint64_t t) { scale_row(x(t), p.factor, bias, width(), y(t)); });
  }
  void operator()(const op::SoftCap& p) const {
    elements([&](uint64_t first, uint64_t count) {
      cpu.kernels_.soft_cap(x() + first, p.cap, count, y() + first);
    });
  }
  void operator()(const op::Clamp& p) const {
    elements([&](uint64_t first, uint64_t count) {
      cpu.kernels_.clamp(x() + first, p.low, p.high, count, y() + first);
    });
  }
  void operator()(const op::PositionScale& p) const {
    share(rows(), [&](uint64_t t) {
      cpu.kernels_.multiply_floored(x(t), cpu.rope_[p.table][t], width(), y(t));
    });
  }
  void operator()(const op::Slice& p) const {
    const uint64_t part = cpu.program_.values[operation.inputs[0]].width / p.parts;
    share(rows() * p.parts, [&](uint64_t i) {
      std::memcpy(y() + i * p.width, x() + i * part + p.first, p.width * sizeof(float));
    });
  }
  void operator()(const op::Route& p) const {
    const uint64_t experts = cpu.program_.values[operation.inputs[0]].width;
    Mine& mine = cpu.mine_[thread];
    mine.probabilities.resize(experts);
    float* probabilities = mine.probabilities.data();
    share(rows(), [&](uint64_t t) {
      (p.sigmoid ? cpu.kernels_.sigmoid : cpu.kernels_.softmax)(x(t), experts, probabilities);
      mine.chooser.choose(p, {x(t), experts}, probabilities, cpu.bias_of(operation), y(t));
    });
  }
  void operator()(const op::MatmulExperts&) const { cpu.matmul_experts(index, step, thread); }
  void operator()(const op::ScaleExperts&) const {
    const uint64_t n = width() / used();
    const auto experts = uint32_t(cpu.program_.weights[operation.weight].columns);
    const float *factors = cpu.floats_of(operation.weight), *bias = cpu.bias_of(operation);
    share(rows() * used(), [&](uint64_t i) {
      const uint32_t expert = expert_of(routing(i / used())[i % used()], experts);
      if (expert == experts)
        std::fill_n(y() + i * n, n, std::numeric_limits<float>::quiet_NaN());
      else
        scale_row(x() + i * n, factors[expert], bias ? bias + expert * n : nullptr, n, y() + i * n);
    });
  }
  void operator()(const op::SpreadExperts&) const {
    const uint64_t n = width() / used();
    share(rows() * used(), [&](uint64_t i) {
      const uint64_t t = i / used();
      cpu.kernels_.multiply_floored(x(t), routing(t)[used() + i % used()], n, y() + i * n);
    });
  }
  void operator()(const op::MixExperts& p) const {
    share(rows(), [&](uint64_t t) {
      cpu.kernels_.mix(x(t), p.weighted ? routing(t) + used() : nullptr, used(), width(), y(t));
    });
  }
  void operator()(const op::SelectRows&) const {
    share(step.selected.size(),
          [&](uint64_t i) { std::memcpy(y(i), x(step.selected[i]), width() * sizeof(float)); });
  }
};

void CpuExecutor::execute(size_t index, const op::Step& step, uint32_t thread) {
  const op::Operation& operation = program_.operations[index];
  std::visit(Work{*this, index, operation, step, thread}, operation.of);
}

uint64_t physical_memory() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  return pages > 0 && page > 0 ? uint64_t(pages) * uint64_t(page) : 0;
}

}  // namespace

MemoryPlan plan_memory(const op::Program& program, const op::ExecutorOptions& options) {
  MemoryPlan plan;
  std::vector<bool> counted(program.weights.size(), false);
  for (const op::Operation& operation : program.operations) {
    if (!op::multiplies(operation) || counted[operation.weight]) continue;
    counted[operation.weight] = true;
    const Panels panels = shape_of_panels(program.weights[operation.weight], experts_of(operation));
    plan.weights += panels.count() * panels.panel_bytes;
  }
  for (uint32_t i = 0; i < program.caches.size(); ++i)
    plan.cache += Cache::bytes(program.caches[i], options, program.window_of(i));
  for (uint32_t width : program.buffer_width)
    plan.work += uint64_t(width) * sizeof(float) * options.batch;
  return plan;
}

/// "portable, avx2": the instruction sets that this machine can run.
static std::string available_sets() {
  std::string names;
  for (const char* name : {"portable", "avx2", "avx512"})
    if (find_kernels(name)) names += (names.empty() ? "" : ", ") + std::string(name);
  return names;
}

Result<std::unique_ptr<op::Executor>> make_executor(const op::Program& program,
                                                    const op::ExecutorOptions& given) {
  op::ExecutorOptions options = given;
  if (options.threads == 0) options.threads = std::max(1u, std::thread::hardware_concurrency());
  const Kernels* kernels = options.isa.empty() ? best_kernels() : find_kernels(options.isa.c_str());
  if (!kernels)
    return Error{
        options.isa.empty()
            ? "this machine's CPU is older than assay's minimum, x86-64-v3 (AVX2, FMA, F16C)"
            : fmt::format("this machine does not support the instruction set '{}'; available: {}",
                          options.isa, available_sets()),
        Exit::device};
  const MemoryPlan plan = plan_memory(program, options);
  const uint64_t needed = plan.weights + plan.cache + plan.work, have = physical_memory();
  if (have && needed > have)
    return Error{fmt::format("not enough memory: weights {:.1f} MB + KV cache {:.1f} MB for {} "
                             "positions + work space "
                             "{:.1f} MB = {:.1f} MB, the machine has {:.1f} MB",
                             double(plan.weights) / 1e6, double(plan.cache) / 1e6, options.context,
                             double(plan.work) / 1e6, double(needed) / 1e6, double(have) / 1e6),
                 Exit::device};
  auto executor = std::make_unique<CpuExecutor>(program, options, *kernels);
  if (Status prepared = executor->prepare(); !prepared) return prepared.error();
  return std::unique_ptr<op::Executor>(std::move(executor));
}

}  // namespace assay::cpu
