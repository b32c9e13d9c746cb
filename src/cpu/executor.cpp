#include "cpu/executor.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <vector>

#include "cpu/cache.h"
#include "cpu/kernels.h"
#include "cpu/panel.h"
#include "cpu/pool.h"
#include "op/rope.h"
#include "quant/formats.h"

namespace assay::cpu {

namespace {

/// The quantised form of a value's rows, made once a step and shared by the matmuls that read the
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

class CpuExecutor final : public op::Executor {
 public:
  CpuExecutor(const op::Program& program, const op::ExecutorOptions& options,
              const Kernels& kernels)
      : program_(program),
        options_(options),
        kernels_(kernels),
        pool_(options.threads, options.flush_denormals),
        paging_(options),
        panels_(program.weights.size()),
        buffers_(program.buffers),
        counters_(program.operations.size()) {
    find_barriers();
    uint64_t stride = 0;
    for (const op::CacheShape& shape : program.caches) {
      caches_.emplace_back(shape, options);
      stride = std::max<uint64_t>(stride, caches_.back().value_stride());
    }
    scratch_.resize(options.threads * 2 * stride);
  }

  Status prepare();
  std::span<const float> run(const op::Step& step, const op::Sink& sink) override;
  void truncate(uint32_t, uint32_t) override {
  }  // a position is read only after it is written again
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
  void matmul(size_t index, const op::Step& step);
  void attention(size_t index, const op::Step& step, uint32_t thread);

  bool quantises(const op::Operation& operation) const {
    return operation.is<op::Matmul>() && options_.contract == op::Contract::assay1 &&
           is_block_format(program_.weights[operation.weight].type);
  }
  const float* bias_of(const op::Operation& operation) const {
    if (operation.bias == op::none) return nullptr;
    return reinterpret_cast<const float*>(program_.weights[operation.bias].data.data());
  }
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

