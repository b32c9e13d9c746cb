#include "gpu/memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "gpu/pack.h"
#include "gpu/plan.h"
#include "kernel/attention.h"
#include "kernel/experts.h"
#include "kernel/sample.h"
#include "kernel/top_k.h"
#include "lang/lang.h"
#include "op/kinds.h"
#include "op/paging.h"

namespace assay::gpu {

namespace {

using device::Address;

constexpr uint64_t piece_bytes = 64 << 20;  // packed on the host at a time

struct Sizes {
  std::vector<bool> packed, vectors;   // by weight
  std::vector<uint32_t> experts;       // by weight: 1 where there are none
  std::vector<uint64_t> buffers;       // bytes
  uint64_t widest = 0;                 // columns that are quantised
  std::vector<uint64_t> keys, values;  // bytes, by cache
  uint32_t stride = 0;                 // of the page table
  uint64_t table = 0;                  // bytes
  uint64_t step = 0, scratch = 0, best = 0, drawn = 0;
  uint64_t chunk_outputs = 0, chunk_softmax = 0;
  uint64_t places = 0, expert_tiles = 0;
  uint64_t slopes = 0;  // of all operations
};

Sizes sizes_of(const op::Program& program, const op::ExecutorOptions& options) {
  Sizes sizes;
  sizes.packed.assign(program.weights.size(), false);
  sizes.vectors.assign(program.weights.size(), false);
  sizes.experts.assign(program.weights.size(), 1);
  uint64_t most_heads = 0;
  for (const op::Operation& operation : program.operations) {
    const bool is_row = op::row_of(operation).weight == op::WeightShape::vector;
    if (operation.weight != op::none)
      (is_row ? sizes.vectors : sizes.packed)[operation.weight] = true;
    if (operation.bias != op::none) sizes.vectors[operation.bias] = true;
    if (reads_quantised(program, operation))
      sizes.widest = std::max<uint64_t>(sizes.widest, program.values[operation.inputs[0]].width);
    if (const auto* p = operation.as<op::Attend>()) {
      most_heads = std::max<uint64_t>(most_heads, p->heads);
      if (p->alibi != 0) sizes.slopes += p->heads * sizeof(float);
    }
    if (const auto* p = operation.as<op::MatmulExperts>()) {
      sizes.experts[operation.weight] = p->experts;
      const uint32_t places = options.batch * (program.values[operation.inputs[1]].width / 2);
      sizes.places = std::max<uint64_t>(sizes.places, places * sizeof(uint32_t));
      sizes.expert_tiles = std::max<uint64_t>(
          sizes.expert_tiles, most_expert_tiles(places, p->experts, 8) * sizeof(ExpertTile));
    }
  }
  for (uint32_t width : program.buffer_width)
    sizes.buffers.push_back(uint64_t(width) * sizeof(float) * options.batch);
  sizes.stride = op::pages_for(options.context);
  if (!program.caches.empty())
    sizes.table =
        uint64_t(options.sequences) * program.windows.size() * sizes.stride * sizeof(uint32_t);
  const uint64_t element = options.cache == op::CacheType::f16 ? 2 : 4;
  uint64_t widest_value = 0;
  for (uint32_t i = 0; i < program.caches.size(); ++i) {
    const op::CacheShape& a = program.caches[i];
    const uint64_t pages = op::pages_of(options, program.window_of(i));
    const uint64_t rows = pages * a.kv_heads * key_chunk;
    sizes.keys.push_back(rows * a.key_dim * element);
    sizes.values.push_back(rows * a.value_dim * element);
    sizes.scratch = std::max(sizes.scratch, uint64_t(options.batch) * a.kv_heads *
                                                (a.key_dim + a.value_dim) * sizeof(float));
    widest_value = std::max<uint64_t>(widest_value, a.value_dim);
  }
  if (sizes.stride * key_chunk > most_whole_keys) {
    const uint64_t chunks = std::min(options.batch, most_split_tokens) * most_heads * sizes.stride;
    sizes.chunk_outputs = chunks * widest_value * sizeof(float);
    sizes.chunk_softmax = chunks * 2 * sizeof(float);
  }
  // tokens, positions, sequences, selected, cos and sin: each begins at a multiple of 16
  sizes.step = uint64_t(options.batch) * (4 + rope_width(program)) * 4 + 5 * 16;
  if (const uint32_t last = program.operations.back().output; last != op::none) {
    const uint64_t groups = (program.values[last].width + sorted_keys - 1) / sorted_keys;
    sizes.best = options.sequences * groups * most_best * sizeof(uint64_t);
    sizes.drawn = uint64_t(options.sequences) * most_drawn * sizeof(int32_t);
    // rules, cos and sin of what is drawn
    sizes.step += options.sequences *
                      (sizeof(SampleRule) + (most_drawn - 1) * uint64_t(4) * rope_width(program)) +
                  2 * 16;
  }
  return sizes;
}

/// Bytes of codes, scales and sums.
uint64_t quantised_bytes(uint64_t columns) {
  return columns + columns / quantum * 8;
}

/// Packs and uploads a weight, piece by piece, on all of the host's cores.
Status upload_packed(device::Queue& queue, const op::Weight& weight, uint32_t experts, Address to) {
  const uint64_t tiles = tile_count(weight, experts), bytes = tile_bytes(weight);
  const uint64_t tiles_a_piece = std::max<uint64_t>(1, piece_bytes / bytes);
  std::vector<uint8_t> piece;
  for (uint64_t first = 0; first < tiles; first += tiles_a_piece) {
    const uint64_t last = std::min(tiles, first + tiles_a_piece);
    piece.resize((last - first) * bytes);
    std::atomic<uint64_t> next{first};
    const auto work = [&] {
      for (uint64_t i = next++; i < last; i = next++)
        pack_tiles(weight, i, i + 1, std::span(piece).subspan((i - first) * bytes, bytes), experts);
    };
    std::vector<std::thread> helpers;
    const uint64_t cores = std::max(1u, std::thread::hardware_concurrency());
    for (uint64_t i = 1; i < std::min(cores, (last - first) / 4); ++i) helpers.emplace_back(work);
    work();
    for (auto& helper : helpers) helper.join();
    if (Status done = queue.upload(to + first * bytes, piece); !done) return done;
  }
  return ok();
}

Status upload_weights(device::Queue& queue, const op::Program& program,
                      const op::ExecutorOptions& options, const Sizes& sizes,
                      DeviceMemory& memory) {
  uint64_t total = 0, done = 0;
  for (const op::Weight& weight : program.weights) total += weight.data.size();
  memory.packed.assign(program.weights.size(), 0);
  memory.vectors.assign(program.weights.size(), 0);
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const op::Weight& weight = program.weights[i];
    if (sizes.packed[i]) {
      const uint32_t experts = sizes.experts[i];
      auto address = queue.allocate(tile_count(weight, experts) * tile_bytes(weight));
      if (!address) return address.error();
      memory.packed[i] = *address;
      if (Status status = upload_packed(queue, weight, experts, *address); !status) return status;
    }
    if (sizes.vectors[i]) {
      auto address = queue.allocate(weight.data.size());
      if (!address) return address.error();
      memory.vectors[i] = *address;
      if (Status status = queue.upload(*address, weight.data); !status) return status;
    }
    if (options.release && sizes.packed[i]) options.release(weight.data);
    done += weight.data.size();
    if (options.progress) options.progress(done, total);
  }
  return ok();
}

Status upload_slopes(device::Queue& queue, const op::Program& program, DeviceMemory& memory) {
  memory.slopes.assign(program.operations.size(), 0);
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const auto* p = program.operations[i].as<op::Attend>();
    if (!p || p->alibi == 0) continue;
    std::vector<float> slopes;
    for (uint32_t head = 0; head < p->heads; ++head)
      slopes.push_back(op::alibi_slope(p->alibi, head, p->heads));
    auto address = queue.allocate(slopes.size() * sizeof(float));
    if (!address) return address.error();
    memory.slopes[i] = *address;
    if (Status status = queue.upload(*address, {reinterpret_cast<const uint8_t*>(slopes.data()),
                                                slopes.size() * sizeof(float)});
        !status)
      return status;
  }
  return ok();
}

}  // namespace

