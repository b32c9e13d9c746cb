#include "trace/llama_names.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace assay::trace {

namespace {

struct Row {
  std::string_view name, operation, canonical;
};

// Where a projection has a bias, its sum (ADD) comes after the product and takes its place.
constexpr std::array of_layers = {
    Row{"attn_norm", "MUL", "attn_norm"},
    Row{"Qcur", "MUL_MAT", "q"},
    Row{"Qcur", "ADD", "q"},
    Row{"Kcur", "MUL_MAT", "k"},
    Row{"Kcur", "ADD", "k"},
    Row{"Vcur", "MUL_MAT", "v"},
    Row{"Vcur", "ADD", "v"},
    Row{"wqkv", "MUL_MAT", "qkv"},
    Row{"wqkv_b", "ADD", "qkv"},
    Row{"Qcur_normed", "MUL", "q_norm"},
    Row{"Kcur_normed", "MUL", "k_norm"},
    Row{"Qcur", "ROPE", "q_rope"},
    Row{"Kcur", "ROPE", "k_rope"},
    Row{"kqv_out", "RESHAPE", "kqv"},
    Row{"kqv_out", "CONT", "kqv"},
    Row{"attn_out", "MUL_MAT", "attn_out"},
    Row{"attn_out", "ADD", "attn_out"},
    Row{"ffn_inp", "ADD", "attn_residual"},
    Row{"ffn_norm", "MUL", "ffn_norm"},
    Row{"ffn_gate", "MUL_MAT", "gate"},
    Row{"ffn_gate_b", "ADD", "gate"},
    Row{"ffn_up", "MUL_MAT", "up"},
    Row{"ffn_up_b", "ADD", "up"},
    Row{"ffn_swiglu", "GLU", "act"},
    Row{"ffn_gate_par", "MUL", "act"},
    Row{"ffn_out", "MUL_MAT", "down"},
    Row{"ffn_down", "MUL_MAT", "down"},
    Row{"ffn_down_b", "ADD", "down"},
    Row{"l_out", "ADD", "out"},
};

constexpr std::array of_the_whole = {
    Row{"embd", "GET_ROWS", "embd"},       Row{"inp_embd", "GET_ROWS", "embd"},
    Row{"result_norm", "MUL", "out_norm"}, Row{"result_output", "MUL_MAT", "logits"},
    Row{"result_output", "ADD", "logits"},
};

/// Operations that move or rename values, and the first halves of operations that end in another.
constexpr std::array<std::string_view, 9> moves = {
    "RESHAPE", "VIEW", "PERMUTE", "TRANSPOSE", "CONT", "CPY", "SET_ROWS", "GET_ROWS", "NONE"};
constexpr std::array halves = {Row{"norm", "RMS_NORM", ""},
                               Row{"", "FLASH_ATTN_EXT", ""},
                               Row{"kq", "MUL_MAT", ""},
                               Row{"kq_soft_max", "SOFT_MAX", ""},
                               Row{"kq_soft_max_ext", "SOFT_MAX", ""},
                               Row{"kqv", "MUL_MAT", ""},
                               Row{"ffn_silu", "UNARY", ""},
                               Row{"Qcur", "SCALE", ""},  // phi3: the scores' scale
                               Row{"result_output_no_bias", "MUL_MAT", ""}};

/// "Qcur-3" → "Qcur" and "3"; an empty number where there is none.
std::pair<std::string_view, std::string_view> split_layer(std::string_view name) {
  const size_t dash = name.rfind('-');
  if (dash == name.npos || dash + 1 == name.size()) return {name, {}};
  const std::string_view number = name.substr(dash + 1);
  if (number.size() > 5 ||
      !std::ranges::all_of(number, [](char c) { return c >= '0' && c <= '9'; }))
    return {name, {}};
  return {name.substr(0, dash), number};
}

}  // namespace

LlamaName from_llama_cpp(std::string_view name, std::string_view operation) {
  const auto [base, layer] = split_layer(name);
  const auto is = [&, base = base](const Row& row) {
    return row.operation == operation && (row.name.empty() || row.name == base);
  };
  if (layer.empty()) {
    const auto row = std::ranges::find_if(of_the_whole, is);
    if (row != of_the_whole.end()) return {std::string(row->canonical)};
  } else {
    const auto row = std::ranges::find_if(of_layers, is);
    if (row != of_layers.end())
      return {"blk." + std::string(layer) + "." + std::string(row->canonical)};
  }
  const bool part =
      std::ranges::find(moves, operation) != moves.end() || std::ranges::any_of(halves, is);
  return {{}, part};
}

}  // namespace assay::trace
