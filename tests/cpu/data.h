// Random data of a fixed seed, comparisons by bits, and what the CPU tests share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "contract.h"
#include "cpu/kernels.h"
#include "cpu/panel.h"
#include "formats.h"

namespace assay::tests {

inline constexpr float tiny = 0x1p-72f;  // the contract's floor

/// The kernels that this machine can run.
inline std::vector<const cpu::Kernels*> all_kernels() {
  std::vector<const cpu::Kernels*> list;
  for (const char* isa : {"portable", "avx2", "avx512"})
    if (const cpu::Kernels* kernels = cpu::find_kernels(isa)) list.push_back(kernels);
  return list;
}

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t bits() { return uint32_t(engine_()); }
  uint32_t below(uint32_t n) { return bits() % n; }
  /// Uniform in (-1, 1).
  float uniform() { return float(int32_t(bits()) >> 8) * 0x1p-23f; }
  /// A finite f16: mixed signs, 2^-7 … 2^1, one in sixteen zero or subnormal.
  uint16_t half() {
    const uint32_t sign = below(2) << 15, mantissa = below(1024);
    const uint32_t exponent = below(16) == 0 ? 0 : 8 + below(8);
    return uint16_t(sign | exponent << 10 | (below(32) == 0 ? 0 : mantissa));
  }
  /// Values whose groups of 32 differ in size by up to 2^8; `zero_one_in`: how often a zero stands.
  std::vector<float> floats(uint64_t n, uint32_t zero_one_in = 20) {
    std::vector<float> x(n);
    float size = 1;
    for (uint64_t i = 0; i < n; ++i) {
      if (i % 32 == 0) size = std::ldexp(1.0f, int(below(9)) - 4);
      x[i] = below(zero_one_in) == 0 ? 0.0f : size * uniform();
    }
    return x;
  }

 private:
  std::mt19937 engine_;
};

/// A weight that owns its bytes.
struct Matrix {
  std::vector<uint8_t> bytes;
  op::Weight weight;

  Matrix(uint32_t type, uint64_t rows, uint64_t columns, std::vector<uint8_t> data)
      : bytes(std::move(data)), weight{"w", type, rows, columns, bytes} {}
  Matrix(Matrix&&) = default;
  Matrix(const Matrix&) = delete;
  /// The first `rows` rows.
  op::Weight top(uint64_t rows) const {
    op::Weight part = weight;
    part.rows = rows;
    part.data = part.data.subspan(0, rows * weight.row_bytes());
    return part;
  }
};

/// Random valid blocks: any codes and scale codes, finite scales.
inline Matrix random_matrix(uint32_t type, uint64_t rows, uint64_t columns, Random& random) {
  const quant::Info info = quant::info(type);
  std::vector<uint8_t> bytes(rows * columns / info.block_size * info.block_bytes);
  const auto half = [&] { return k_f16_to_f32(random.half()); };
  for (size_t at = 0; at < bytes.size(); at += info.block_bytes) {
    if (type == quant::F32::id || type == quant::BF16::id) {
      const uint32_t bits = k_bits(random.uniform());
      std::memcpy(&bytes[at], reinterpret_cast<const uint8_t*>(&bits) + 4 - info.block_bytes,
                  info.block_bytes);
      continue;
    }
    for (size_t i = 0; i < info.block_bytes; ++i) bytes[at + i] = uint8_t(random.bits());
    if (type == quant::F16::id) {
      const uint16_t value = random.half();
      std::memcpy(&bytes[at], &value, 2);
    }
    put_fields(type, &bytes[at], half, half);
  }
  return {type, rows, columns, std::move(bytes)};
}

inline cpu::Panels packed(const op::Weight& weight) {
  cpu::Panels panels = cpu::allocate_panels(weight);
  cpu::pack(weight, panels, 0, panels.count());
  return panels;
}

/// Rows of quantised activations as the kernels take them; `rows` must outlive the views.
inline std::vector<cpu::QuantisedRow> views(std::vector<contract::Row>& rows) {
  std::vector<cpu::QuantisedRow> list;
  for (contract::Row& row : rows)
    list.push_back(
        {row.codes.data(), row.scale.data(), row.scaled_sum.data(), row.half_sums.data()});
  return list;
}

/// The rows of y (count, stride) as the kernels take them.
inline std::vector<float*> rows_of(std::vector<float>& y, uint64_t count, uint64_t stride) {
  std::vector<float*> list;
  for (uint64_t i = 0; i < count; ++i) list.push_back(y.data() + i * stride);
  return list;
}

/// y (count, rows) = W·x with a kernel, all panels at once.
inline std::vector<float> multiply(const cpu::Kernels& kernels, const op::Weight& weight,
                                   std::vector<contract::Row>& x, const float* bias = nullptr) {
  const cpu::Panels panels = packed(weight);
  std::vector<float> y(x.size() * weight.rows);
  kernels.matmul(weight.type, panels.data.get(), panels.panel_bytes, weight.rows, weight.columns, 0,
                 panels.count(), views(x).data(), uint32_t(x.size()), bias,
                 rows_of(y, x.size(), weight.rows).data());
  return y;
}