uint32_t rope_width(const op::Program& program) {
  uint32_t width = 0;
  for (const op::RopeTable& table : program.rope_tables) width += table.dimensions;
  return width;
}

MemoryPlan plan_memory(const op::Program& program, const op::ExecutorOptions& options) {
  const Sizes sizes = sizes_of(program, options);
  MemoryPlan plan;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const op::Weight& weight = program.weights[i];
    if (sizes.packed[i]) plan.weights += tile_count(weight, sizes.experts[i]) * tile_bytes(weight);
    if (sizes.vectors[i]) plan.weights += weight.data.size();
  }
  for (size_t i = 0; i < sizes.keys.size(); ++i) plan.cache += sizes.keys[i] + sizes.values[i];
  for (uint64_t bytes : sizes.buffers) plan.work += bytes;
  plan.work += quantised_slots * quantised_bytes(sizes.widest) * options.batch + sizes.step +
               sizes.scratch + sizes.chunk_outputs + sizes.chunk_softmax + 2 * sizes.best +
               sizes.drawn + sizes.table + sizes.places + sizes.expert_tiles + sizes.slopes;
  return plan;
}

Result<DeviceMemory> allocate(device::Queue& queue, const op::Program& program,
                              const op::ExecutorOptions& options) {
  const MemoryPlan plan = plan_memory(program, options);
  const uint64_t have = queue.memory().free;
  if (plan.total() > have)
    return Error{
        fmt::format("not enough memory on {}: weights {:.1f} MB + KV cache {:.1f} MB for {} "
                    "positions + work space {:.1f} MB = {:.1f} MB, {:.1f} MB are free",
                    queue.name(), double(plan.weights) / 1e6, double(plan.cache) / 1e6,
                    options.context, double(plan.work) / 1e6, double(plan.total()) / 1e6,
                    double(have) / 1e6),
        Exit::device};
  const Sizes sizes = sizes_of(program, options);
  DeviceMemory memory;
  Status status = ok();
  const auto take = [&](uint64_t bytes) -> Address {
    if (!status || bytes == 0) return 0;
    auto address = queue.allocate(bytes);
    if (!address) status = address.error();
    return address ? *address : 0;
  };
  memory.stride = sizes.stride;
  memory.groups = uint32_t(program.windows.size());
  memory.table = take(sizes.table);
  for (size_t i = 0; i < sizes.keys.size(); ++i) {
    memory.keys.push_back(take(sizes.keys[i]));
    memory.values.push_back(take(sizes.values[i]));
  }
  for (uint64_t bytes : sizes.buffers) memory.buffers.push_back(take(bytes));
  for (Quantised& slot : memory.quantised) {
    slot.codes = pointer<uint32_t>(take(sizes.widest * options.batch));
    slot.scale = pointer<float>(take(sizes.widest / quantum * 4 * options.batch));
    slot.sums = pointer<uint32_t>(take(sizes.widest / quantum * 4 * options.batch));
  }
  memory.step = take(sizes.step);
  memory.step_bytes = sizes.step;
  memory.scratch = take(sizes.scratch);
  memory.chunk_outputs = take(sizes.chunk_outputs);
  memory.chunk_softmax = take(sizes.chunk_softmax);
  for (Address& keys : memory.best) keys = take(sizes.best);
  memory.drawn = take(sizes.drawn);
  memory.places = take(sizes.places);
  memory.expert_tiles = take(sizes.expert_tiles);
  if (!status) return status.error();
  if (status = upload_slopes(queue, program, memory); !status) return status.error();
  if (status = upload_weights(queue, program, options, sizes, memory); !status)
    return status.error();
  return memory;
}

