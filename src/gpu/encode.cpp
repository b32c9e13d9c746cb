#include "gpu/encode.h"

#include <algorithm>

#include "kernel/attention.h"
#include "kernel/attention_tile.h"
#include "kernel/cache.h"
#include "kernel/elementwise.h"
#include "kernel/embed.h"
#include "kernel/experts.h"
#include "kernel/matmul.h"
#include "kernel/matvec.h"
#include "kernel/norm.h"
#include "kernel/route.h"
#include "kernel/sample.h"
#include "kernel/top_k.h"
#include "quant/formats.h"

namespace assay::gpu {

namespace {

using op::Operation;

uint32_t groups_for(uint64_t count, uint32_t group_size) {
  return uint32_t((count + group_size - 1) / group_size);
}

/// Simds for the chunks of 256 columns of a mat-vec's row: as few even rounds as `most` allow.
uint32_t matvec_simds(uint32_t columns, uint32_t most) {
  const uint32_t chunks = (columns + chunk_columns - 1) / chunk_columns;
  const uint32_t rounds = (chunks + most - 1) / most;
  return (chunks + rounds - 1) / rounds;
}

}  // namespace

uint32_t Encoder::rows(uint32_t value) const {
  return program.values[value].selected ? shape.selected : shape.tokens;
}

device::Address Encoder::buffer(uint32_t value) const {
  return memory.buffers[program.values[value].buffer];
}

const float* Encoder::vector(uint32_t weight) const {
  return weight == op::none ? nullptr : pointer<float>(memory.vectors[weight]);
}

uint32_t Encoder::experts_used(uint32_t routing) const {
  return program.values[routing].width / 2;
}

template <class Kernel, class... ThreadsAndArgs>
Status Encoder::launch(const Kernel& kernel, uint32_t groups_x, uint32_t groups_y,
                       const ThreadsAndArgs&... rest) const {
  if (groups_x == 0 || groups_y == 0) return ok();
  return queue.launch(device::launch_of(kernel, groups_x, groups_y, rest...));
}

Status Encoder::node(const Node& node) const {
  switch (node.form) {
    case Node::Form::plain:
      return plain(node);
    case Node::Form::quantise:
      return quantise(node);
    case Node::Form::multiply:
      return multiply(node, node.operations, node.add);
    case Node::Form::gate_up:
      return gate_up(node);
    case Node::Form::rope_store:
      return rope_store(node);
    case Node::Form::group_experts:
      return group_experts(node);
  }
  return ok();
}

Status Encoder::best(uint32_t logits, uint32_t k) const {
  std::vector<uint32_t> counts{program.values[logits].width};  // before each pass
  while (counts.back() > sorted_keys) counts.push_back(groups_for(counts.back(), sorted_keys) * k);
  for (size_t i = 0; i < counts.size(); ++i) {
    const size_t to = (counts.size() - 1 - i) % 2;
    TopKArgs args{nullptr, pointer<uint64_t>(memory.best[1 - to]),
                  pointer<uint64_t>(memory.best[to]), counts[i], k};
    if (i == 0) args.logits = pointer<float>(buffer(logits));
    const Status done =
        launch(kernels::top_k, groups_for(counts[i], sorted_keys), rows(logits), args);
    if (!done) return done;
  }
  return ok();
}

Status Encoder::sample(uint32_t k) const {
  SampleArgs args{};
  args.best = pointer<uint64_t>(memory.best[0]);
  args.rules = shape.rules;
  args.rope_ahead = shape.rope_ahead;
  args.drawn = pointer<int32_t>(memory.drawn);
  args.tokens = const_cast<int32_t*>(shape.inputs.tokens);  // the executor's own memory
  args.positions = const_cast<uint32_t*>(shape.inputs.positions);
  args.rope = const_cast<float*>(shape.inputs.rope);
  args.k = k;
  args.rows = shape.tokens;
  args.dimensions = rope_width(program);
  return launch(kernels::sample, 1, shape.tokens, args);
}

Status Encoder::quantise(const Node& node) const {
  const uint32_t blocks = rows(node.value) * (program.values[node.value].width / quantum);
  const QuantiseArgs args{pointer<float>(buffer(node.value)), memory.quantised[node.to], blocks, 0};
  const uint32_t simds = std::clamp(blocks, 1u, 8u);
  return launch(kernels::quantise, groups_for(blocks, simds), 1, simds * lanes, args);
}

Status Encoder::multiply(const Node& node, const std::vector<uint32_t>& operations,
                         uint32_t add) const {
  const Operation& first = program.operations[operations[0]];
  const uint32_t tokens = rows(first.inputs[0]);
  const uint32_t columns = program.values[first.inputs[0]].width;
  const bool quantised = reads_quantised(program, first);
  const bool one = tokens == 1;
  MatmulArgs args{};
  args.x = memory.quantised[node.from];
  args.x_f32 = pointer<float>(buffer(first.inputs[0]));
  args.part_count = uint32_t(operations.size());
  args.columns = columns;
  args.tokens = tokens;
  uint32_t groups = 0;
  for (size_t i = 0; i < operations.size(); ++i) {
    const Operation& operation = program.operations[operations[i]];
    const op::Weight& weight = program.weights[operation.weight];
    Matrix& part = args.parts[i];
    part.data = pointer<uint8_t>(memory.packed[operation.weight]);
    part.bias = vector(operation.bias);
    part.y = pointer<float>(buffer(operation.output));
    part.format = weight.type;
    part.rows = uint32_t(weight.rows);
    part.first_group = groups;
    groups += groups_for(weight.rows, one ? tile_rows : quantised ? 4 * 16 : 4 * tile_rows);
    if (add != op::none && i + 1 == operations.size()) {
      const Operation& sum = program.operations[add];
      const uint32_t other = sum.inputs[sum.inputs[0] == operation.output ? 1 : 0];
      part.add = pointer<float>(buffer(other));
      part.y = pointer<float>(buffer(sum.output));
    }
  }
  if (one) {
    const uint32_t threads = matvec_simds(columns, kernels::matvec.threads / lanes) * lanes;
    return quantised ? launch(kernels::matvec, groups, tokens, threads, args)
                     : launch(kernels::matvec_float, groups, tokens, threads, args);
  }
  if (!quantised) return launch(kernels::matmul_float, groups, groups_for(tokens, 8), args);
  return tokens <= 8 ? launch(kernels::matmul_8, groups, groups_for(tokens, 8), args)
                     : launch(kernels::matmul, groups, groups_for(tokens, 32), args);
}

Status Encoder::gate_up(const Node& node) const {
  const Operation& gates = program.operations[node.operations[0]];
  const Operation& ups = program.operations[node.operations[1]];
  const Operation& glu = program.operations[node.operations[2]];
  const uint32_t columns = program.values[gates.inputs[0]].width;
  const uint32_t width = program.values[glu.output].width;
  if (rows(glu.output) == 1) {
    GateUpArgs args{};
    args.x = memory.quantised[node.from];
    args.y = memory.quantised[node.to];
    args.gate = pointer<uint8_t>(memory.packed[gates.weight]);
    args.up = pointer<uint8_t>(memory.packed[ups.weight]);
    args.gate_format = program.weights[gates.weight].type;
    args.up_format = program.weights[ups.weight].type;
    args.rows = width;
    args.columns = columns;
    args.activation = uint32_t(glu.as<op::Gate>()->activation);
    const uint32_t simds = matvec_simds(columns, kernels::gate_up.threads / lanes / 2);
    return launch(kernels::gate_up, width / tile_rows, 1, 2 * simds * lanes, args);
  }
  if (Status done = multiply(node, {node.operations[0], node.operations[1]}, op::none); !done)
    return done;
  if (Status done = gate(glu); !done) return done;
  return quantise({.form = Node::Form::quantise, .value = glu.output, .to = node.to});
}

CacheView Encoder::cache(uint32_t index) const {
  const op::CacheShape& a = program.caches[index];
  const uint64_t of_group = uint64_t(program.group_of(index)) * memory.stride;
  return {pointer<uint8_t>(memory.keys[index]),
          pointer<uint8_t>(memory.values[index]),
          pointer<uint32_t>(memory.table + of_group * sizeof(uint32_t)),
          memory.groups * memory.stride,
          a.kv_heads,
          a.key_dim,
          a.value_dim,
          cache_f32 ? 1u : 0u,
          0};
}

const float* Encoder::rope_table(uint32_t table) const {
  uint64_t at = 0;
  for (uint32_t i = 0; i < table; ++i) at += program.rope_tables[i].dimensions;
  return shape.inputs.rope + at * shape.tokens;
}

Status Encoder::rope_store(const Node& node) const {
  const Operation& queries = program.operations[node.operations[0]];
  const Operation& keys = program.operations[node.operations[1]];
  const Operation& store = program.operations[node.operations[2]];
  const auto& rope = *queries.as<op::Rope>();
  const op::RopeTable& table = program.rope_tables[rope.table];
  RopeStoreArgs args{};
  args.cache = cache(store.as<op::KvStore>()->cache);
  args.step = shape.inputs;
  args.step.rope = rope_table(rope.table);
  args.queries = pointer<float>(buffer(queries.inputs[0]));
  args.rotated = pointer<float>(buffer(queries.output));
  args.keys = pointer<float>(buffer(keys.inputs[0]));
  args.values = pointer<float>(buffer(store.inputs[1]));
  args.heads = rope.heads;
  args.dimensions = table.dimensions;
  args.adjacent = table.adjacent;
  const uint32_t width = program.values[queries.output].width +
                         args.cache.kv_heads * (args.cache.key_dim + args.cache.value_dim);
  return launch(kernels::rope_store, groups_for(width, kernels::rope_store.threads), shape.tokens,
                args);
}

Status Encoder::gate(const Operation& operation) const {
  const uint32_t width = program.values[operation.output].width;
  GateArgs args{};
  args.gate = pointer<float>(buffer(operation.inputs[0]));
  args.up = pointer<float>(buffer(operation.inputs[1]));
  args.y = pointer<float>(buffer(operation.output));
  args.count = rows(operation.output) * width;
  args.activation = uint32_t(operation.as<op::Gate>()->activation);
  args.covers = width / program.values[operation.inputs[0]].width;
  return launch(kernels::gate, groups_for(args.count, kernels::gate.threads), 1, args);
}

Status Encoder::attention(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  AttentionArgs args{};
  const op::AttentionShape a = program.attention_of(operation);
  args.cache = cache(operation.as<op::Attend>()->cache);
  args.step = shape.inputs;
  args.queries = pointer<float>(buffer(operation.inputs[0]));
  if (node.writes_value) args.y = pointer<float>(buffer(operation.output));
  if (node.writes_quantised) args.quantised = memory.quantised[node.to];
  args.heads = a.heads;
  args.scale = a.scale;
  args.tokens = shape.tokens;
  // A window that no position leaves is none.
  if (a.window < memory.stride * key_chunk) args.window = a.window;
  args.chunked = a.chunked;
  args.soft_cap = a.soft_cap;
  args.slopes = pointer<float>(memory.slopes[node.operations[0]]);
  args.sinks = vector(operation.weight);
  const bool special = args.window || a.soft_cap != 0 || args.slopes || args.sinks;
  const uint32_t widest = std::max(a.key_dim, a.value_dim);
  if (shape.sequence_tiles && widest <= most_tile_head_dim) {
    const auto& narrow = special ? kernels::attention_tile_special : kernels::attention_tile;
    const auto& wide = special ? kernels::attention_tile_128_special : kernels::attention_tile_128;
    return launch(a.value_dim > 64 ? wide : narrow, args.heads,
                  groups_for(shape.tokens, attention_queries), args);
  }
  if (shape.split_heads && (args.window == 0 || args.window > most_whole_keys))
    return split_attention(args, special);
  // A simd a chunk of keys, as far as there are keys; two elements of the output a thread at most.
  uint32_t chunks = shape.most_keys ? groups_for(shape.most_keys, key_chunk) : 8;
  if (args.window) chunks = std::min(chunks, groups_for(args.window - 1, key_chunk) + 1);
  const uint32_t simds = std::max(std::min(chunks, 8u), groups_for(a.value_dim, 2 * lanes));
  return launch(special ? kernels::attention_special : kernels::attention, args.heads, shape.tokens,
                simds * lanes, args);
}

Status Encoder::split_attention(const AttentionArgs& args, bool special) const {
  const uint32_t groups_wanted = 256;  // enough for the largest GPUs
  AttentionChunksArgs split{};
  split.of = args;
  split.outputs = pointer<float>(memory.chunk_outputs);
  split.softmax = pointer<float>(memory.chunk_softmax);
  split.chunks = memory.stride;
  split.parts = std::clamp(groups_wanted / (args.heads * args.tokens), 1u, 16u);
  const Status done =
      launch(special ? kernels::attention_chunks_special : kernels::attention_chunks,
             args.heads * split.parts, args.tokens, split);
  if (!done) return done;
  const auto& combine = special ? kernels::attention_combine_special : kernels::attention_combine;
  const uint32_t threads = groups_for(args.cache.value_dim, lanes) * lanes;
  return launch(combine, args.heads, args.tokens, std::min(threads, combine.threads), split);
}

template <class Args, class Kernel>
Status Encoder::norm(const Node& node, const Kernel& kernel, float eps) const {
  const Operation& operation = program.operations[node.operations[0]];
  const uint32_t parts = op::parts_of(operation);
  const uint32_t columns = program.values[operation.output].width / parts;
  Args args{};
  args.x = pointer<float>(buffer(operation.inputs[0]));
  args.weight = vector(operation.weight);
  if constexpr (requires { args.bias; }) args.bias = vector(operation.bias);
  if (node.writes_value) args.y = pointer<float>(buffer(operation.output));
  if (node.writes_quantised) args.quantised = memory.quantised[node.to];
  args.columns = columns;
  args.eps = eps;
  args.weight_rows = uint32_t(program.weights[operation.weight].columns / columns);
  // One row: a simd for each block of 32, on many cores. Many rows: a group each. A row in parts
  // is as many rows.
  const uint32_t tokens = rows(operation.output) * parts;
  const uint32_t blocks = groups_for(columns, lanes);
  const uint32_t groups = tokens == 1 ? groups_for(blocks, 4) : 1;
  const uint32_t simds = tokens == 1 ? std::min(blocks, 4u) : std::min(groups_for(blocks, 4), 8u);
  args.stride = groups * simds * lanes;
  return launch(kernel, groups, tokens, simds * lanes, args);
}

Status Encoder::group_experts(const Node& node) const {
  GroupExpertsArgs args{};
  args.tokens = rows(node.value);
  args.used = experts_used(node.value);
  args.experts = node.experts;
  args.tile = expert_tile_of(args.tokens * args.used, args.experts);
  if (args.tile == 0) return ok();
  args.routing = pointer<float>(buffer(node.value));
  args.places = pointer<uint32_t>(memory.places);
  args.tiles = pointer<ExpertTile>(memory.expert_tiles);
  args.tile_count = most_expert_tiles(args.tokens * args.used, args.experts, args.tile);
  return launch(kernels::group_experts, 1, 1, args);
}

Status Encoder::multiply_experts(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  const op::Weight& weight = program.weights[operation.weight];
  ExpertsArgs args{};
  args.x = memory.quantised[node.from];
  args.x_f32 = pointer<float>(buffer(operation.inputs[0]));
  args.data = pointer<uint8_t>(memory.packed[operation.weight]);
  args.bias = vector(operation.bias);
  args.routing = pointer<float>(buffer(operation.inputs[1]));
  args.y = pointer<float>(buffer(operation.output));
  args.places = pointer<uint32_t>(memory.places);
  args.tiles = pointer<ExpertTile>(memory.expert_tiles);
  args.format = weight.type;
  args.experts = operation.as<op::MatmulExperts>()->experts;
  args.rows = uint32_t(weight.rows / args.experts);
  args.columns = uint32_t(weight.columns);
  args.used = experts_used(operation.inputs[1]);
  args.of_places = program.values[operation.inputs[0]].width != weight.columns;
  const uint32_t places = rows(operation.output) * args.used;
  args.tile = expert_tile_of(places, args.experts);
  const bool quantised = reads_quantised(program, operation);
  if (args.tile == 0) {
    const uint32_t threads = matvec_simds(args.columns, kernels::matvec_experts.threads / lanes);
    const uint32_t groups = groups_for(args.rows, tile_rows);
    return quantised ? launch(kernels::matvec_experts, groups, places, threads * lanes, args)
                     : launch(kernels::matvec_float_experts, groups, places, threads * lanes, args);
  }
  const uint32_t tiles = most_expert_tiles(places, args.experts, args.tile);
  if (!quantised)
    return launch(kernels::matmul_float_experts, groups_for(args.rows, 4 * tile_rows),
                  tiles * (args.tile / float_tokens), args);
  return launch(args.tile == 8 ? kernels::matmul_8_experts : kernels::matmul_experts,
                groups_for(args.rows, 4 * 16), tiles, args);
}

Status Encoder::load_cache(const Operation& store) const {
  const op::CacheShape& a = program.caches[store.as<op::KvStore>()->cache];
  LoadArgs args{};
  args.cache = cache(store.as<op::KvStore>()->cache);
  args.step = shape.inputs;
  args.keys = pointer<float>(memory.scratch);
  args.values =
      pointer<float>(memory.scratch + uint64_t(shape.tokens) * a.kv_heads * a.key_dim * 4);
  const uint32_t width = a.kv_heads * (a.key_dim + a.value_dim);
  return launch(kernels::kv_load, groups_for(width, kernels::kv_load.threads), shape.tokens, args);
}

/// The launch of an operation by itself, by its kind.
struct Encoder::Plain {
  const Encoder& encoder;
  const Node& node;
  const Operation& operation;