  const op::Program& program_;
  op::ExecutorOptions options_;
  const Kernels& kernels_;
  Pool pool_;
  op::Paging paging_;
  std::vector<Cache> caches_;   // by index of the program's
  std::vector<Panels> panels_;  // by weight; empty where no matmul reads it
  std::vector<std::vector<float>> buffers_;
  std::vector<std::atomic<uint64_t>> counters_;  // next unclaimed item of each operation
  std::vector<bool> barrier_before_, quantise_before_;
  QuantisedRows quantised_;
  std::vector<std::vector<float>> rope_;  // by rotary table: (tokens, dimensions): cos, sin
  std::vector<float> scratch_;
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
  for (size_t i = 0; i < caches_.size(); ++i)
    if (!caches_[i].allocated())
      return Error{fmt::format("not enough memory for a KV cache: {} bytes",
                               Cache::bytes(program_.caches[i], options_)),
                   Exit::device};
  uint64_t total = 0, done = 0;
  std::vector<uint32_t> wanted;
  for (const op::Operation& operation : program_.operations)
    if (operation.is<op::Matmul>() && !panels_[operation.weight].data) {
      if (std::find(wanted.begin(), wanted.end(), operation.weight) != wanted.end()) continue;
      wanted.push_back(operation.weight);
      total += program_.weights[operation.weight].data.size();
    }
  for (uint32_t weight : wanted) {
    const op::Weight& source = program_.weights[weight];
    Panels& panels = panels_[weight];
    panels = allocate_panels(source);
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
  std::vector<float> stored(tokens * (key_width + value_width));
  for (uint64_t t = 0; t < tokens; ++t)
    caches_[operation.as<op::KvStore>()->cache].read(
        place_of(step.pages, step.sequences[t], step.positions[t]), stored.data() + t * key_width,
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

void CpuExecutor::matmul(size_t index, const op::Step& step) {
  const op::Operation& operation = program_.operations[index];
  const Panels& panels = panels_[operation.weight];
  const uint32_t input = operation.inputs[0];
  const uint64_t count = rows_of(input, step);
  const uint64_t columns = panels.columns;
  const float* bias = bias_of(operation);
  float* y = data(operation.output);
  // Pieces small enough to even out two threads, large enough that claiming costs nothing.
  const uint64_t piece = std::clamp<uint64_t>(panels.count() / (8 * pool_.threads()), 1, 16);
  std::vector<QuantisedRow> rows;
  std::vector<const float*> plain;
  if (quantises(operation)) {
    for (uint64_t r = 0; r < count; ++r) rows.push_back(quantised_.at(r * columns));
  } else {
    for (uint64_t r = 0; r < count; ++r) plain.push_back(data(input, r));
  }
  claim(index, panels.count(), piece, [&](uint64_t first, uint64_t last) {
    if (!rows.empty())
      kernels_.matmul(panels.type, panels.data.get(), panels.panel_bytes, panels.rows, columns,
                      first, last, rows.data(), uint32_t(count), bias, y, panels.rows);
    else if (!plain.empty())
      kernels_.matmul_f32(panels.type, panels.data.get(), panels.panel_bytes, panels.rows, columns,
                          first, last, plain.data(), uint32_t(count), bias, y, panels.rows);
  });
}

void CpuExecutor::attention(size_t index, const op::Step& step, uint32_t thread) {
  const op::Operation& operation = program_.operations[index];
  const op::AttentionShape a = program_.attention_of(operation);
  const Cache& cache = caches_[operation.as<op::Attend>()->cache];
  const uint32_t group = a.heads / a.kv_heads;
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
    work.pages = step.pages.row(sequence).data();
    work.key_page = cache.key_page();
    work.value_page = cache.value_page();
    work.key_count = step.positions[token] + 1;
    work.key_dim = a.key_dim;
    work.value_dim = a.value_dim;
    work.value_stride = cache.value_stride();
    work.scale = a.scale;
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
  /// kernel(a, b, count, y) over all rows at once, in pieces of 256.
  template <class Kernel>
  void pairs(Kernel kernel) const {
    const uint64_t count = rows() * width(), pieces = (count + 255) / 256;
    const uint64_t threads = cpu.pool_.threads();
    const uint64_t first = pieces * thread / threads * 256;
    const uint64_t last = std::min(count, pieces * (thread + 1) / threads * 256);
    if (first < last)
      kernel(x() + first, cpu.data(operation.inputs[1]) + first, last - first, y() + first);
  }

  void operator()(const op::Embed&) const {
    const op::Weight& table = cpu.program_.weights[operation.weight];
    share(tokens(), [&](uint64_t t) {
      quant::decode_row(table.type, table.row(uint64_t(step.tokens[t])), {y(t), width()});
    });
  }
  void operator()(const op::RmsNorm& p) const {
    const auto* weight =
        reinterpret_cast<const float*>(cpu.program_.weights[operation.weight].data.data());
    const uint64_t part = width() / p.parts;
    share(rows() * p.parts, [&](uint64_t i) {
      cpu.kernels_.rms_norm(x() + i * part, weight, part, p.eps, y() + i * part);
    });
  }
  void operator()(const op::Matmul&) const { cpu.matmul(index, step); }
  void operator()(const op::Rope& p) const {
    const op::RopeTable& table = cpu.program_.rope_tables[p.table];
    const uint64_t dim = width() / p.heads;
    share(rows() * p.heads, [&](uint64_t i) {
      cpu.kernels_.rope(x() + i * dim, &cpu.rope_[p.table][i / p.heads * table.dimensions],
                        uint32_t(dim), table.dimensions, table.adjacent, y() + i * dim);
    });
  }
  void operator()(const op::KvStore& p) const {
    share(tokens(), [&](uint64_t t) {
      cpu.caches_[p.cache].store(place_of(step.pages, step.sequences[t], step.positions[t]), x(t),
                                 cpu.data(operation.inputs[1], t));
    });
  }
  void operator()(const op::Attend&) const { cpu.attention(index, step, thread); }
  void operator()(const op::Gate& p) const {
    pairs([&](const float* gates, const float* up, uint64_t count, float* y) {
      cpu.kernels_.gate(uint32_t(p.activation), gates, up, count, y);
    });
  }
  void operator()(const op::Add&) const { pairs(cpu.kernels_.add); }
  void operator()(const op::Scale& p) const {
    const float* bias = cpu.bias_of(operation);
    share(rows(), [&](uint64_t t) {
      for (uint64_t i = 0; i < width(); ++i) {
        const float product = x(t)[i] * p.factor;
        y(t)[i] = bias ? product + bias[i] : product;
      }
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
    if (!operation.is<op::Matmul>() || counted[operation.weight]) continue;
    counted[operation.weight] = true;
    const op::Weight& weight = program.weights[operation.weight];
    quant::visit(weight.type, [&]<class F>() {
      plan.weights +=
          (weight.rows + panel_rows - 1) / panel_rows * PanelLayout<F>::panel_bytes(weight.columns);
    });
  }
  for (const op::CacheShape& shape : program.caches) plan.cache += Cache::bytes(shape, options);
  for (uint32_t width : program.buffer_width)
    plan.work += uint64_t(width) * sizeof(float) * options.batch;
  return plan;
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
            : "the instruction set '" + options.isa + "' is not to be had on this machine",
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