Status fill_caches(device::Queue& queue, const op::Program& program,
                   const op::ExecutorOptions& options, const DeviceMemory& memory, float value) {
  const Sizes sizes = sizes_of(program, options);
  const bool f16 = options.cache == op::CacheType::f16;
  const uint64_t count = piece_bytes / (f16 ? 2 : 4);
  const std::vector<uint16_t> halves(f16 ? count : 0, k_f32_to_f16(value));
  const std::vector<float> floats(f16 ? 0 : count, value);
  const std::span piece(f16 ? reinterpret_cast<const uint8_t*>(halves.data())
                            : reinterpret_cast<const uint8_t*>(floats.data()),
                        piece_bytes);
  const auto fill = [&](Address to, uint64_t bytes) -> Status {
    for (uint64_t at = 0; at < bytes; at += piece_bytes)
      if (Status done = queue.upload(to + at, piece.first(std::min(piece_bytes, bytes - at)));
          !done)
        return done;
    return ok();
  };
  for (size_t i = 0; i < memory.keys.size(); ++i) {
    if (Status done = fill(memory.keys[i], sizes.keys[i]); !done) return done;
    if (Status done = fill(memory.values[i], sizes.values[i]); !done) return done;
  }
  return ok();
}

}  // namespace assay::gpu