  uint32_t width() const { return encoder.program.values[operation.output].width; }
  /// A launch with a thread per column of each row.
  template <class Kernel, class Args>
  Status by_column(const Kernel& kernel, uint32_t row_count, const Args& args) const {
    return encoder.launch(kernel, groups_for(width(), kernel.threads), row_count, args);
  }
  const float* x(size_t i = 0) const { return pointer<float>(encoder.buffer(operation.inputs[i])); }
  float* y() const { return pointer<float>(encoder.buffer(operation.output)); }

  /// y = f(x), value by value.
  template <class Kernel>
  Status map(const Kernel& kernel, uint32_t activation,
             std::initializer_list<float> numbers = {}) const {
    MapArgs args{};
    args.x = x();
    args.y = y();
    args.count = encoder.rows(operation.output) * width();
    args.activation = activation;
    std::ranges::copy(numbers, args.numbers);
    return encoder.launch(kernel, groups_for(args.count, kernel.threads), 1, args);
  }
  /// What the kernels of slots read, with rows of `slot_width` in each slot.
  SlotsArgs slots(uint32_t slot_width) const {
    SlotsArgs args{};
    args.x = x(0);
    args.routing = x(1);
    args.weight = encoder.vector(operation.weight);
    args.bias = encoder.vector(operation.bias);
    args.y = y();
    args.width = slot_width;
    args.used = used();
    return args;
  }
  uint32_t used() const { return encoder.experts_used(operation.inputs[1]); }
  uint32_t out_rows() const { return encoder.rows(operation.output); }

