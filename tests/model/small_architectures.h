// Right files of more architectures, and what a file of theirs is made of.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "model/small_file.h"

namespace assay::tests {

/// Gives the beginning of the names of each block's tensors.
inline void each_block(const std::function<void(const std::string&)>& change) {
  for (const char* blk : {"blk.0.", "blk.1."}) change(blk);
}

/// The file of `from`'s blocks with another name, LayerNorm's key beside the other.
inline SmallFile named(const std::string& architecture) {
  SmallFile small(architecture);
  small.set("attention.layer_norm_epsilon", 1e-5f);
  return small;
}

inline void add_vectors(SmallFile& small,
                        const std::vector<std::pair<std::string, uint64_t>>& vectors) {
  each_block([&](const std::string& blk) {
    for (const auto& [name, size] : vectors) small.tensors[blk + name] = {0, {size}};
  });
}

/// Four experts of 32, of which two are used, in the place of the feed-forward part.
inline void add_experts(SmallFile& small, uint64_t experts = 4, uint64_t width = 32) {
  small.set("expert_count", uint32_t(experts));
  small.set("expert_used_count", 2u);
  small.set("expert_feed_forward_length", uint32_t(width));
  each_block([&](const std::string& blk) {
    for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"})
      small.tensors.erase(blk + name + ".weight");
    small.tensors[blk + "ffn_gate_inp.weight"] = {0, {64, experts}};
    small.tensors[blk + "ffn_gate_exps.weight"] =
        small.tensors[blk + "ffn_up_exps.weight"] = {8, {64, width, experts}};
    small.tensors[blk + "ffn_down_exps.weight"] = {8, {width, 64, experts}};
  });
}

inline void add_shared(SmallFile& small, uint64_t width) {
  each_block([&](const std::string& blk) {
    small.tensors[blk + "ffn_gate_shexp.weight"] =
        small.tensors[blk + "ffn_up_shexp.weight"] = {8, {64, width}};
    small.tensors[blk + "ffn_down_shexp.weight"] = {8, {width, 64}};
  });
}

inline SmallFile gpt_oss() {
  SmallFile small = named("gpt-oss");
  add_experts(small);
  small.set("attention.sliding_window", 8u);
  small.tensors["output.weight"] = {8, {64, 40}};
  each_block([&](const std::string& blk) {
    small.tensors[blk + "post_attention_norm.weight"] = small.tensors[blk + "ffn_norm.weight"];
    small.tensors.erase(blk + "ffn_norm.weight");
    small.tensors[blk + "ffn_gate_exps.bias"] =
        small.tensors[blk + "ffn_up_exps.bias"] = {0, {32, 4}};
    small.tensors[blk + "ffn_down_exps.bias"] = {0, {64, 4}};
  });
  add_vectors(small,
              {{"attn_sinks.weight", 4}, {"attn_output.bias", 64}, {"ffn_gate_inp.bias", 4}});
  return small;
}

/// Norms on both sides of attention and the feed-forward part.
inline SmallFile gemma(const std::string& architecture) {
  SmallFile small = named(architecture);
  add_vectors(small, {{"post_attention_norm.weight", 64}, {"post_ffw_norm.weight", 64}});
  if (architecture == "gemma3")
    add_vectors(small, {{"attn_q_norm.weight", 16}, {"attn_k_norm.weight", 16}});
  return small;
}

inline SmallFile glm4moe() {
  SmallFile small = named("glm4moe");
  add_experts(small, 8);
  add_shared(small, 64);
  small.set("expert_shared_count", 2u);
  each_block([&](const std::string& blk) {
    small.tensors[blk + "post_attention_norm.weight"] = small.tensors[blk + "ffn_norm.weight"];
    small.tensors.erase(blk + "ffn_norm.weight");
  });
  add_vectors(small, {{"exp_probs_b.bias", 8}});
  return small;
}

inline SmallFile olmo2() {
  SmallFile small = named("olmo2");
  small.tensors["output.weight"] = {8, {64, 40}};
  each_block([&](const std::string& blk) {
    small.tensors.erase(blk + "attn_norm.weight");
    small.tensors.erase(blk + "ffn_norm.weight");
  });
  add_vectors(small, {{"attn_q_norm.weight", 64},
                      {"attn_k_norm.weight", 32},
                      {"post_attention_norm.weight", 64},
                      {"post_ffw_norm.weight", 64}});
  return small;
}

inline SmallFile cohere2() {
  SmallFile small = named("cohere2");
  small.set("logit_scale", 0.25f);
  small.set("attention.sliding_window", 5u);
  each_block([&](const std::string& blk) { small.tensors.erase(blk + "ffn_norm.weight"); });
  return small;
}

inline SmallFile with_experts(const std::string& architecture, uint64_t width) {
  SmallFile small = named(architecture);
  add_experts(small, 4, width);
  if (architecture != "llama") small.tensors["output.weight"] = {8, {64, 40}};
  if (architecture == "qwen3moe")
    add_vectors(small, {{"attn_q_norm.weight", 16}, {"attn_k_norm.weight", 16}});
  if (architecture == "minimax-m2")
    add_vectors(small,
                {{"attn_q_norm.weight", 64}, {"attn_k_norm.weight", 32}, {"exp_probs_b.bias", 4}});
  if (architecture == "qwen2moe") {
    small.set("expert_shared_feed_forward_length", 32u);
    add_shared(small, 32);
    add_vectors(small, {{"ffn_gate_inp_shexp.weight", 64}});
  }
  return small;
}

/// Layer 0 has a window and heads of 16; layer 1 has none and heads of 32; both write keys, layer 2
/// reads those of layer 0.
inline SmallFile gemma4() {
  SmallFile small = named("gemma4");
  small.set("block_count", 3u);
  small.set("attention.head_count_kv", std::vector<int32_t>{2, 1, 2});
  small.set("attention.sliding_window", 8u);
  small.set("attention.sliding_window_pattern", std::vector<int32_t>{1, 0, 1});
  small.set("attention.key_length", 32u);
  small.set("attention.value_length", 32u);
  small.set("attention.key_length_swa", 16u);
  small.set("attention.value_length_swa", 16u);
  small.set("rope.dimension_count", 32u);
  small.set("rope.dimension_count_swa", 16u);
  small.set("attention.shared_kv_layers", 1u);
  small.set("embedding_length_per_layer_input", 8u);
  small.tensors["per_layer_token_embd.weight"] = {8, {24, 40}};
  small.tensors["per_layer_token_embd.weight"].type = 1;
  small.tensors["per_layer_model_proj.weight"] = {8, {64, 24}};
  small.tensors["per_layer_proj_norm.weight"] = {0, {8}};
  small.tensors["rope_freqs.weight"] = {0, {16}, std::vector<float>(16, 2.0f)};
  for (const std::string blk : {"blk.0.", "blk.1.", "blk.2."}) {
    const bool whole = blk == "blk.1.", reads = blk == "blk.2.";
    const uint64_t head = whole ? 32 : 16, kv = whole ? 1 : 2;
    for (const auto& [name, tensor] : SmallFile().tensors)
      if (name.starts_with("blk.0.")) small.tensors[blk + name.substr(6)] = tensor;
    for (const char* name : {"post_attention_norm", "post_ffw_norm", "post_norm"})
      small.tensors[blk + name + ".weight"] = {0, {64}};
    small.tensors[blk + "attn_q.weight"] = {8, {64, 4 * head}};
    small.tensors[blk + "attn_k.weight"] =
        small.tensors[blk + "attn_v.weight"] = {8, {64, kv * head}};
    if (reads)
      for (const char* name : {"attn_k.weight", "attn_v.weight"}) small.tensors.erase(blk + name);
    if (whole) small.tensors.erase(blk + "attn_v.weight");
    small.tensors[blk + "attn_output.weight"] = {8, {4 * head, 64}};
    small.tensors[blk + "attn_q_norm.weight"] = {0, {head}};
    if (!reads) small.tensors[blk + "attn_k_norm.weight"] = {0, {head}};
    small.tensors[blk + "inp_gate.weight"] = {1, {64, 8}};
    small.tensors[blk + "proj.weight"] = {1, {8, 64}};
    small.tensors[blk + "layer_output_scale.weight"] = {0, {1}, {0.5f}};
  }
  return small;
}

}  // namespace assay::tests
