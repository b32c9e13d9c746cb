// Gives blocks the scales that tests and tools want. Where a block holds its scale is found by
// trying, so that no table of offsets can agree with a wrong format.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <functional>
#include <utility>
#include <vector>

#include "quant/formats.h"

namespace assay::quant {

/// The 16 bits of an f16 in a block, wherever each of them stands.
struct HalfField {
  std::array<uint32_t, 16> places{};  ///< 8·byte + bit
  bool found = false;                 ///< false: the block holds no f16 there

  void put(uint8_t* block, uint16_t half) const {
    for (uint32_t i = 0; i < 16; ++i) {
      const auto mask = uint8_t(1u << (places[i] % 8));
      uint8_t& byte = block[places[i] / 8];
      byte = uint8_t((byte & ~mask) | (half >> i & 1 ? mask : 0));
    }
  }
};

/// Where what `read` reads as an f16 stands in a block.
template <class Read>
HalfField half_field(uint32_t block_bytes, Read read) {
  std::vector<uint8_t> block(block_bytes, 0);
  HalfField field;
  uint32_t seen = 0;
  for (uint32_t place = 0; place < 8 * block_bytes; ++place) {
    block[place / 8] = uint8_t(1u << (place % 8));
    if (const uint32_t bits = read(block.data()); std::has_single_bit(bits)) {
      field.places[size_t(std::countr_zero(bits))] = place;
      seen |= bits;
    }
    block[place / 8] = 0;
  }
  field.found = seen == 0xffff;
  return field;
}

template <class F>
const HalfField& scale_field() {
  static const HalfField field =
      half_field(F::block_bytes, [](const uint8_t* block) { return F::scale_bits(block, 0); });
  return field;
}
template <class F>
const HalfField& minimum_field() {
  static const HalfField field =
      half_field(F::block_bytes, [](const uint8_t* block) { return F::minimum_bits(block); });
  return field;
}

/// The byte that is group `group`'s scale, where a format has no f16, and the scales of its values.
template <class F>
struct ByteField {
  uint32_t place = 0;
  std::vector<std::pair<float, uint8_t>> scales;  ///< in order

  explicit ByteField(uint32_t group) {
    std::vector<uint8_t> block(F::block_bytes, 0);
    for (bool found = false; !found; ++place) {
      for (uint32_t value = 1; value < 256 && !found; ++value) {
        block[place] = uint8_t(value);
        found = F::scale_bits(block.data(), group) != 0;
      }
      block[place] = 0;
      if (found) break;
    }
    for (uint32_t value = 0; value < 256; ++value) {
      block[place] = uint8_t(value);
      scales.emplace_back(F::scale(block.data(), group), uint8_t(value));
    }
    std::ranges::sort(scales);
  }

  /// The value whose scale is nearest to |wanted|.
  void put(uint8_t* block, float wanted) const {
    const auto above = std::ranges::lower_bound(scales, std::pair(std::fabs(wanted), uint8_t(0)));
    auto nearest = above == scales.end() ? above - 1 : above;
    if (above != scales.begin() &&
        std::fabs(wanted) - (above - 1)->first < nearest->first - std::fabs(wanted))
      nearest = above - 1;
    block[place] = nearest->second;
  }
};

/// The groups of a block that have 16 bits of their own; of a super-block one has them for all.
template <class F>
inline constexpr uint32_t own_scales = is_super_block<F> ? 1 : F::block_size / F::group_size;

/// Gives group `group` (below own_scales) of a block the scale, or d, that is wanted, or where the
/// format has no f16 the nearest that it has to |wanted|.
template <class F>
void put_scale(uint8_t* block, uint32_t group, float wanted) {
  if (scale_field<F>().found) return scale_field<F>().put(block, k_f32_to_f16(wanted));
  static const std::vector<ByteField<F>> fields = [] {
    std::vector<ByteField<F>> made;
    for (uint32_t g = 0; g < own_scales<F>; ++g) made.emplace_back(g);
    return made;
  }();
  fields[group].put(block, wanted);
}
template <class F>
void put_minimum(uint8_t* block, float wanted) {
  minimum_field<F>().put(block, k_f32_to_f16(wanted));
}

/// Whether the groups of a block have scales of their own: some byte changes one of them alone.
template <class F>
bool has_several_scales() {
  static const bool found = [] {
    std::vector<uint8_t> block(F::block_bytes, 0);
    const auto scales = [&] {
      std::vector<float> all;
      for (uint32_t g = 0; g < F::block_size / F::group_size; ++g)
        all.push_back(F::scale(block.data(), g));
      return all;
    };
    for (uint32_t g = 0; g < own_scales<F>; ++g) put_scale<F>(block.data(), g, 1.0f);
    for (uint8_t& byte : block) {
      const uint8_t before = byte;
      byte = uint8_t(byte ^ 0x11);
      const auto all = scales();
      if (std::ranges::adjacent_find(all, std::ranges::not_equal_to()) != all.end()) return true;
      byte = before;
    }
    return false;
  }();
  return found;
}

/// How far the weights in a byte's low and high nibble are apart, where all of a format's codes lie
/// in such bytes; else 0.
template <class F>
uint32_t nibble_distance() {
  static const uint32_t found = [] {
    const auto changed = [](uint32_t byte, uint8_t value) {
      std::vector<uint8_t> block(F::block_bytes, 0);
      std::vector<uint32_t> before(F::block_size), weights;
      for (uint32_t i = 0; i < F::block_size; ++i) before[i] = F::code(block.data(), i);
      block[byte] = value;
      for (uint32_t i = 0; i < F::block_size; ++i)
        if (F::code(block.data(), i) != before[i]) weights.push_back(i);
      return weights;
    };
    uint32_t distance = 0, bytes = 0;
    for (uint32_t byte = 0; byte < F::block_bytes; ++byte) {
      const auto low = changed(byte, 0x0f), high = changed(byte, 0xf0);
      if (low.empty() && high.empty()) continue;
      if (low.size() != 1 || high.size() != 1) return 0u;
      if (distance != 0 && (low[0] ^ high[0]) != distance) return 0u;
      distance = low[0] ^ high[0];
      ++bytes;
    }
    return 2 * bytes == F::block_size ? distance : 0u;
  }();
  return found;
}

}  // namespace assay::quant
