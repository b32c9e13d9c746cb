// Quantise, norm, RoPE, SwiGLU, add and to_f16 kernels against the scalar contract, bit for bit.
#include "data.h"
#include "op/rope.h"

namespace assay::tests {
namespace {

constexpr uint64_t sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 255, 257, 509, 576, 1000};

TEST(Quantise, HasTheContractsCodesScalesAndSums) {
  for (uint64_t columns : {32u, 64u, 96u, 256u, 288u, 1536u}) {
    Random random(uint32_t(columns) + 1);
    for (int round = 0; round < 20; ++round) {
      std::vector<float> x = random.floats(columns);
      for (float& value : x) {
        if (random.below(8) == 0) value = std::nearbyintf(value * 8) / 8;  // ties of the rounding
        if (round % 4 == 1) value *= tiny;                                 // about the floor
        if (round % 4 == 2 && random.below(200) == 0) value = INFINITY;
      }
      const contract::Row want = contract::quantise(x);
      for (const cpu::Kernels* kernels : all_kernels()) {
        SCOPED_TRACE(testing::Message() << kernels->isa << " columns " << columns << " round "
                                        << round << " seed " << columns + 1);
        const contract::Row got = quantise(*kernels, x);
        ASSERT_EQ(got.codes, want.codes);
        ASSERT_EQ(got.half_sums, want.half_sums);
        ASSERT_EQ(difference(got.scale, want.scale), "");
        ASSERT_EQ(difference(got.scaled_sum, want.scaled_sum), "");
      }
    }
  }
}

TEST(RmsNorm, HasTheContractsBitsAtEveryLength) {
  for (uint64_t n : sizes) {
    Random random(uint32_t(n) + 100);
    const auto x = random.floats(n), weight = random.floats(n);
    for (float eps : {1e-5f, 1e-6f, 1.0f})
      for (const cpu::Kernels* kernels : all_kernels()) {
        std::vector<float> y(n);
        kernels->rms_norm(x.data(), weight.data(), n, eps, y.data());
        ASSERT_EQ(difference(y, contract::rms_norm(x, weight, eps)), "")
            << kernels->isa << " n " << n << " eps " << eps << " seed " << n + 100;
      }
  }
}

TEST(RmsNorm, OfAConstantIsOneTimesTheWeight) {
  // x = 3, eps = 2^-40: r = 1/√(9 + 2^-40) = RN(1/3), 3·RN(1/3) = RN(1 ± 2^-25) = 1.
  const std::vector<float> x(48, 3.0f);
  std::vector<float> weight(48), y(48);
  for (size_t i = 0; i < 48; ++i) weight[i] = float(i) - 20;
  for (const cpu::Kernels* kernels : all_kernels()) {
    kernels->rms_norm(x.data(), weight.data(), 48, 0x1p-40f, y.data());
    EXPECT_EQ(difference(y, weight), "") << kernels->isa;
  }
}

TEST(Rope, HasTheContractsBitsForBothPairings) {
  for (uint32_t dim : {2u, 16u, 31u, 32u, 64u, 80u, 128u})
    for (uint32_t dimensions : {dim / 2 * 2, dim / 4 * 2})
      for (bool adjacent : {true, false}) {
        Random random(dim);
        const auto x = random.floats(dim);
        std::vector<float> table = random.floats(dimensions), y(dim);
        for (const cpu::Kernels* kernels : all_kernels()) {
          kernels->rope(x.data(), table.data(), dim, dimensions, adjacent, y.data());
          ASSERT_EQ(difference(y, contract::rope(x, table, adjacent)), "")
              << kernels->isa << " dim " << dim << " of which turn " << dimensions
              << (adjacent ? " adjacent" : " halves") << " seed " << dim;
        }
      }
}

/// Known turns: a frequency of 1 and position 1 turn the first pair by one radian.
TEST(Rope, TurnsKnownPairsByKnownAngles) {
  op::RopeParameters parameters;
  parameters.dimensions = 4;
  parameters.base = 100.0;  // frequencies 1 and 100^-0.5 = 0.1
  for (bool adjacent : {true, false}) {
    const op::RopeTable rope = op::make_rope(parameters, adjacent);
    const size_t second = adjacent ? 1 : 2, third = adjacent ? 2 : 1;
    for (uint32_t position : {0u, 1u, 7u, 1000u}) {
      std::vector<float> table(4), x = {0, 0, 0, 0, 5}, y(5);
      x[0] = 1;      // the first pair is (1, 0)
      x[third] = 0;  // the second is (0, 2)
      x[3] = 2;
      op::rope_row(rope, position, table);
      for (const cpu::Kernels* kernels : all_kernels()) {
        kernels->rope(x.data(), table.data(), 5, 4, adjacent, y.data());
        // One rounding of the table, one of the product.
        EXPECT_NEAR(y[0], std::cos(double(position)), 0x1p-23) << kernels->isa << " " << position;
        EXPECT_NEAR(y[second], std::sin(double(position)), 0x1p-23);
        EXPECT_NEAR(y[third], -2 * std::sin(0.1 * position), 0x1p-22);
        EXPECT_NEAR(y[3], 2 * std::cos(0.1 * position), 0x1p-22);
        EXPECT_EQ(y[4], 5.0f);  // lanes beyond `dimensions` pass
      }
    }
  }
}

TEST(SwiGlu, HasTheContractsBitsAtEveryLengthAndGate) {
  for (uint64_t n : sizes) {
    Random random(uint32_t(n) + 200);
    auto gate = random.floats(n), up = random.floats(n);
    for (float& g : gate)
      if (random.below(3) == 0) g = 100 * random.uniform();
    const float corners[] = {0.0f,  -0.0f,    50.0f,     -50.0f,   88.8f, -88.8f,
                             -1e4f, INFINITY, -INFINITY, 0x1p-80f, NAN};
    for (float corner : corners) gate[random.below(uint32_t(n))] = corner;
    std::vector<float> want(n), y(n);
    for (uint64_t i = 0; i < n; ++i) want[i] = contract::swiglu(gate[i], up[i]);
    for (const cpu::Kernels* kernels : all_kernels()) {
      kernels->gate(activation_silu, gate.data(), up.data(), n, y.data());
      ASSERT_EQ(difference(y, want), "") << kernels->isa << " n " << n << " seed " << n + 200;
    }
  }
}

TEST(SwiGlu, GivesKnownValues) {
  // silu(0) = 0; silu(x) → x for large x, → 0 for large −x; silu(1) = 1/(1 + 1/e).
  const std::vector<float> gate = {0, 60, -200, 1}, up = {3, 2, 3, 2};
  std::vector<float> y(4);
  for (const cpu::Kernels* kernels : all_kernels()) {
    kernels->gate(activation_silu, gate.data(), up.data(), 4, y.data());
    EXPECT_EQ(y[0], 0.0f);
    EXPECT_EQ(y[1], 120.0f) << "e^-60 is below half an ulp of 1";
    EXPECT_EQ(k_bits(y[2]), 0u) << "+0";
    EXPECT_NEAR(y[3], 2 / (1 + std::exp(-1.0)), 8 * 0x1p-24 * 2) << kernels->isa;
  }
}

TEST(Add, HasTheContractsBitsAtEveryLength) {
  for (uint64_t n : sizes) {
    Random random(uint32_t(n) + 300);
    const auto a = random.floats(n), b = random.floats(n);
    std::vector<float> want(n), y(n + 1, 7.0f);
    for (uint64_t i = 0; i < n; ++i) want[i] = a[i] + b[i];
    for (const cpu::Kernels* kernels : all_kernels()) {
      kernels->add(a.data(), b.data(), n, y.data());
      ASSERT_EQ(difference(std::span(y).subspan(0, n), want), "") << kernels->isa << " n " << n;
      ASSERT_EQ(y[n], 7.0f) << "written past the end";
    }
  }
}

TEST(ToF16, RoundsAsTheScalarConversion) {
  Random random(400);
  std::vector<float> x;
  // Every f16 (but NaN), its neighbours in f32 and the midpoints to the next.
  for (uint32_t half = 0; half < 0x7c01; half += 7) {
    const float value = k_f16_to_f32(uint16_t(half)), next = k_f16_to_f32(uint16_t(half + 1));
    for (float v : {value, std::nextafterf(value, INFINITY), (value + next) / 2,
                    std::nextafterf((value + next) / 2, INFINITY)})
      for (float sign : {1.0f, -1.0f})
        if (!std::isnan(v)) x.push_back(sign * v);
  }
  x.push_back(1e30f);
  for (const cpu::Kernels* kernels : all_kernels())
    for (uint64_t n : {x.size(), size_t(1), size_t(15), size_t(33)}) {
      std::vector<uint16_t> y(n);
      kernels->to_f16(x.data(), n, y.data());
      for (uint64_t i = 0; i < n; ++i)
        ASSERT_EQ(y[i], k_f32_to_f16(x[i])) << kernels->isa << " of " << x[i];
    }
}

}  // namespace
}  // namespace assay::tests
