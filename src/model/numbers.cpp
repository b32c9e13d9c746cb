#include "model/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "gguf/reader.h"
#include "op/rope.h"

namespace assay::model {

namespace {

constexpr uint32_t limit = 1u << 20;  // far above any model's width, far below what could wrap
constexpr uint64_t most_positions = UINT32_MAX;

/// The factors of a tensor; none where it is absent.
std::vector<float> read_factors(Reader& read, const std::string& tensor, uint32_t pairs) {
  if (!read.has_tensor(tensor)) return {};
  std::vector<float> factors = read.values(tensor, pairs);
  for (const float factor : factors)
    if (!std::isfinite(factor) || factor == 0)
      read.fail(
          fmt::format("{} holds the factor {}; a factor must be finite and not 0", tensor, factor));
  return factors;
}

/// The factors that divide RoPE's frequencies. `original`: the context that the short factors are
/// for.
std::vector<float> choose_factors(Reader& read, RopeFactors kind, uint32_t pairs, uint32_t original,
                                  Numbers& n) {
  if (kind == RopeFactors::absent) return {};
  if (kind == RopeFactors::rope_freqs) return read_factors(read, "rope_freqs.weight", pairs);
  std::vector<float> far = read_factors(read, "rope_factors_long.weight", pairs);
  std::vector<float> near = read_factors(read, "rope_factors_short.weight", pairs);
  if (far.empty() && near.empty()) return {};
  const bool beyond = n.context > original;
  n.rope_factors = beyond ? "long" : "short";
  return beyond ? far : near;
}

void read_rope(Reader& read, const Architecture& architecture, Numbers& n) {
  op::RopeParameters rope;
  rope.dimensions = read.integer_or("rope.dimension_count", 2, n.key_dim, n.key_dim);
  if (rope.dimensions % 2)
    read.fail(fmt::format("{} {} is odd", read.key("rope.dimension_count"), rope.dimensions));
  rope.base = read.real_or("rope.freq_base", 1e-30, 1e30, 10000.0);
  const char* factor =
      read.has_key("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  rope.factor = read.real_or_off(factor, 1e-30, 1e30, 1.0);
  const std::string scaling = read.text_or("rope.scaling.type", "linear");
  if (scaling == "linear" || scaling == "longrope")
    rope.scaling = op::RopeScaling::linear;
  else if (scaling == "yarn")
    rope.scaling = op::RopeScaling::yarn;
  else if (scaling != "none")
    read.fail(fmt::format("{} '{}' is not supported; supported: none, linear, yarn, longrope",
                          read.key("rope.scaling.type"), gguf::printable(scaling)));
  const uint32_t original =
      read.integer_or("rope.scaling.original_context_length", 0, most_positions, n.trained_context);
  rope.original_context = original ? original : n.trained_context;
  rope.attention_factor = read.real_or("rope.scaling.attn_factor", -1e6, 1e6, 1.0);
  RopeFactors kind = architecture.factors;
  if (kind == RopeFactors::rope_freqs && scaling == "longrope") kind = RopeFactors::long_short;
  if (read.failed()) return;
  const std::vector<float> factors = choose_factors(read, kind, rope.dimensions / 2, original, n);
  if (read.failed()) return;
  rope.factors = factors;
  n.rope = op::make_rope(rope, architecture.adjacent_pairs);
  double fastest = 0;  // radians a position
  for (const double frequency : n.rope.frequency) fastest = std::max(fastest, std::fabs(frequency));
  if (!(double(n.context) * fastest <= 0x1p24))
    read.fail(
        fmt::format("{} positions and RoPE's frequencies make angles beyond 2^24, where they are "
                    "not exact; -c sets a smaller limit, {:.0f} at most",
                    n.context, 0x1p24 / fastest));
}

void read_attention(Reader& read, uint32_t blocks, Numbers& n) {
  n.heads = read.first_of_blocks("attention.head_count", 1, 65536, blocks, {});
  n.kv_heads = read.first_of_blocks("attention.head_count_kv", 1, 65536, blocks, n.heads);
  if (read.failed()) return;
  if (read.varies("attention.head_count_kv"))  // llama.cpp sizes its cache by each, and stops
    read.fail(fmt::format("{} differs from block to block, and assay does not implement it",
                          read.key("attention.head_count_kv")));
  if (n.heads % n.kv_heads)
    read.fail(fmt::format("{} {} is not a multiple of head_count_kv {}",
                          read.key("attention.head_count"), n.heads, n.kv_heads));
  if (n.width % n.heads && !read.has_key("attention.key_length"))
    read.fail(fmt::format("{} {} is not a multiple of head_count {}", read.key("embedding_length"),
                          n.width, n.heads));
  n.key_dim = read.integer_or("attention.key_length", 1, 65536, n.width / n.heads);
  n.value_dim = read.integer_or("attention.value_length", 1, 65536, n.width / n.heads);
  if (n.key_dim == 0 || n.value_dim == 0) read.fail("the head dimension is zero");
  if (uint64_t(n.heads) * std::max(n.key_dim, n.value_dim) > limit)
    read.fail(fmt::format("{} heads of {} values are more than {}", n.heads,
                          std::max(n.key_dim, n.value_dim), limit));
  if (!read.flag_or("attention.causal", true))
    read.fail(
        fmt::format("{} is false, and assay does not implement it", read.key("attention.causal")));
  const uint32_t window = read.integer_or("attention.sliding_window", 0, most_positions, 0);
  if (window && n.context > window)
    read.fail(
        fmt::format("{} is {}, and assay does not implement attention windows yet: a context "
                    "of {} needs one, up to -c {} none is needed",
                    read.key("attention.sliding_window"), window, n.context, window));
}

/// Experts that none of these architectures has; what contradicts itself is no model.
void check_experts(Reader& read, uint32_t blocks) {
  const uint32_t count = read.integer_or("expert_count", 0, limit, 0);
  const uint32_t used = read.first_of_blocks("expert_used_count", 0, limit, blocks, 0);
  if (used > count || (count && !used))
    read.fail(fmt::format("{} is {}, of {} experts", read.key("expert_used_count"), used, count));
}

void read_vocabulary(Reader& read, const gguf::File& file, Numbers& n) {
  const gguf::Tensor* embedding = file.find_tensor("token_embd.weight");
  const uint64_t rows = embedding ? embedding->dims[1] : 0;
  if (rows == 0 || rows > (1u << 24))
    read.fail(embedding ? fmt::format("token_embd.weight has {} rows", rows)
                        : "tensor 'token_embd.weight' is missing");
  n.vocabulary = uint32_t(rows);
  const gguf::Value* tokens = file.find("tokenizer.ggml.tokens");
  const auto* array = tokens ? std::get_if<gguf::Array>(&tokens->data) : nullptr;
  if (array && array->count > n.vocabulary)
    read.fail(fmt::format("the tokenizer has {} tokens, token_embd.weight only {} rows",
                          array->count, n.vocabulary));
  const uint32_t stated = array ? 0 : read.integer_or("vocab_size", 0, 1u << 24, 0);
  if (stated && stated != n.vocabulary)
    read.fail(fmt::format("{} differs from the {} rows of token_embd.weight",
                          read.key("vocab_size"), n.vocabulary));
}

}  // namespace

Numbers read_numbers(Reader& read, const gguf::File& file, const Architecture& architecture,
                     uint32_t context) {
  Numbers n{};
  if (const Status good = check_keys(file, architecture.name, architecture.keys); !good)
    read.fail(good.error().message);
  const uint32_t blocks = read.integer("block_count", 1, 4096);
  const uint32_t unused = read.integer_or("nextn_predict_layers", 0, blocks - 1, 0);
  if (read.failed()) return n;
  n.layers = blocks - unused;
  n.width = read.integer("embedding_length", 1, limit);
  n.ffn_width = read.first_of_blocks("feed_forward_length", 1, limit, blocks, {});
  n.trained_context = read.integer("context_length", 1, most_positions);
  n.context = context ? context : n.trained_context;
  n.eps = float(read.real("attention.layer_norm_rms_epsilon", 1e-30, 1e30));
  if (read.failed()) return n;
  read_attention(read, blocks, n);
  if (read.failed()) return n;
  check_experts(read, blocks);
  read_rope(read, architecture, n);
  read_vocabulary(read, file, n);
  return n;
}

}  // namespace assay::model
