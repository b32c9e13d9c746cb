// What the configuration and the tensors of a Hugging Face folder are called in a GGUF file. One
// table holds for all architectures; an architecture has a short list of its own, which goes first.
// docs/convert.md has it in words.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "model/config.h"

namespace assay::model {

/// What happens to a tensor on its way. `transposed` and `plus_one` go together with one of the
/// others; "rows" are those of a matrix, or the values of a vector, of each expert for itself.
enum Change : uint32_t {
  unchanged = 0,
  transposed = 1,     ///< the file has (columns, rows)
  first_half = 2,     ///< of the rows
  second_half = 4,    ///< of the rows
  even_rows = 8,      ///< rows 0, 2, 4, …
  odd_rows = 16,      ///< rows 1, 3, 5, …
  pair_rows = 32,     ///< the two rows of a head that RoPE turns together become neighbours
  groups_apart = 64,  ///< for each KV head its queries, key and value become: all q, all k, all v
  plus_one = 128      ///< 1 is added to each value
};
constexpr Change operator|(Change a, Change b) {
  return Change(uint32_t(a) | uint32_t(b));
}

/// "{}" stands for the block's number in both names. A second "{}" in `source` counts experts, or
/// other parts: they are stacked. Where `name` ends in neither .weight nor .bias, the row holds for
/// both. Several rows may have one source. A row with an empty name: the tensor is left out.
struct TensorRow {
  std::string_view name;    ///< GGUF's
  std::string_view source;  ///< Hugging Face's
  Change change = unchanged;
};

/// Rows of architectures whose files hold q and k for adjacent pairs, where the folder has halves.
inline constexpr TensorRow paired_tensors[] = {
    {"blk.{}.attn_q", "model.layers.{}.self_attn.q_proj", pair_rows},
    {"blk.{}.attn_k", "model.layers.{}.self_attn.k_proj", pair_rows}};

/// A key with a list of one number of each block, which is a tensor there.
struct NumberRow {
  std::string_view key;     ///< GGUF's, as Keys take it
  std::string_view source;  ///< Hugging Face's, with "{}" for the block
};

enum class FieldType { integer, real, flag, text };

/// A key that is one field of config.json, or a field that must have a certain value.
struct ConfigRow {
  std::string_view key;     ///< GGUF's, without "ARCHITECTURE."; empty: none
  std::string_view fields;  ///< as Config takes them
  FieldType type = FieldType::integer;
  bool required = false;
  std::string_view only = {};  ///< "silu|swish": the implemented values, of a field that is there
};

/// A class of transformers, as config.json names it in `architectures`, and its model_type.
struct SourceClass {
  std::string_view name, type;
  double base = 10000;  ///< RoPE's, where a configuration has none
};

/// How an architecture's files come from Hugging Face folders.
struct Conversion {
  std::span<const SourceClass> classes = {};
  std::span<const TensorRow> tensors = {};  ///< an own row hides the common rows of its source
  std::span<const ConfigRow> config = {};   ///< an own row hides common rows of its key or a field
  std::span<const NumberRow> numbers = {};
  /// A field that counts blocks after the last which are left out: they draft for others.
  std::string_view unread_blocks = {};
  /// The part of each head that RoPE turns where the configuration says none; 0: always the whole.
  double turned_part = 0;
  /// Sets what rows cannot say; errors are the Config's.
  void (*more)(Config& config, Keys& keys) = nullptr;
};

/// Sets the window, where the configuration has one, of all blocks but each `period`-th; with 0 of
/// all. `layer_types` counts more than a period.
void set_window(Config& config, Keys& keys, uint32_t period);
/// The same of the blocks that layer_types names, or else those that `has` is true of.
void set_window(Config& config, Keys& keys, const std::function<bool(uint32_t)>& has);
/// As the classes of Qwen without experts: where use_sliding_window is true, from max_window_layers
/// on.
void set_upper_window(Config& config, Keys& keys);

std::span<const TensorRow> common_tensors();
std::span<const ConfigRow> common_config();

struct Architecture;

/// The architecture that the class of a folder's config.json is written as. Errors: none is named;
/// it is not supported (names those that are).
Result<const Architecture*> architecture_of(Config& config);

}  // namespace assay::model
