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
    Product{"Qcur", "q"},
    Product{"Kcur", "k"},
    Product{"Vcur", "v"},
    Product{"wqkv", "qkv"},
    Product{"wqkv_b", "qkv"},
    Product{"attn_out", "attn_out"},
    Product{"ffn_gate", "gate"},
    Product{"ffn_gate_b", "gate"},
    Product{"ffn_gate_s", "gate"},
    Product{"ffn_up", "up"},
    Product{"ffn_up_b", "up"},
    Product{"ffn_up_s", "up"},
    Product{"ffn_down", "down"},
    Product{"ffn_down_s", "down"},
    Product{"ffn_out", "down"},
    Product{"attn_output", "attn_out"},
    // routers, experts, and the expert of all tokens
    Product{"ffn_moe_logits", "router"},
    Product{"ffn_moe_logits_biased", "router"},
    Product{"ffn_moe_probs",
            "router"},  // where the softmax is of the chosen: no other name is left
    Product{"ffn_moe_gate", "experts_gate"},
    Product{"ffn_moe_gate_scaled", "experts_gate"},
    Product{"ffn_moe_gate_biased", "experts_gate"},
    Product{"ffn_moe_up", "experts_up"},
    Product{"ffn_moe_up_scaled", "experts_up"},
    Product{"ffn_moe_up_biased", "experts_up"},
    Product{"ffn_moe_down", "experts_down"},
    Product{"ffn_moe_down_scaled", "experts_down"},
    Product{"ffn_moe_down_biased", "experts_down"},
    Product{"ffn_shexp", "shared_down"},
    Product{"shared_expert_gate", "shared_router"},
};
constexpr std::array products_of_the_whole = {
    Product{"result_output_no_bias", "logits"},
    Product{"result_output", "logits"},
};
constexpr std::array nodes_of_a_product = {product_node, scale_node, bias_node};

/// Which node of a product an operation is; empty: none.
std::string_view node_of(std::string_view operation) {
  if (operation == "MUL_MAT_ID") return product_node;
  if (operation == "ADD_ID") return bias_node;
  const auto found = std::ranges::find(nodes_of_a_product, operation);
  return found == nodes_of_a_product.end() ? std::string_view() : *found;
}

constexpr std::array of_layers = {
    Row{"attn_norm", "MUL", "attn_norm"},
    Row{"attn_norm", "ADD", "attn_norm"},
    Row{"Qcur_normed", "MUL", "q_norm"},
    Row{"Qcur_normed", "ADD", "q_norm"},
    Row{"Kcur_normed", "MUL", "k_norm"},
    Row{"Kcur_normed", "ADD", "k_norm"},
    Row{"Vcur_normed", "RMS_NORM", "v_norm"},
    Row{"Qcur", "ROPE", "q_rope"},
    Row{"Kcur", "ROPE", "k_rope"},
    Row{"Qcur_attn_temp_scaled", "MUL", "q_scaled"},
    Row{"kqv_out", "RESHAPE", "kqv"},
    Row{"kqv_out", "CONT", "kqv"},
    Row{"attn_gated", "MUL", "attn_gated"},
    Row{"attn_post_norm", "MUL", "attn_post_norm"},
    Row{"attn_post_norm", "ADD", "attn_post_norm"},
    Row{"ffn_inp", "ADD", "attn_residual"},
    Row{"attn_residual", "ADD", "attn_residual"},
    Row{"ffn_norm", "MUL", "ffn_norm"},
    Row{"ffn_norm", "ADD", "ffn_norm"},
    Row{"ffn_swiglu", "GLU", "act"},
    Row{"ffn_geglu", "GLU", "act"},
    Row{"ffn_reglu", "GLU", "act"},
    Row{"ffn_swiglu_oai", "GLU", "act"},
    Row{"ffn_gate_par", "MUL", "act"},
    Row{"ffn_silu", "UNARY", "act"},
    Row{"ffn_gelu", "UNARY", "act"},
    Row{"ffn_relu", "UNARY", "act"},
    Row{"ffn_sqr(relu)", "SQR", "act"},
    Row{"ffn_moe_swiglu", "GLU", "experts_act"},
    Row{"ffn_moe_geglu", "GLU", "experts_act"},
    Row{"ffn_moe_reglu", "GLU", "experts_act"},
    Row{"ffn_moe_swiglu_oai", "GLU", "experts_act"},
    Row{"ffn_moe_swiglu_limited", "MUL", "experts_act"},
    Row{"ffn_moe_silu", "UNARY", "experts_act"},
    Row{"ffn_moe_gelu", "UNARY", "experts_act"},
    Row{"ffn_moe_relu", "UNARY", "experts_act"},
    Row{"ffn_moe_relu_sqr", "SQR", "experts_act"},
    Row{"ffn_moe_gate_clamped", "CLAMP", "experts_gate_clamped"},
    Row{"ffn_moe_up_clamped", "CLAMP", "experts_up_clamped"},
    Row{"ffn_moe_argsort", "ARGSORT", "routing_ids"},
    Row{"ffn_moe_topk", "VIEW", "routing_ids"},
    Row{"ffn_moe_topk", "TOP_K", "routing_ids"},
    Row{"ffn_moe_weights", "GET_ROWS", "routing_weights"},
    Row{"ffn_moe_weights_softmax", "RESHAPE", "routing_weights"},
    Row{"ffn_moe_weights_norm", "DIV", "routing_weights"},
    Row{"ffn_moe_weights_scaled", "SCALE", "routing_weights"},
    Row{"ffn_moe_out", "ADD", "experts"},
    Row{"ffn_moe_out", "CONT", "experts"},
    Row{"ffn_shexp_gated", "MUL", "shared_gated"},
    Row{"ffn_post_norm", "MUL", "ffn_post_norm"},
    Row{"ffn_post_norm", "ADD", "ffn_post_norm"},
    Row{"l_out", "ADD", "out"},
};

