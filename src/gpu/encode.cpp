#include "gpu/encode.h"

#include <algorithm>

#include "quant/formats.h"

namespace assay::gpu {

namespace {

using op::Kind;
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

template <class Args>
Status Encoder::launch(const char* kernel, uint32_t groups_x, uint32_t groups_y,
                       uint32_t group_size, const Args& args) const {
  if (groups_x == 0 || groups_y == 0) return ok();
  return queue.launch({kernel,
                       groups_x,
                       groups_y,
                       group_size,
                       {reinterpret_cast<const uint8_t*>(&args), sizeof(Args)}});
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
        launch("top_k", groups_for(counts[i], sorted_keys), rows(logits), top_k_group, args);
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
  args.dimensions = program.rope.dimensions;
  return launch("sample", 1, shape.tokens, lanes, args);
}

Status Encoder::quantise(const Node& node) const {
  const uint32_t blocks = rows(node.value) * (program.values[node.value].width / quantum);
  const QuantiseArgs args{pointer<float>(buffer(node.value)), memory.quantised[node.to], blocks, 0};
  const uint32_t simds = std::clamp(blocks, 1u, 8u);
  return launch("quantise", groups_for(blocks, simds), 1, simds * lanes, args);
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
  if (one)
    return launch(quantised ? "matvec" : "matvec_float", groups, tokens,
                  matvec_simds(columns, matvec_group / lanes) * lanes, args);
  if (!quantised) return launch("matmul_float", groups, groups_for(tokens, 8), matmul_group, args);
  return launch(tokens <= 8 ? "matmul_8" : "matmul", groups,
                groups_for(tokens, tokens <= 8 ? 8 : 32), matmul_group, args);
}

Status Encoder::gate_up(const Node& node) const {
  const Operation& gate = program.operations[node.operations[0]];
  const Operation& up = program.operations[node.operations[1]];
  const Operation& glu = program.operations[node.operations[2]];
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
    return launch("gate_up", width / tile_rows, 1,
                  2 * matvec_simds(columns, matvec_group / lanes / 2) * lanes, args);
  }
  if (Status done = multiply(node, {node.operations[0], node.operations[1]}, op::none); !done)
    return done;
  if (Status done = pair("swiglu", glu); !done) return done;
  return quantise({.form = Node::Form::quantise, .value = glu.output, .to = node.to});
}

CacheView Encoder::cache(uint32_t layer) const {
  const op::Attention& a = program.attention;
  return {pointer<uint8_t>(memory.keys[layer]),
          pointer<uint8_t>(memory.values[layer]),
          pointer<uint32_t>(memory.table),
          memory.stride,
          a.kv_heads,
          a.key_dim,
          a.value_dim,
          cache_f32 ? 1u : 0u,
          0};
}

Status Encoder::rope_store(const Node& node) const {
  const Operation& queries = program.operations[node.operations[0]];
  const Operation& keys = program.operations[node.operations[1]];
  const Operation& store = program.operations[node.operations[2]];
  const op::Attention& a = program.attention;
  RopeStoreArgs args{};
  args.cache = cache(store.layer);
  args.step = shape.inputs;
  args.queries = pointer<float>(buffer(queries.inputs[0]));
  args.rotated = pointer<float>(buffer(queries.output));
  args.keys = pointer<float>(buffer(keys.inputs[0]));
  args.values = pointer<float>(buffer(store.inputs[1]));
  args.heads = a.heads;
  args.dimensions = program.rope.dimensions;
  args.adjacent = program.rope.adjacent;
  const uint32_t width = (a.heads + a.kv_heads) * a.key_dim + a.kv_heads * a.value_dim;
  return launch("rope_store", groups_for(width, elementwise_group), shape.tokens, elementwise_group,
                args);
}

Status Encoder::pair(const char* kernel, const Operation& operation) const {
  const uint32_t count = rows(operation.output) * program.values[operation.output].width;
  const PairArgs args{pointer<float>(buffer(operation.inputs[0])),
                      pointer<float>(buffer(operation.inputs[1])),
                      pointer<float>(buffer(operation.output)), count, 0};
  return launch(kernel, groups_for(count, elementwise_group), 1, elementwise_group, args);
}

Status Encoder::attention(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  AttentionArgs args{};
  args.cache = cache(operation.layer);
  args.step = shape.inputs;
  args.queries = pointer<float>(buffer(operation.inputs[0]));
  if (node.writes_value) args.y = pointer<float>(buffer(operation.output));
  if (node.writes_quantised) args.quantised = memory.quantised[node.to];
  args.heads = program.attention.heads;
  args.scale = program.attention.scale;
  args.tokens = shape.tokens;
  const uint32_t widest = std::max(program.attention.key_dim, program.attention.value_dim);
  if (shape.sequence_tiles && widest <= most_tile_head_dim)
    return launch(program.attention.value_dim > 64 ? "attention_tile_128" : "attention_tile",
                  args.heads, groups_for(shape.tokens, attention_queries), lanes, args);
  if (shape.split_heads) return split_attention(args);
  // A simd a chunk of keys, as far as there are keys; two elements of the output a thread at most.
  const uint32_t chunks = shape.most_keys ? groups_for(shape.most_keys, key_chunk) : 8;
  const uint32_t simds =
      std::max(std::min(chunks, 8u), groups_for(program.attention.value_dim, 2 * lanes));
  return launch("attention", args.heads, shape.tokens, simds * lanes, args);
}

Status Encoder::split_attention(const AttentionArgs& args) const {
  const uint32_t simds = 8, groups_wanted = 256;  // enough for the largest GPUs
  AttentionChunksArgs split{};
  split.of = args;
  split.outputs = pointer<float>(memory.chunk_outputs);
  split.softmax = pointer<float>(memory.chunk_softmax);
  split.chunks = memory.stride;
  split.parts = std::clamp(groups_wanted / (args.heads * args.tokens), 1u, 16u);
  const Status done =
      launch("attention_chunks", args.heads * split.parts, args.tokens, simds * lanes, split);
  if (!done) return done;
  return launch("attention_combine", args.heads, args.tokens,
                std::min(groups_for(args.cache.value_dim, lanes), simds) * lanes, split);
}

Status Encoder::norm(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  const uint32_t columns = program.values[operation.output].width;
  RmsNormArgs args{};
  args.x = pointer<float>(buffer(operation.inputs[0]));
  args.weight = pointer<float>(memory.vectors[operation.weight]);
  if (node.writes_value) args.y = pointer<float>(buffer(operation.output));
  if (node.writes_quantised) args.quantised = memory.quantised[node.to];
  args.columns = columns;
  args.eps = operation.eps;
  // One row: a simd for each block of 32, on many cores. Many rows: a group each.
  const uint32_t tokens = rows(operation.output), blocks = groups_for(columns, lanes);
  const uint32_t groups = tokens == 1 ? groups_for(blocks, 4) : 1;
  const uint32_t simds = tokens == 1 ? std::min(blocks, 4u) : std::min(groups_for(blocks, 4), 8u);
  args.stride = groups * simds * lanes;
  return launch("rms_norm", groups, tokens, simds * lanes, args);
}

Status Encoder::load_cache(const Operation& store) const {
  const op::Attention& a = program.attention;
  LoadArgs args{};
  args.cache = cache(store.layer);
  args.step = shape.inputs;
  args.keys = pointer<float>(memory.scratch);
  args.values =
      pointer<float>(memory.scratch + uint64_t(shape.tokens) * a.kv_heads * a.key_dim * 4);
  return launch("kv_load", groups_for(a.kv_heads * (a.key_dim + a.value_dim), elementwise_group),
                shape.tokens, elementwise_group, args);
}

Status Encoder::plain(const Node& node) const {
  const Operation& operation = program.operations[node.operations[0]];
  const uint32_t out = operation.output;
  const uint32_t width = out == op::none ? 0 : program.values[out].width;
  const uint32_t columns_groups = groups_for(width, elementwise_group);
  switch (operation.kind) {
    case Kind::embed: {
      const uint32_t type = program.weights[operation.weight].type;
      const EmbedArgs args{pointer<uint8_t>(memory.packed[operation.weight]), shape.inputs.tokens,
                           pointer<float>(buffer(out)), type, width};
      return launch(quant::info(type).block_size > 1 ? "embed" : "embed_float", columns_groups,
                    shape.tokens, elementwise_group, args);
    }
    case Kind::rms_norm:
      return norm(node);
    case Kind::matmul:
      return multiply(node, node.operations, op::none);
    case Kind::rope: {
      const RopeArgs args{pointer<float>(buffer(operation.inputs[0])),
                          shape.inputs.rope,
                          pointer<float>(buffer(out)),
                          operation.heads,
                          program.attention.key_dim,
                          program.rope.dimensions,
                          program.rope.adjacent};
      return launch("rope", columns_groups, shape.tokens, elementwise_group, args);
    }
    case Kind::kv_store: {
      StoreArgs args{};
      args.cache = cache(operation.layer);
      args.step = shape.inputs;
      args.keys = pointer<float>(buffer(operation.inputs[0]));
      args.values = pointer<float>(buffer(operation.inputs[1]));
      const op::Attention& a = program.attention;
      return launch("kv_store",
                    groups_for(a.kv_heads * (a.key_dim + a.value_dim), elementwise_group),
                    shape.tokens, elementwise_group, args);
    }
    case Kind::attention:
      return attention(node);
    case Kind::swiglu:
      return pair("swiglu", operation);
    case Kind::add:
      return pair("add", operation);
    case Kind::scale: {
      const uint32_t count = rows(out) * width;
      ScaleArgs args{};
      args.x = pointer<float>(buffer(operation.inputs[0]));
      if (operation.bias != op::none) args.bias = pointer<float>(memory.vectors[operation.bias]);
      args.y = pointer<float>(buffer(out));
      args.count = count;
      args.columns = width;
      args.factor = operation.factor;
      return launch("scale", groups_for(count, elementwise_group), 1, elementwise_group, args);
    }
    case Kind::select_rows: {
      const SelectArgs args{pointer<float>(buffer(operation.inputs[0])), shape.inputs.selected,
                            pointer<float>(buffer(out)), width, 0};
      return launch("select_rows", columns_groups, shape.selected, elementwise_group, args);
    }
  }
  return ok();
}

}  // namespace assay::gpu
