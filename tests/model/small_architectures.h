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

}  // namespace assay::tests