  Status operator()(const op::Embed& p) const {
    const uint32_t type = encoder.program.weights[operation.weight].type;
    const StepInputs& step = encoder.shape.inputs;
    const EmbedArgs args{
        pointer<uint8_t>(encoder.memory.packed[operation.weight]),
        p.of_position ? reinterpret_cast<const int32_t*>(step.positions) : step.tokens, y(), type,
        width()};
    return by_column(quant::info(type).block_size > 1 ? kernels::embed : kernels::embed_float,
                     encoder.shape.tokens, args);
  }
  Status operator()(const op::RmsNorm& p) const {
    return encoder.norm<RmsNormArgs>(node, kernels::rms_norm, p.eps);
  }
  Status operator()(const op::LayerNorm& p) const {
    return encoder.norm<LayerNormArgs>(node, kernels::layer_norm, p.eps);
  }
  Status operator()(const op::Matmul&) const {
    return encoder.multiply(node, node.operations, op::none);
  }
  Status operator()(const op::Rope& p) const {
    const op::RopeTable& table = encoder.program.rope_tables[p.table];
    const RopeArgs args{x(),           encoder.rope_table(p.table), y(),
                        p.heads,       width() / p.heads,           table.dimensions,
                        table.adjacent};
    return by_column(kernels::rope, encoder.shape.tokens, args);
  }
  Status operator()(const op::KvStore& p) const {
    StoreArgs args{};
    args.cache = encoder.cache(p.cache);
    args.step = encoder.shape.inputs;
    args.keys = x(0);
    args.values = x(1);
    const op::CacheShape& a = encoder.program.caches[p.cache];
    const uint32_t stored = a.kv_heads * (a.key_dim + a.value_dim);
    return encoder.launch(kernels::kv_store, groups_for(stored, kernels::kv_store.threads),
                          encoder.shape.tokens, args);
  }
  Status operator()(const op::Attend&) const { return encoder.attention(node); }
  Status operator()(const op::Gate&) const { return encoder.gate(operation); }
  Status operator()(const op::Activate& p) const {
    return map(kernels::activate, uint32_t(p.activation));
  }
  Status operator()(const op::Xielu& p) const {
    return map(kernels::xielu, 0, {p.alpha_p, p.alpha_n, p.beta, p.eps});
  }
  Status operator()(const op::Add&) const {
    const uint32_t count = out_rows() * width();
    const PairArgs args{x(0), x(1), y(), count, 0};
    return encoder.launch(kernels::add, groups_for(count, kernels::add.threads), 1, args);
  }
  Status operator()(const op::Scale& p) const {
    const uint32_t count = out_rows() * width();
    ScaleArgs args{};
    args.x = x();
    args.bias = encoder.vector(operation.bias);
    args.y = y();
    args.count = count;
    args.columns = width();
    args.factor = p.factor;
    return encoder.launch(kernels::scale, groups_for(count, kernels::scale.threads), 1, args);
  }
  Status operator()(const op::SoftCap& p) const { return map(kernels::soft_cap, 0, {p.cap}); }
  Status operator()(const op::Clamp& p) const {
    return map(kernels::clamp_between, 0, {p.low, p.high});
  }
  Status operator()(const op::PositionScale& p) const {
    const PositionScaleArgs args{x(), encoder.rope_table(p.table), y(), width(), 0};
    return by_column(kernels::position_scale, encoder.shape.tokens, args);
  }
  Status operator()(const op::Slice& p) const {
    const uint32_t part = encoder.program.values[operation.inputs[0]].width / p.parts;
    const SliceArgs args{x(), y(), width(), p.first, p.width, part};
    return by_column(kernels::slice, out_rows(), args);
  }
  Status operator()(const op::Route& p) const {
    RouteArgs args{};
    args.x = x();
    args.bias = encoder.vector(operation.bias);
    args.y = y();
    args.experts = encoder.program.values[operation.inputs[0]].width;
    args.used = p.used;
    args.groups = p.groups;
    args.used_groups = p.used_groups;
    args.by_two = p.by_two;
    args.sigmoid = p.sigmoid;
    args.of_chosen = p.of_chosen;
    args.renormalise = p.renormalise;
    args.scale = p.scale;
    return encoder.launch(kernels::route, 1, out_rows(), args);
  }
  Status operator()(const op::MatmulExperts&) const { return encoder.multiply_experts(node); }
  Status operator()(const op::ScaleExperts&) const {
    SlotsArgs args = slots(width() / used());
    args.experts = uint32_t(encoder.program.weights[operation.weight].columns);
    return by_column(kernels::scale_experts, out_rows(), args);
  }
  Status operator()(const op::SpreadExperts&) const {
    return by_column(kernels::spread_experts, out_rows(), slots(width() / used()));
  }
  Status operator()(const op::MixExperts& p) const {
    SlotsArgs args = slots(width());
    args.weighted = p.weighted;
    return by_column(kernels::mix_experts, out_rows(), args);
  }
  Status operator()(const op::SelectRows&) const {
    const SelectArgs args{x(), encoder.shape.inputs.selected, y(), width(), 0};
    return by_column(kernels::select_rows, encoder.shape.selected, args);
  }
};

Status Encoder::plain(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  return std::visit(Plain{*this, node, operation}, operation.of);
}

}  // namespace assay::gpu
