// The names of llama.cpp's graphs, and what they are in ours.
#pragma once

#include <string>
#include <string_view>

namespace assay::trace {

/// The nodes of a product with one matrix, W·x·s + b; the last one holds the finished result.
/// Those of experts (MUL_MAT_ID, ADD_ID) are called so, too.
inline constexpr std::string_view product_node = "MUL_MAT", scale_node = "MUL", bias_node = "ADD";
/// The last node of the logits where these are scaled or capped.
inline constexpr std::string_view last_scale_node = "SCALE";

/// What a tensor of a llama.cpp graph is.
struct LlamaName {
  std::string canonical = {};  ///< "blk.3.q_rope"; empty where it has no name here
  bool part = false;      ///< a view, or a step inside an operation: nothing is lost without it
  std::string node = {};  ///< of a product: which of its nodes
};

/// `name` as ggml prints it ("Qcur-3"), `operation` as ggml_op_name gives it ("ROPE").
/// A product with fused matrices has the name of the whole: "blk.3.qkv", and "blk.3.up" for gate
/// and up; the reader of traces splits it.
/// A routing is two tensors, "blk.3.routing_ids" and "blk.3.routing_weights"; the reader joins them.
/// Source: the names that llama.cpp's graph builders give (llm_build_llama, build_attn, build_ffn).
LlamaName from_llama_cpp(std::string_view name, std::string_view operation);

}  // namespace assay::trace