inline std::vector<float> multiply_f32(const cpu::Kernels& kernels, const op::Weight& weight,
                                       const std::vector<std::vector<float>>& x,
                                       const float* bias = nullptr) {
  const cpu::Panels panels = packed(weight);
  std::vector<float> y(x.size() * weight.rows);
  std::vector<const float*> rows;
  for (const auto& row : x) rows.push_back(row.data());
  kernels.matmul_f32(weight.type, panels.data.get(), panels.panel_bytes, weight.rows,
                     weight.columns, 0, panels.count(), rows.data(), uint32_t(x.size()), bias,
                     rows_of(y, x.size(), weight.rows).data());
  return y;
}

inline contract::Row quantise(const cpu::Kernels& kernels, const std::vector<float>& x) {
  contract::Row row;
  row.codes.resize(x.size());
  row.scale.resize(x.size() / 32);
  row.scaled_sum.resize(x.size() / 32);
  row.half_sums.resize(x.size() / 16);
  kernels.quantise(
      x.data(), x.size(),
      {row.codes.data(), row.scale.data(), row.scaled_sum.data(), row.half_sums.data()});
  return row;
}

/// One head's keys and values in the cache's layout: the second of two KV heads, in pages of
/// descending order. All else is NaN: a kernel that lets it through is caught.
template <class Element>
struct HeadCache {
  uint32_t key_dim, value_dim, stride, count;
  std::vector<Element> keys, values;            // (pages, 2, key_dim, 64), (pages, 2, 64, stride)
  std::vector<uint32_t> pages;                  // (chunks)
  std::vector<float> plain_keys, plain_values;  // (count, dim): as the cache holds them

  HeadCache(uint32_t key_count, uint32_t kd, uint32_t vd, const std::vector<float>& k,
            const std::vector<float>& v)
      : key_dim(kd), value_dim(vd), stride((vd + 15) / 16 * 16), count(key_count) {
    const size_t chunks = (count + 63) / 64;
    keys.assign(chunks * 2 * 64 * kd, element(NAN));
    values.assign(chunks * 2 * 64 * stride, element(NAN));
    for (size_t chunk = 0; chunk < chunks; ++chunk) pages.push_back(uint32_t(chunks - 1 - chunk));
    for (size_t j = 0; j < count; ++j) {
      const size_t head = 2 * pages[j / 64] + 1;
      for (size_t d = 0; d < kd; ++d) {
        keys[(head * kd + d) * 64 + j % 64] = element(k[j * kd + d]);
        plain_keys.push_back(number(element(k[j * kd + d])));
      }
      for (size_t d = 0; d < vd; ++d) {
        values[(head * 64 + j % 64) * stride + d] = element(v[j * vd + d]);
        plain_values.push_back(number(element(v[j * vd + d])));
      }
    }
  }

  std::vector<float> attend(const cpu::Kernels& kernels, const std::vector<float>& query,
                            float scale, const contract::AttentionExtras& extras = {}) const {
    std::vector<float> scratch(2 * stride), output(value_dim);
    cpu::AttentionHead head{};
    head.query = query.data();
    head.keys = keys.data() + 64 * key_dim;
    head.values = values.data() + 64 * stride;
    head.pages = pages.data();
    head.key_page = 2 * 64 * key_dim, head.value_page = 2 * 64 * stride;
    head.key_count = count;
    head.key_dim = key_dim, head.value_dim = value_dim, head.value_stride = stride;
    head.scale = scale;
    head.first_key = uint32_t(extras.first);
    head.soft_cap = extras.soft_cap, head.slope = extras.slope;
    head.sink = extras.sink ? &*extras.sink : nullptr;
    head.scratch = scratch.data(), head.output = output.data();
    (sizeof(Element) == 2 ? kernels.attention_f16 : kernels.attention_f32)(head);
    return output;
  }

  static Element element(float x) {
    if constexpr (sizeof(Element) == 2)
      return k_f32_to_f16(x);
    else
      return x;
  }
  static float number(Element x) {
    if constexpr (sizeof(Element) == 2)
      return k_f16_to_f32(x);
    else
      return x;
  }
};

/// "" where all bits are equal (any NaN equals any NaN), else the first difference.
inline std::string difference(std::span<const float> got, std::span<const float> want) {
  if (got.size() != want.size()) return "sizes differ";
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) && std::isnan(want[i])) continue;
    if (k_bits(got[i]) != k_bits(want[i]))
      return "element " + std::to_string(i) + " of " + std::to_string(got.size()) + ": got " +
             std::to_string(got[i]) + ", want " + std::to_string(want[i]);
  }
  return {};
}

/// Sets FTZ and DAZ for a scope, where the machine has them.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : saved_(_mm_getcsr()) {
    _mm_setcsr(saved_ | 0x8040u);
  }
  ~FlushDenormals() {
    _mm_setcsr(saved_);
  }

 private:
  uint32_t saved_;
#endif
};

}  // namespace assay::tests
