// The list of weight formats. A new format: one file beside this one, and one line in `All`.
//
// A *float format* (block_size 1) has `value(block)`. A *block format* has groups of `group_size`
// weights that share a scale and, where `has_minimum`, a minimum:  w = scale·(code − code_offset) +
// minimum, with every product exact in f32 and one rounding in the sum, which is how ggml decodes
// it, bit for bit.
#pragma once

#include <cstdint>
#include <iterator>
#include <span>
#include <string_view>

#include "quant/bf16.h"
#include "quant/f16.h"
#include "quant/f32.h"
#include "quant/iq4_nl.h"
#include "quant/q2_k.h"
#include "quant/q3_k.h"
#include "quant/q4_0.h"
#include "quant/q4_1.h"
#include "quant/q4_k.h"
#include "quant/q5_0.h"
#include "quant/q5_1.h"
#include "quant/q5_k.h"
#include "quant/q6_k.h"
#include "quant/q8_0.h"

namespace assay::quant {

template <class... Formats>
struct List {};
using All =
    List<F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL>;
/// Their names, in the same order: kernels have no use for text, so the formats have none.
inline constexpr std::string_view all_names[] = {"F32",  "F16",  "BF16", "Q8_0",  "Q4_0",
                                                 "Q4_1", "Q5_0", "Q5_1", "Q2_K",  "Q3_K",
                                                 "Q4_K", "Q5_K", "Q6_K", "IQ4_NL"};

template <class Format>
inline constexpr std::string_view name_of = []<class... F>(List<F...>) {
  static_assert(sizeof...(F) == std::size(all_names));
  size_t index = 0;
  (void)((F::id == Format::id || (++index, false)) || ...);
  return all_names[index];
}(All{});

template <class Format>
inline constexpr bool is_float_format = Format::block_size == 1;

/// What a reader of files must know of a format.
struct Info {
  uint32_t id;
  std::string_view name;
  uint32_t block_size;  ///< weights a block; the row length must be a multiple
  uint32_t block_bytes;
};

/// Calls `visitor.template operator()<Format>()` for the format with this GGUF id.
/// Returns false where no supported format has it.
template <class Visitor>
bool visit(uint32_t id, Visitor&& visitor) {
  return [&]<class... F>(List<F...>) {
    return ((F::id == id ? (visitor.template operator()<F>(), true) : false) || ...);
  }(All{});
}

/// The format's facts; an Info with block_size 0 where the id is not supported.
inline Info info(uint32_t id) {
  Info found{id, {}, 0, 0};
  visit(id, [&]<class F>() { found = {F::id, name_of<F>, F::block_size, F::block_bytes}; });
  return found;
}

/// Decodes weight i of a block.
template <class F>
K_FN float decode(K_DEV const uint8_t* block, uint32_t i) {
  if constexpr (is_float_format<F>) {
    return F::value(block);
  } else {
    const uint32_t group = i / F::group_size;
    const float code = float(int32_t(F::code(block, i)) - F::code_offset);
    if constexpr (F::has_minimum)
      return k_fma(F::scale(block, group), code, F::minimum(block, group));
    return F::scale(block, group) * code;
  }
}

/// Decodes `out.size()` weights from `bytes` (rows of whole blocks). False where the id is not
/// supported.
bool decode_row(uint32_t id, std::span<const uint8_t> bytes, std::span<float> out);

/// "F32, F16, Q8_0, …": for error messages.
std::string_view supported_names();

}  // namespace assay::quant
