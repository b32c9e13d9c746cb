// What the host makes of the list of weight formats (quant/list.h).
//
// A *float format* (block_size 1) has `value(block)`. A *block format* has groups of `group_size`
// weights that share a scale and, where `has_minimum`, a minimum:  w = scale·value[code] + minimum,
// with every product exact in f32 and one rounding in the sum, which is how ggml decodes it, bit
// for bit. A code's value is code − code_offset, or stands in the format's table of up to sixteen
// int8. A *super-block* of 256 weights has one d, and scale = d·scale_code·scale_unit for each of
// its groups; in other block formats each group has 16 bits of its own.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "lang/math.h"
#include "quant/list.h"

namespace assay::quant {

/// The name of a format is that of its type: kernels have no use for text, so the formats have
/// none.
template <class Format>
constexpr std::string_view name_of_type() {
  const std::string_view text = __PRETTY_FUNCTION__;  // "… [with Format = assay::quant::Q4_K; …"
  const size_t end = text.find_first_of(";]", text.find("Format = "));
  const size_t begin = text.find_last_of(" :", end) + 1;
  return text.substr(begin, end - begin);
}
template <class Format>
inline constexpr std::string_view name_of = name_of_type<Format>();
static_assert(name_of<Q4_K> == "Q4_K");

template <class Format>
inline constexpr bool is_float_format = Format::block_size == 1;
template <class Format>
inline constexpr bool is_super_block = Format::block_size == 256;
/// Whether a scale can have bits below 2^-24, the least of an f16 times a whole number. Then sums
/// are kept from denormals by `k_flush` (docs/numbers.md).
template <class Format>
inline constexpr bool has_fine_scales = Format::scale_is_bf16 || Format::scale_unit < 1.0f;

/// The whole numbers that a table format's codes stand for.
struct Values {
  int8_t of[16];
};
template <class Format>
inline constexpr Values values_of = [] {
  Values values{};
  for (uint32_t i = 0; i < 16; ++i)
    values.of[i] = int8_t((i < 8 ? Format::values_low : Format::values_high) >> (8 * (i % 8)));
  return values;
}();

/// The whole number that a code stands for: w = scale·value_of(code) + minimum.
template <class Format>
constexpr int32_t value_of(uint32_t code) {
  if constexpr (Format::has_table)
    return values_of<Format>.of[code];
  else
    return int32_t(code) - Format::code_offset;
}

/// What a reader of files must know of a format.
struct Info {
  uint32_t id;
  std::string_view name;
  uint32_t block_size;  ///< weights a block; the row length must be a multiple
  uint32_t block_bytes;
};

/// Calls `visitor.template operator()<Format>()` for each format of the list.
template <class Visitor>
void visit_all(Visitor&& visitor) {
  [&]<class... F>(List<F...>) { (visitor.template operator()<F>(), ...); }(All{});
}

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
    const float value = float(value_of<F>(F::code(block, i)));
    if constexpr (F::has_minimum)
      return k_fma(F::scale(block, group), value, F::minimum(block, group));
    return F::scale(block, group) * value;
  }
}

/// Decodes `out.size()` weights from `bytes` (rows of whole blocks). False where the id is not
/// supported.
bool decode_row(uint32_t id, std::span<const uint8_t> bytes, std::span<float> out);

/// "F32, F16, Q8_0, …": for error messages.
std::string_view supported_names();

}  // namespace assay::quant
