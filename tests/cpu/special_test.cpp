// Values where a kernel goes wrong first: not finite, at the floor, at the ends of the codes, and
// FTZ/DAZ on and off.
#include <functional>

#include "data.h"
#include "op/activation.h"

namespace assay::tests {
namespace {

using Rows = std::vector<std::vector<float>>;

std::vector<contract::Row> quantise_all(const cpu::Kernels& kernels, const Rows& x) {
  std::vector<contract::Row> rows;
  for (const auto& row : x) rows.push_back(quantise(kernels, row));
  return rows;
}

TEST(NotFinite, AnActivationGivesNanInEveryRowAndInNoOtherToken) {
  for (uint32_t type : block_formats) {
    Random random(type);
    const Matrix matrix = random_matrix(type, 33, 512, random);
    const Rows clean = {random.floats(512), random.floats(512), random.floats(512)};
    for (const cpu::Kernels* kernels : all_kernels()) {
      auto rows = quantise_all(*kernels, clean);
      const auto want = multiply(*kernels, matrix.weight, rows);
      for (float bad : {NAN, INFINITY, -INFINITY})
        for (size_t where : {0u, 31u, 32u, 255u, 256u, 511u}) {
          Rows x = clean;
          x[1][where] = bad;
          rows = quantise_all(*kernels, x);
          const auto y = multiply(*kernels, matrix.weight, rows);
          for (size_t r = 0; r < 33; ++r) {
            ASSERT_TRUE(std::isnan(y[33 + r])) << kernels->isa << " format " << type << " " << bad
                                               << " at " << where << " row " << r;
            ASSERT_EQ(k_bits(y[r]), k_bits(want[r]));
            ASSERT_EQ(k_bits(y[66 + r]), k_bits(want[66 + r]));
          }
        }
    }
  }
}

TEST(NotFinite, AnActivationIsSeenByFloatWeights) {
  for (uint32_t type : all_formats) {
    Random random(type);
    const Matrix matrix = random_matrix(type, 17, 512, random);
    for (const cpu::Kernels* kernels : all_kernels())
      for (float bad : {NAN, INFINITY, -INFINITY}) {
        Rows x = {random.floats(512)};
        x[0][300] = bad;
        for (float y : multiply_f32(*kernels, matrix.weight, x))
          ASSERT_FALSE(std::isfinite(y)) << kernels->isa << " format " << type << " " << bad;
      }
  }
}

TEST(NotFinite, StaysInTheNormAndInSwiGlu) {
  for (const cpu::Kernels* kernels : all_kernels())
    for (size_t where : {0u, 5u, 40u}) {
      std::vector<float> x(41, 1.0f), w(41, 1.0f), y(41);
      x[where] = NAN;
      kernels->rms_norm(x.data(), w.data(), 41, 1e-5f, y.data());
      for (float v : y) EXPECT_TRUE(std::isnan(v)) << kernels->isa;
      x[where] = INFINITY;  // ∞·(1/∞)
      kernels->rms_norm(x.data(), w.data(), 41, 1e-5f, y.data());
      EXPECT_TRUE(std::isnan(y[where])) << kernels->isa;
      for (float bad : {NAN, -INFINITY}) {
        x[where] = bad;
        kernels->gate(activation_silu, x.data(), w.data(), 41, y.data());
        EXPECT_TRUE(std::isnan(y[where])) << kernels->isa << bad;
        kernels->gate(activation_silu, w.data(), x.data(), 41, y.data());
        EXPECT_FALSE(std::isfinite(y[where])) << kernels->isa << bad;
      }
    }
}

// Σ x² is finite up to |x| = 2^64/√n: 1/∞ made zeros of such a row once.
TEST(NotFinite, ANormWhoseSquaresLeaveF32GivesNanAndNoZeros) {
  for (const cpu::Kernels* kernels : all_kernels())
    for (const uint32_t n : {1u, 16u, 31u, 64u, 576u}) {
      std::vector<float> w(n, 1.0f), y(n);
      const float edge = float(0x1p64 / std::sqrt(double(n)));
      std::vector<float> x(n, -edge * 0.999f);
      kernels->rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
      for (const float v : y) EXPECT_NEAR(v, -1.0f, 1e-6f) << kernels->isa << " " << n;
      x.assign(n, edge * 1.001f);
      kernels->rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
      for (const float v : y) EXPECT_TRUE(std::isnan(v)) << kernels->isa << " " << n << " " << v;
      x.assign(n, 1.0f);
      x[n / 2] = 1e30f;  // one is enough
      kernels->rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
      for (const float v : y) EXPECT_TRUE(std::isnan(v)) << kernels->isa << " " << n << " " << v;
    }
}

TEST(NotFinite, ANanKeyGivesNanAndANanValueItsLane) {
  for (uint32_t count : {1u, 33u, 64u, 200u})
    for (uint32_t where : {0u, count / 2, count - 1}) {
      Random random(count);
      const auto query = random.floats(16);
      const auto k = random.floats(count * 16), v = random.floats(count * 16);
      auto bad_k = k, bad_v = v;
      bad_k[where * 16 + 3] = NAN;
      bad_v[where * 16 + 3] = NAN;
      for (const cpu::Kernels* kernels : all_kernels()) {
        for (float y : HeadCache<uint16_t>(count, 16, 16, bad_k, v).attend(*kernels, query, 0.01f))
          EXPECT_TRUE(std::isnan(y)) << kernels->isa << " count " << count << " key " << where;
        const auto y = HeadCache<float>(count, 16, 16, k, bad_v).attend(*kernels, query, 0.01f);
        for (size_t i = 0; i < 16; ++i)
          EXPECT_EQ(std::isnan(y[i]), i == 3) << kernels->isa << " count " << count;
      }
    }
}

TEST(Quantise, BelowTheFloorIsZerosAndAtItFullCodes) {
  std::vector<float> x(96, 0.0f);
  x[32] = std::nextafterf(tiny, 0.0f);  // just below: zeros
  x[64] = -tiny;                        // at it: code −127
  for (const cpu::Kernels* kernels : all_kernels()) {
    const contract::Row row = quantise(*kernels, x);
    for (size_t i = 0; i < 96; ++i) EXPECT_EQ(row.codes[i], i == 64 ? -127 : 0) << kernels->isa;
    EXPECT_EQ(k_bits(row.scale[0]), 0u);
    EXPECT_EQ(k_bits(row.scale[1]), 0u);
    EXPECT_EQ(row.scale[2], tiny / 127);
    EXPECT_EQ(row.scaled_sum[2], row.scale[2] * -127);
    EXPECT_EQ(row.half_sums[4], -127);
    EXPECT_EQ(row.half_sums[5], 0);
  }
}

TEST(Quantise, RoundsHalfToEvenAndReachesBothEnds) {
  // max 127: the codes are the values; x.5 goes to the even code.
  std::vector<float> x(32, 0.0f);
  const float values[] = {127, -127, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 126.5f, -126.5f};
  const int8_t codes[] = {127, -127, 0, 2, 2, 0, -2, -2, 126, -126};
  for (size_t i = 0; i < 10; ++i) x[i] = values[i];
  for (const cpu::Kernels* kernels : all_kernels()) {
    const contract::Row row = quantise(*kernels, x);
    for (size_t i = 0; i < 10; ++i) EXPECT_EQ(row.codes[i], codes[i]) << kernels->isa << " " << i;
  }
}

/// Every byte of the blocks is `fill`, all scales are 1: the largest sums that a group can make.
/// 16-bit sums must not saturate (maddubs does where pairs pass 32767).
TEST(Saturation, TheLargestCodesTimesTheLargestActivationsAreExact) {
  for (uint32_t type : block_formats)
    for (uint8_t fill : {uint8_t(0xff), uint8_t(0x80), uint8_t(0x7f), uint8_t(0), uint8_t(0xf0)}) {
      Random random(1);
      Matrix matrix = random_matrix(type, 16, 256, random);
      std::fill(matrix.bytes.begin(), matrix.bytes.end(), fill);
      for (size_t at = 0; at < matrix.bytes.size(); at += quant::info(type).block_bytes)
        put_fields(
            type, &matrix.bytes[at], [] { return 1.0f; }, [] { return 1.0f; });
      for (int pattern = 0; pattern < 4; ++pattern) {
        std::vector<float> x(256);
        for (size_t i = 0; i < 256; ++i)
          x[i] = pattern == 0              ? 127.0f
                 : pattern == 1            ? -127.0f
                 : (i / (pattern - 1)) % 2 ? 127
                                           : -127;
        std::vector<contract::Row> rows = {contract::quantise(x)};  // d = 1: codes are x
        std::vector<float> w = contract::decoded(matrix.weight, 0);
        double exact = 0;  // terms are eighths below 2^24 / 256 (Q6_K: 128·32·127·16 < 2^24)
        double magnitude = 0;
        for (size_t i = 0; i < 256; ++i) {
          exact += double(w[i]) * double(x[i]);
          magnitude += std::fabs(double(w[i]) * double(x[i]));
        }
        const float want = contract::dot(matrix.weight, 0, rows[0]);
        ASSERT_TRUE(std::fabs(double(want) - exact) <= 8 * 0x1p-24 * magnitude);
        for (const cpu::Kernels* kernels : all_kernels())
          for (float y : multiply(*kernels, matrix.weight, rows))
            ASSERT_EQ(y, want) << kernels->isa << " format " << type << " fill " << int(fill)
                               << " pattern " << pattern;
      }
    }
}

/// Runs every kernel on inputs scaled by `size` and returns all the outputs' values.
std::vector<float> run_all(const cpu::Kernels& kernels, float size) {
  Random random(31);
  std::vector<float> all;
  const auto keep = [&](const std::vector<float>& y) { all.insert(all.end(), y.begin(), y.end()); };
  const auto sized = [&](uint64_t n) {
    auto x = random.floats(n);
    for (float& v : x) v = k_floor_tiny(v * size);  // what an operation of the contract can give
    return x;
  };
  const auto a = sized(544), b = sized(544);
  std::vector<float> y(544);
  kernels.add(a.data(), b.data(), 544, y.data());
  keep(y);
  kernels.gate(activation_silu, a.data(), b.data(), 544, y.data());
  keep(y);
  kernels.rms_norm(a.data(), random.floats(544).data(), 544, 1e-6f, y.data());
  keep(y);
  kernels.layer_norm(a.data(), random.floats(544).data(), b.data(), 544, 1e-6f, y.data());
  keep(y);
  for (uint32_t f = 0; f < op::activations.size(); ++f) {
    kernels.activate(f, a.data(), 544, y.data());
    keep(y);
    kernels.gate(f, a.data(), b.data(), 544, y.data());
    keep(y);
    kernels.gate_all(f, a[0], b.data(), 544, y.data());
    keep(y);
  }
  kernels.xielu(a.data(), {0.8f, 1.3f, 0.5f, -1e-6f}, 544, y.data());
  keep(y);
  kernels.soft_cap(a.data(), 30.0f, 544, y.data());
  keep(y);
  kernels.multiply_floored(a.data(), b[0], 544, y.data());
  keep(y);
  kernels.softmax(a.data(), 544, y.data());
  keep(y);
  kernels.sigmoid(a.data(), 544, y.data());
  keep(y);
  const auto slots = sized(544 * 3);
  kernels.mix(slots.data(), random.floats(3).data(), 3, 544, y.data());
  keep(y);
  kernels.rope(a.data(), random.floats(64).data(), 64, 64, true, y.data());
  keep(y);
  for (uint32_t type : block_formats) {
    const uint64_t columns = quant::info(type).block_size * 2;
    const Matrix matrix = random_matrix(type, 33, columns, random);
    const Rows x = {sized(columns), sized(columns)};
    auto rows = quantise_all(kernels, x);
    for (const auto& row : rows) keep(row.scale), keep(row.scaled_sum);
    keep(multiply(kernels, matrix.weight, rows));
    keep(multiply_f32(kernels, matrix.weight, x));
  }
  for (uint32_t type : {quant::F16::id, quant::BF16::id})
    keep(multiply_f32(kernels, random_matrix(type, 17, 300, random).weight, {sized(300)}));
  const auto k = sized(150 * 32), v = sized(150 * 32), q = sized(32);
  keep(HeadCache<uint16_t>(150, 32, 32, k, v).attend(kernels, q, 0.2f));
  keep(HeadCache<float>(150, 32, 32, k, v).attend(kernels, q, 0.2f));
  keep(HeadCache<uint16_t>(150, 32, 32, k, v)
           .attend(kernels, q, 0.2f, {.first = 70, .soft_cap = 3, .slope = 0.25f, .sink = 1.0f}));
  std::vector<uint16_t> halves(544);
  kernels.to_f16(a.data(), 544, halves.data());
  for (uint16_t h : halves) all.push_back(float(h));
  return all;
}

TEST(FlushDenormals, ChangesNoBitOfAnyKernel) {
  for (const cpu::Kernels* kernels : all_kernels())
    for (float size : {1.0f, 0x1p-24f, 0x1p-40f, 0x1p-60f, 0x1p-68f, 0x1p-70f, 0x1p-72f, 0x1p40f}) {
      const auto plain = run_all(*kernels, size);
      std::vector<float> flushed;
      {
        const FlushDenormals flush;
        flushed = run_all(*kernels, size);
      }
      ASSERT_EQ(difference(flushed, plain), "") << kernels->isa << " size " << size;
      for (float value : plain)
        ASSERT_FALSE(std::fpclassify(value) == FP_SUBNORMAL)
            << kernels->isa << " size " << size << " gave the denormal " << value;
    }
}

/// The smallest numbers that a matmul of the contract can meet: f16 scale ±2^-24, groups whose
/// maximum is just above 2^-72, weights of opposite sign, so that only the rounding error of
/// t·d = 3·2^-24·d is left. d >= 2^-79 has its last bit at 2^-102 or above, t at 2^-24: every exact
/// product and so every sum is a multiple of 2^-126, the smallest normal number.
TEST(FlushDenormals, CancellationAtTheFloorLeavesNormalNumbers) {
  const uint32_t count = 64;
  std::vector<uint8_t> bytes(16 * 2 * 34, 0);
  for (size_t r = 0; r < 16; ++r)
    for (size_t b = 0; b < 2; ++b) {
      uint8_t* block = &bytes[(2 * r + b) * 34];
      block[0] = 1;                       // d = 2^-24
      block[1] = b ? 0x80 : 0;            // −d in the second block
      block[2 + 1] = uint8_t(2 * r + 1);  // one weight meets the activation of code ±1
    }
  const Matrix matrix(quant::Q8_0::id, 16, 64, std::move(bytes));
  uint64_t left = 0;
  for (const cpu::Kernels* kernels : all_kernels())
    for (uint32_t i = 0; i < count; ++i) {
      std::vector<float> x(64, 0.0f);
      for (size_t b = 0; b < 2; ++b) {
        x[32 * b] = k_float(k_bits(tiny) + 12345 * i);  // the maximum
        x[32 * b + 1] = x[32 * b] / 127;                // code 1
      }
      std::vector<contract::Row> rows = {quantise(*kernels, x)};
      const auto plain = multiply(*kernels, matrix.weight, rows);
      std::vector<float> flushed;
      {
        const FlushDenormals flush;
        rows = {quantise(*kernels, x)};
        flushed = multiply(*kernels, matrix.weight, rows);
      }
      ASSERT_EQ(difference(flushed, plain), "") << kernels->isa << " step " << i;
      for (float y : plain) {
        ASSERT_FALSE(std::fpclassify(y) == FP_SUBNORMAL) << kernels->isa << " step " << i;
        left += y != 0;
      }
    }
  EXPECT_GT(left, 100u) << "no rounding error was left: the test shows nothing";
}

/// Scales down to what each format can hold, times activations near the floor: sums that would be
/// denormals become +0, with flushing on and off.
TEST(FlushDenormals, FineScalesLeaveNormalNumbers) {
  uint64_t zeros = 0, others = 0;
  const auto try_scales = [&](uint32_t type, int least, float size) {
    Random random(type);
    Matrix matrix = random_matrix(type, 33, 512, random);
    const auto scale = [&] { return std::ldexp(1.0f, -least - int(random.below(4))); };
    for (size_t at = 0; at < matrix.bytes.size(); at += quant::info(type).block_bytes)
      put_fields(type, &matrix.bytes[at], scale, scale);
    std::vector<float> x = random.floats(512);
    for (float& value : x) value = k_floor_tiny(value * size);
    for (const cpu::Kernels* kernels : all_kernels()) {
      std::vector<contract::Row> rows = {quantise(*kernels, x)};
      const auto plain = multiply(*kernels, matrix.weight, rows);
      std::vector<float> flushed, want;
      for (uint64_t r = 0; r < 33; ++r) want.push_back(contract::dot(matrix.weight, r, rows[0]));
      {
        const FlushDenormals flush;
        flushed = multiply(*kernels, matrix.weight, rows);
      }
      const std::string where = std::string(kernels->isa) + " format " + std::to_string(type) +
                                " 2^-" + std::to_string(least);
      ASSERT_EQ(difference(flushed, plain), "") << where;
      ASSERT_EQ(difference(want, plain), "") << where;
      for (const float y : plain) {
        ASSERT_NE(std::fpclassify(y), FP_SUBNORMAL) << where;
        ++(y == 0 ? zeros : others);
      }
    }
  };
  quant::visit_all([&]<class F>() {
    if constexpr (!quant::is_float_format<F>) {
      if (!quant::has_fine_scales<F>) return;
      for (const int least : {2, 21, 60, 98})
        for (const float size : {0x1p-72f, 0x1p-60f, 0x1p-30f, 1.0f})
          if (least <= 21 || F::scale_is_bf16) try_scales(F::id, least, size);
    }
  });
  EXPECT_GT(zeros, 100u);
  EXPECT_GT(others, 1000u);
}

}  // namespace
}  // namespace assay::tests
