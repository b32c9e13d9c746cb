#include "gpu/encode.h"

#include <algorithm>

#include "kernel/attention.h"
#include "kernel/attention_tile.h"
#include "kernel/cache.h"
#include "kernel/elementwise.h"
#include "kernel/embed.h"
#include "kernel/matmul.h"
#include "kernel/matvec.h"
#include "kernel/norm.h"
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
    if (operation.bias != op::none) part.bias = pointer<float>(memory.vectors[operation.bias]);
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
  const Operation& gate = program.operations[node.operations[0]];
  const Operation& up = program.operations[node.operations[1]];
  const Operation& glu = program.operations[node.operations[2]];
  const auto activation = uint32_t(glu.as<op::Gate>()->activation);
  const uint32_t columns = program.values[gate.inputs[0]].width;
  const uint32_t width = program.values[glu.output].width;
  if (rows(glu.output) == 1) {
    GateUpArgs args{};
    args.x = memory.quantised[node.from];
    args.y = memory.quantised[node.to];
    args.gate = pointer<uint8_t>(memory.packed[gate.weight]);
    args.up = pointer<uint8_t>(memory.packed[up.weight]);
    args.gate_format = program.weights[gate.weight].type;
    args.up_format = program.weights[up.weight].type;
    args.rows = width;
    args.columns = columns;
    const uint32_t simds = matvec_simds(columns, kernels::gate_up.threads / lanes / 2);
    return launch(kernels::gate_up, width / tile_rows, 1, 2 * simds * lanes, args);
  }
  if (Status done = multiply(node, {node.operations[0], node.operations[1]}, op::none); !done)
    return done;
  if (Status done = pair(kernels::gate, glu, activation); !done) return done;
  return quantise({.form = Node::Form::quantise, .value = glu.output, .to = node.to});
}

CacheView Encoder::cache(uint32_t index) const {
  const op::CacheShape& a = program.caches[index];
  return {pointer<uint8_t>(memory.keys[index]),
          pointer<uint8_t>(memory.values[index]),
          pointer<uint32_t>(memory.table),
          memory.stride,
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

template <class Kernel>
Status Encoder::pair(const Kernel& kernel, const Operation& operation, uint32_t activation) const {
  const uint32_t count = rows(operation.output) * program.values[operation.output].width;
  const PairArgs args{pointer<float>(buffer(operation.inputs[0])),
                      pointer<float>(buffer(operation.inputs[1])),
                      pointer<float>(buffer(operation.output)), count, activation};
  return launch(kernel, groups_for(count, kernel.threads), 1, args);
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
  const uint32_t widest = std::max(a.key_dim, a.value_dim);
  if (shape.sequence_tiles && widest <= most_tile_head_dim)
    return launch(a.value_dim > 64 ? kernels::attention_tile_128 : kernels::attention_tile,
                  args.heads, groups_for(shape.tokens, attention_queries), args);
  if (shape.split_heads) return split_attention(args);
  // A simd a chunk of keys, as far as there are keys; two elements of the output a thread at most.
  const uint32_t chunks = shape.most_keys ? groups_for(shape.most_keys, key_chunk) : 8;
  const uint32_t simds = std::max(std::min(chunks, 8u), groups_for(a.value_dim, 2 * lanes));
  return launch(kernels::attention, args.heads, shape.tokens, simds * lanes, args);
}

Status Encoder::split_attention(const AttentionArgs& args) const {
  const uint32_t groups_wanted = 256;  // enough for the largest GPUs
  AttentionChunksArgs split{};
  split.of = args;
  split.outputs = pointer<float>(memory.chunk_outputs);
  split.softmax = pointer<float>(memory.chunk_softmax);
  split.chunks = memory.stride;
  split.parts = std::clamp(groups_wanted / (args.heads * args.tokens), 1u, 16u);
  const Status done =
      launch(kernels::attention_chunks, args.heads * split.parts, args.tokens, split);
  if (!done) return done;
  const auto& combine = kernels::attention_combine;
  const uint32_t threads = groups_for(args.cache.value_dim, lanes) * lanes;
  return launch(combine, args.heads, args.tokens, std::min(threads, combine.threads), split);
}

Status Encoder::norm(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  const auto& parameters = *operation.as<op::RmsNorm>();
  const uint32_t columns = program.values[operation.output].width / parameters.parts;
  RmsNormArgs args{};
  args.x = pointer<float>(buffer(operation.inputs[0]));
  args.weight = pointer<float>(memory.vectors[operation.weight]);
  if (node.writes_value) args.y = pointer<float>(buffer(operation.output));
  if (node.writes_quantised) args.quantised = memory.quantised[node.to];
  args.columns = columns;
  args.eps = parameters.eps;
  // One row: a simd for each block of 32, on many cores. Many rows: a group each. A row in parts
  // is as many rows.
  const uint32_t tokens = rows(operation.output) * parameters.parts;
  const uint32_t blocks = groups_for(columns, lanes);
  const uint32_t groups = tokens == 1 ? groups_for(blocks, 4) : 1;
  const uint32_t simds = tokens == 1 ? std::min(blocks, 4u) : std::min(groups_for(blocks, 4), 8u);
  args.stride = groups * simds * lanes;
  return launch(kernels::rms_norm, groups, tokens, simds * lanes, args);
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

  Status operator()(const op::Embed&) const {
    const uint32_t type = encoder.program.weights[operation.weight].type;
    const EmbedArgs args{pointer<uint8_t>(encoder.memory.packed[operation.weight]),
                         encoder.shape.inputs.tokens, y(), type, width()};
    return by_column(quant::info(type).block_size > 1 ? kernels::embed : kernels::embed_float,
                     encoder.shape.tokens, args);
  }
  Status operator()(const op::RmsNorm&) const { return encoder.norm(node); }
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
  Status operator()(const op::Gate& p) const {
    return encoder.pair(kernels::gate, operation, uint32_t(p.activation));
  }
  Status operator()(const op::Add&) const { return encoder.pair(kernels::add, operation); }
  Status operator()(const op::Scale& p) const {
    const uint32_t count = encoder.rows(operation.output) * width();
    ScaleArgs args{};
    args.x = x();
    if (operation.bias != op::none)
      args.bias = pointer<float>(encoder.memory.vectors[operation.bias]);
    args.y = y();
    args.count = count;
    args.columns = width();
    args.factor = p.factor;
    return encoder.launch(kernels::scale, groups_for(count, kernels::scale.threads), 1, args);
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
