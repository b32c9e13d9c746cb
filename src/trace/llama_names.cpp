#include "trace/llama_names.h"

#include <algorithm>
#include <array>
#include <span>

namespace assay::trace {

namespace {

struct Row {
  std::string_view name, operation, canonical;
};

/// The product of one matrix: MUL_MAT, then MUL where the file has a scale and ADD where it has a
/// bias. A node has the name that was given to it last, whatever it is.
struct Product {
  std::string_view name, canonical;
};
constexpr std::array products_of_layers = {
    Product{"Qcur", "q"},        Product{"Kcur", "k"},          Product{"Vcur", "v"},
    Product{"wqkv", "qkv"},      Product{"wqkv_b", "qkv"},      Product{"attn_out", "attn_out"},
    Product{"ffn_gate", "gate"}, Product{"ffn_gate_b", "gate"}, Product{"ffn_gate_s", "gate"},
    Product{"ffn_up", "up"},     Product{"ffn_up_b", "up"},     Product{"ffn_up_s", "up"},
    Product{"ffn_down", "down"}, Product{"ffn_down_s", "down"}, Product{"ffn_out", "down"},
};
constexpr std::array products_of_the_whole = {
    Product{"result_output_no_bias", "logits"},
    Product{"result_output", "logits"},
};
constexpr std::array nodes_of_a_product = {product_node, scale_node, bias_node};

constexpr std::array of_layers = {
    Row{"attn_norm", "MUL", "attn_norm"}, Row{"Qcur_normed", "MUL", "q_norm"},
    Row{"Kcur_normed", "MUL", "k_norm"},  Row{"Qcur", "ROPE", "q_rope"},
    Row{"Kcur", "ROPE", "k_rope"},        Row{"kqv_out", "RESHAPE", "kqv"},
    Row{"kqv_out", "CONT", "kqv"},        Row{"ffn_inp", "ADD", "attn_residual"},
    Row{"ffn_norm", "MUL", "ffn_norm"},   Row{"ffn_swiglu", "GLU", "act"},
    Row{"ffn_gate_par", "MUL", "act"},    Row{"l_out", "ADD", "out"},
};

constexpr std::array of_the_whole = {
    Row{"embd", "GET_ROWS", "embd"},
    Row{"inp_embd", "GET_ROWS", "embd"},
    Row{"result_norm", "MUL", "out_norm"},
};

/// Operations that move or rename values, and the first halves of operations that end in another.
constexpr std::array<std::string_view, 10> moves = {"RESHAPE", "VIEW", "PERMUTE",  "TRANSPOSE",
                                                    "CONT",    "CPY",  "SET_ROWS", "GET_ROWS",
                                                    "CONCAT",  "NONE"};
constexpr std::array halves = {Row{"norm", "RMS_NORM", ""},
                               Row{"", "FLASH_ATTN_EXT", ""},
                               Row{"kq", "MUL_MAT", ""},
                               Row{"kq_soft_max", "SOFT_MAX", ""},
                               Row{"kq_soft_max_ext", "SOFT_MAX", ""},
                               Row{"kqv", "MUL_MAT", ""},
                               Row{"ffn_silu", "UNARY", ""},
                               Row{"Qcur", "SCALE", ""}};  // phi3: the scores' scale

/// The product that a node belongs to; empty where it belongs to none.
template <class Products>
std::string_view product_of(const Products& products, std::string_view name,
                            std::string_view operation) {
  if (std::ranges::find(nodes_of_a_product, operation) == nodes_of_a_product.end()) return {};
  const auto found = std::ranges::find(products, name, &Product::name);
  return found == products.end() ? std::string_view() : found->canonical;
}

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
  const std::string prefix = layer.empty() ? "" : "blk." + std::string(layer) + ".";
  const std::string_view product = layer.empty()
                                       ? product_of(products_of_the_whole, base, operation)
                                       : product_of(products_of_layers, base, operation);
  if (!product.empty()) return {prefix + std::string(product), false, std::string(operation)};
  const std::span<const Row> rows =
      layer.empty() ? std::span<const Row>(of_the_whole) : std::span<const Row>(of_layers);
  const auto row = std::ranges::find_if(rows, is);
  if (row != rows.end()) return {prefix + std::string(row->canonical)};
  const bool part =
      std::ranges::find(moves, operation) != moves.end() || std::ranges::any_of(halves, is);
  return {{}, part, {}};
}

}  // namespace assay::trace