constexpr std::array of_the_whole = {
    Row{"embd", "GET_ROWS", "embd"},           Row{"inp_embd", "GET_ROWS", "embd"},
    Row{"inp_scaled", "SCALE", "embd_scaled"}, Row{"pos_embd", "GET_ROWS", "positions"},
    Row{"inpL", "ADD", "embd_positioned"},     Row{"inp_norm", "MUL", "embd_norm"},
    Row{"inp_norm", "ADD", "embd_norm"},       Row{"result_norm", "MUL", "out_norm"},
    Row{"result_norm", "ADD", "out_norm"},
};

/// Operations that move or rename values, and the first halves of operations that end in another.
constexpr std::array<std::string_view, 10> moves = {"RESHAPE", "VIEW", "PERMUTE",  "TRANSPOSE",
                                                    "CONT",    "CPY",  "SET_ROWS", "GET_ROWS",
                                                    "CONCAT",  "NONE"};
constexpr std::array halves = {Row{"norm", "RMS_NORM", ""},
                               Row{"norm", "NORM", ""},
                               Row{"norm_w", "MUL", ""},
                               Row{"", "FLASH_ATTN_EXT", ""},
                               Row{"kq", "MUL_MAT", ""},
                               Row{"kq_soft_max", "SOFT_MAX", ""},
                               Row{"kq_soft_max_ext", "SOFT_MAX", ""},
                               Row{"kqv", "MUL_MAT", ""},
                               Row{"kq_tanh", "UNARY", ""},
                               Row{"kq_scaled", "SCALE", ""},
                               Row{"kq_scaled_1", "SCALE", ""},
                               Row{"kq_scaled_2", "SCALE", ""},
                               Row{"kq_plus_kq_b", "ADD", ""},
                               Row{"ffn_moe_probs", "SOFT_MAX", ""},
                               Row{"ffn_moe_probs", "UNARY", ""},
                               Row{"ffn_moe_probs_biased", "ADD", ""},
                               Row{"ffn_moe_weights_sum", "SUM_ROWS", ""},
                               Row{"ffn_moe_weights_sum_clamped", "CLAMP", ""},
                               Row{"ffn_moe_weighted", "MUL", ""},
                               Row{"ffn_moe_silu_clamped", "CLAMP", ""},
                               Row{"shared_expert_gate_sigmoid", "UNARY", ""},
                               Row{"Qcur", "SCALE", ""}};  // phi3: the scores' scale

/// The product that a node belongs to; empty where it belongs to none.
template <class Products>
std::string_view product_of(const Products& products, std::string_view name,
                            std::string_view operation) {
  // The whole's last scale or cap is called as the product is.
  if (node_of(operation).empty() && !(operation == last_scale_node && name == "result_output"))
    return {};
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
  if (!product.empty()) {
    const std::string_view node = node_of(operation);
    return {prefix + std::string(product), false, std::string(node.empty() ? operation : node)};
  }
  const std::span<const Row> rows =
      layer.empty() ? std::span<const Row>(of_the_whole) : std::span<const Row>(of_layers);
  const auto row = std::ranges::find_if(rows, is);
  if (row != rows.end()) return {prefix + std::string(row->canonical)};
  const bool part =
      std::ranges::find(moves, operation) != moves.end() || std::ranges::any_of(halves, is);
  return {{}, part, {}};
}

}  // namespace assay::trace
