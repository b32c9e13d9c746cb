#include "model/numbers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gguf/reader.h"

namespace assay::model {

namespace {

constexpr uint32_t most_heads = 65536;

void read_norms(Reader& read, const Architecture& architecture, Numbers& n) {
  constexpr std::string_view rms = "attention.layer_norm_rms_epsilon",
                             layer = "attention.layer_norm_epsilon";
  const Norms& norms = architecture.norms;
  n.layer_norm = norms.formula == Norms::Formula::layer ||
                 (norms.formula == Norms::Formula::rms_where_its_eps_is_set &&
                  (!read.has_key(rms) || read.real_or(rms, 0, 1e30, 0) == 0));
  const std::string_view name = n.layer_norm ? layer : rms;
  const double eps = read.real(name, norms.least_eps > 0 ? 0 : 1e-30, 1e30);
  n.eps = std::max(float(eps), norms.least_eps);
}

void check_lengths(Reader& read, const LayerNumbers& layer) {
  if (layer.key_dim == 0 || layer.value_dim == 0) read.fail("the head dimension is zero");
  const uint32_t longest = std::max(layer.key_dim, layer.value_dim);
  if (uint64_t(layer.heads) * longest > largest_width)
    read.fail(
        fmt::format("{} heads of {} values are more than {}", layer.heads, longest, largest_width));
}

/// The lengths of keys and values, of layers with a window where they may have their own.
void read_lengths(Reader& read, const Architecture& architecture, Numbers& n) {
  const Attention& attention = architecture.attention;
  const uint32_t heads = std::max(n.layers[0].heads, 1u);
  const bool of_rope = attention.head_length_is_rope && read.has_key("rope.dimension_count");
  if (n.width % heads && !read.has_key("attention.key_length") && !of_rope)
    read.fail(fmt::format("{} {} is not a multiple of head_count {}", read.key("embedding_length"),
                          n.width, heads));
  uint32_t key = read.integer_or("attention.key_length", 1, 65536, n.width / heads);
  uint32_t value = read.integer_or("attention.value_length", 1, 65536, n.width / heads);
  if (of_rope) key = value = read.integer_or("rope.dimension_count", 1, 65536, key);
  const bool windows = std::ranges::any_of(n.layers, [](const auto& l) { return l.window > 0; });
  uint32_t window_key = key, window_value = value;
  if (windows) {
    window_key = read.integer_or("attention.key_length_swa", 1, 65536, key);
    window_value = read.integer_or("attention.value_length_swa", 1, 65536, value);
    if (!attention.lengths_by_window && (window_key != key || window_value != value))
      read.fail(
          fmt::format("{} and value_length_swa are {} and {}, other layers have {} and {}: "
                      "assay's '{}' does not implement it",
                      read.key("attention.key_length_swa"), window_key, window_value, key, value,
                      architecture.name));
  }
  for (LayerNumbers& layer : n.layers) {
    layer.key_dim = layer.window ? window_key : key;
    layer.value_dim = layer.window ? window_value : value;
    check_lengths(read, layer);
  }
}

void read_heads(Reader& read, const Architecture& architecture, Numbers& n) {
  constexpr std::string_view all = "attention.head_count", kv = "attention.head_count_kv";
  const bool by_layer = architecture.attention.by_layer;
  const uint32_t least = by_layer ? 0 : 1;
  const std::vector<uint32_t> heads = read.each_of_blocks(all, least, most_heads, n.blocks, {});
  if (read.failed()) return;
  std::vector<uint32_t> kv_heads = heads;
  if (read.has_key(kv)) kv_heads = read.each_of_blocks(kv, least, most_heads, n.blocks, {});
  if (read.failed()) return;
  if (!by_layer && read.has_key(kv) && read.varies(kv))  // llama.cpp sizes its cache by each
    read.fail(fmt::format("{} differs from block to block, and assay does not implement it",
                          read.key(kv)));
  for (uint32_t i = 0; i < n.layers.size(); ++i) {
    LayerNumbers& layer = n.layers[i];
    layer.heads = heads[by_layer ? i : 0];
    layer.kv_heads = kv_heads[by_layer ? i : 0];
    if (layer.kv_heads && layer.heads % layer.kv_heads)
      read.fail(fmt::format("{} {} is not a multiple of head_count_kv {}", read.key(all),
                            layer.heads, layer.kv_heads));
  }
}

/// Blocks at the end that keep no keys and values read those of the last block of their kind that
/// does.
void share_caches(Reader& read, const Attention& attention, Numbers& n) {
  const uint32_t layers = uint32_t(n.layers.size());
  const uint32_t shared = read.integer_or("attention.shared_kv_layers", 0, layers - 1, 0);
  if (read.failed()) return;
  for (uint32_t i = layers - shared; i < layers; ++i) {
    uint32_t from = layers - shared;
    if (attention.shares_last_two) from -= std::min(from - 1, n.layers[i].window ? 1u : 0u);
    while (!attention.shares_last_two && from > 0 &&
           n.layers[from - 1].window != n.layers[i].window)
      --from;
    if (from == 0) {
      read.fail(fmt::format("{} is {}, but no earlier block is of the kind of block {}",
                            read.key("attention.shared_kv_layers"), shared, i));
      return;
    }
    n.layers[i].cache_of = from - 1;
  }
}

void read_attention(Reader& read, const Architecture& architecture, Numbers& n) {
  read_heads(read, architecture, n);
  if (read.failed()) return;
  read_lengths(read, architecture, n);
  if (!read.flag_or("attention.causal", true))
    read.fail(
        fmt::format("{} is false, and assay does not implement it", read.key("attention.causal")));
  for (uint32_t i = 0; i < n.layers.size(); ++i) n.layers[i].cache_of = i;
  if (architecture.attention.shares_caches) share_caches(read, architecture.attention, n);
}

void read_feed_forward(Reader& read, const Architecture& architecture, Numbers& n) {
  const FeedForward& ffn = architecture.ffn;
  constexpr std::string_view name = "feed_forward_length";
  std::vector<uint32_t> widths(n.blocks, 0);
  if (ffn.by_layer)
    widths = read.each_of_blocks(name, 0, largest_width, n.blocks, {});
  else
    widths.assign(n.blocks, read.first_of_blocks(name, 1, largest_width, n.blocks, {}));
  if (ffn.width == FeedForward::Width::half && widths[0] % 2)
    read.fail(fmt::format("{} {} is odd", read.key(name), widths[0]));
  for (uint32_t i = 0; i < n.layers.size(); ++i) {
    n.layers[i].ffn_width = ffn.width == FeedForward::Width::model  ? n.width
                            : ffn.width == FeedForward::Width::half ? widths[i] / 2
                                                                    : widths[i];
  }
  n.activation = ffn.activation;
  if (ffn.activation != op::Activation::gelu_tanh || !ffn.named_activation) return;
  const std::string named = read.text_or("hidden_activation", "gelu_pytorch_tanh");
  if (named == "gelu")
    n.activation = op::Activation::gelu_erf;
  else if (named != "gelu_pytorch_tanh" && named != "gelu_new" && named != "gelu_fast" &&
           !named.empty())
    read.fail(
        fmt::format("{} '{}' is not supported; supported: gelu, gelu_new, gelu_fast, "
                    "gelu_pytorch_tanh",
                    read.key("hidden_activation"), gguf::printable(named)));
}

void read_vocabulary(Reader& read, const gguf::File& file, const Architecture& architecture,
                     Numbers& n) {
  const gguf::Tensor* embedding = file.find_tensor("token_embd.weight");
  if (!embedding && architecture.embedding.may_be_head)
    embedding = file.find_tensor("output.weight");
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

void read_windows(Reader& read, const Architecture& architecture, Numbers& n) {
  constexpr std::string_view key = "attention.sliding_window",
                             pattern = "attention.sliding_window_pattern";
  const Windows& windows = architecture.windows;
  if (windows.size == Presence::absent) return;
  if (windows.size == Presence::required && !read.has_key(key))
    read.fail(fmt::format("{} is missing", read.key(key)));
  const bool listed = read.is_list(pattern);
  const bool unlisted = !windows.unlisted_with || windows.unlisted_with == n.layers.size();
  uint32_t size = read.integer_or(key, 0, most_positions, windows.default_size);
  if (size == 0 || !(unlisted || (listed && windows.lists_count))) return;
  if (windows.fixed_size) size = windows.fixed_size;
  if (windows.list_required && !listed) {
    read.fail(fmt::format("{} is {}, wanted a list with an element for each block",
                          read.key(pattern), read.has_key(pattern) ? "a number" : "missing"));
    return;
  }
  const std::vector<uint32_t> list = read.list(pattern, 1);
  if (listed && list.size() != n.blocks)
    read.fail(fmt::format("{} is a list that does not give a count for each of {} blocks",
                          read.key(pattern), n.blocks));
  const uint32_t period = listed ? 0 : read.integer_or(pattern, 0, 65536, windows.period);
  if (read.failed()) return;
  for (uint32_t i = 0; i < n.layers.size(); ++i) {
    const bool has = !list.empty()         ? list[i] != 0
                     : period == 0         ? true
                     : windows.whole_first ? i % period != 0
                                           : i % period < period - 1;
    if (has) n.layers[i].window = size;
  }
}

Numbers read_numbers(Reader& read, const gguf::File& file, const Architecture& architecture,
                     uint32_t context) {
  Numbers n{};
  if (const Status good = check_keys(file, architecture.name, architecture.keys); !good)
    read.fail(good.error().message);
  n.blocks = read.integer("block_count", 1, 4096);
  const uint32_t unused = read.integer_or("nextn_predict_layers", 0, n.blocks - 1, 0);
  if (read.failed()) return n;
  n.layers.resize(n.blocks - unused);
  n.width = read.integer("embedding_length", 1, largest_width);
  read_feed_forward(read, architecture, n);
  n.trained_context = read.integer("context_length", 1, most_positions);
  n.context = context ? context : n.trained_context;
  read_norms(read, architecture, n);
  if (read.failed()) return n;
  read_windows(read, architecture, n);
  if (read.failed()) return n;
  read_attention(read, architecture, n);
  if (read.failed()) return n;
  read_experts(read, architecture, n);
  if (read.failed()) return n;
  read_rope(read, architecture, n);
  read_vocabulary(read, file, architecture, n);
  return n;
}

}  // namespace assay::model
