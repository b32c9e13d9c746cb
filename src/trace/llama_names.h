// The names of llama.cpp's graphs, and what they are in ours.
#pragma once

#include <string>
#include <string_view>

namespace assay::trace {

/// What a tensor of a llama.cpp graph is.
struct LlamaName {
  std::string canonical;  ///< "blk.3.q_rope"; empty where it has no name here
  bool part = false;      ///< a view, or a step inside an operation: nothing is lost without it
};

/// `name` as ggml prints it ("Qcur-3"), `operation` as ggml_op_name gives it ("ROPE").
/// A product with fused matrices has the name of the whole: "blk.3.qkv", and "blk.3.up" for gate
/// and up; the reader of traces splits it.
/// Source: the names that llama.cpp's graph builders give (llm_build_llama, build_attn, build_ffn).
LlamaName from_llama_cpp(std::string_view name, std::string_view operation);

}  // namespace assay::trace
