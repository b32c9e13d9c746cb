// The words and functions of src/lang/lang.h and math.h on the host.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "lang/activation.h"

namespace assay {
namespace {

constexpr float infinity = std::numeric_limits<float>::infinity();

/// The value of binary16 bits from its definition, by arithmetic alone: an oracle without bit
/// tricks.
double half_value(uint16_t bits) {
  const double sign = bits & 0x8000 ? -1.0 : 1.0;
  const int exponent = (bits >> 10) & 31, mantissa = bits & 1023;
  if (exponent == 31) return mantissa ? std::nan("") : sign * infinity;
  return sign * (exponent ? std::ldexp(1024 + mantissa, exponent - 25) : std::ldexp(mantissa, -24));
}

TEST(Half, ToFloatIsExactForAll65536) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const double expected = half_value(uint16_t(bits));
    const float found = k_f16_to_f32(uint16_t(bits));
    if (expected != expected) {
      ASSERT_NE(found, found) << bits;
      ASSERT_TRUE(k_bits(found) & 0x400000u) << "a signalling NaN must become quiet: " << bits;
      continue;
    }
    ASSERT_EQ(k_bits(found), k_bits(float(expected))) << bits;  // the sign of zero too
  }
}

TEST(Half, RoundTripsForAll65536) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const bool is_nan = (bits & 0x7fff) > 0x7c00;
    ASSERT_EQ(k_f32_to_f16(k_f16_to_f32(uint16_t(bits))), is_nan ? bits | 0x200 : bits);
  }
}

/// The nearest half by search: the candidate whose distance is least, ties to the even pattern. |x|
/// finite.
uint16_t nearest_half(float x) {
  const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
  const double magnitude = std::fabs(double(x));
  if (magnitude >= 65520.0) return sign | 0x7c00;  // half way between 65504 and the next step 65536
  uint32_t low = 0, high = 0x7c00;  // patterns of positive halves are in order of value
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (middle < 0x7c00 && half_value(uint16_t(middle)) <= magnitude ? low : high) = middle;
  }
  if (low == 0x7bff) return sign | 0x7bff;
  const double below = magnitude - half_value(uint16_t(low));
  const double above = half_value(uint16_t(low + 1)) - magnitude;
  return uint16_t(sign | (below < above || (below == above && low % 2 == 0) ? low : low + 1));
}

void expect_nearest(float x) {
  ASSERT_EQ(k_f32_to_f16(x), nearest_half(x)) << std::hexfloat << x;
}

TEST(Half, FromFloatRoundsToNearestEvenAtEveryBoundary) {
  // Each half, the midpoint to the next, and the f32 neighbours of both, of either sign.
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const double here = half_value(uint16_t(bits));
    const double next = bits == 0x7bff ? 65536.0 : half_value(uint16_t(bits + 1));
    for (const float centre : {float(here), float((here + next) / 2)})  // both exact in f32
      for (const float x :
           {centre, std::nextafterf(centre, infinity), std::nextafterf(centre, -infinity)}) {
        expect_nearest(x);
        expect_nearest(-x);
      }
  }
}

TEST(Half, FromFloatRoundsToNearestEvenAtRandom) {
  std::mt19937 random(7);
  for (int i = 0; i < 1'000'000; ++i) {
    // Exponents of f16's range and a little beyond: 2^-30 … 2^18.
    const uint32_t exponent = 97 + random() % 49;
    expect_nearest(k_float((random() & 0x807fffffu) | exponent << 23));
  }
}

TEST(Half, FromFloatSpecialValues) {
  EXPECT_EQ(k_f32_to_f16(infinity), 0x7c00);
  EXPECT_EQ(k_f32_to_f16(-infinity), 0xfc00);
  EXPECT_EQ(k_f32_to_f16(65519.996f), 0x7bff);
  EXPECT_EQ(k_f32_to_f16(65520.0f), 0x7c00);
  EXPECT_EQ(k_f32_to_f16(std::numeric_limits<float>::max()), 0x7c00);
  EXPECT_EQ(k_f32_to_f16(0x1p-25f), 0x0000);  // a tie, to even
  EXPECT_EQ(k_f32_to_f16(std::nextafterf(0x1p-25f, 1.0f)), 0x0001);
  EXPECT_EQ(k_f32_to_f16(-0.0f), 0x8000);
  EXPECT_EQ(k_f32_to_f16(0x1p-149f), 0x0000);
  for (uint32_t nan : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0x7fffffffu}) {
    const uint16_t half = k_f32_to_f16(k_float(nan));
    EXPECT_GT(half & 0x7fff, 0x7dff) << "quiet NaN from " << nan;
  }
}

TEST(Words, FmaRoundsOnce) {
  // (1 + 2^-12)² = 1 + 2^-11 + 2^-24: the product rounded first would lose 2^-24.
  const float a = 1.0f + 0x1p-12f;
  EXPECT_EQ(k_fma(a, a, -(1.0f + 0x1p-11f)), 0x1p-24f);
  const uint8_t bytes[] = {0x34, 0x12};
  EXPECT_EQ(k_load_u16(bytes), 0x1234);
}

TEST(Words, FloorTinyKeepsAllButTheTiny) {
  EXPECT_EQ(k_floor_tiny(0x1p-72f), 0x1p-72f);
  EXPECT_EQ(k_floor_tiny(-0x1p-72f), -0x1p-72f);
  EXPECT_EQ(k_bits(k_floor_tiny(std::nextafterf(0x1p-72f, 0.0f))), 0u);
  EXPECT_EQ(k_bits(k_floor_tiny(-0.0f)), 0u);
  EXPECT_EQ(k_floor_tiny(-infinity), -infinity);
  EXPECT_NE(k_floor_tiny(std::nanf("")), k_floor_tiny(std::nanf("")));
}

TEST(Words, FlushKeepsAllButTheSmall) {
  EXPECT_EQ(k_flush(0x1p-100f), 0x1p-100f);
  EXPECT_EQ(k_flush(-0x1p-100f), -0x1p-100f);
  EXPECT_EQ(k_bits(k_flush(std::nextafterf(-0x1p-100f, 0.0f))), 0u);
  EXPECT_EQ(k_bits(k_flush(-0.0f)), 0u);
  EXPECT_EQ(k_flush(infinity), infinity);
  EXPECT_NE(k_flush(std::nanf("")), k_flush(std::nanf("")));
}

TEST(Words, PickBytesTakesTheLowThreeBitsOfEach) {
  EXPECT_EQ(k_pick_bytes(0x03020100u, 0x44332211u, 0x88776655u), 0x44332211u);
  EXPECT_EQ(k_pick_bytes(0x07060504u, 0x44332211u, 0x88776655u), 0x88776655u);
  EXPECT_EQ(k_pick_bytes(0x04070003u, 0x44332211u, 0x88776655u), 0x55881144u);
  EXPECT_EQ(k_pick_bytes(0xfcf7f80bu, 0x44332211u, 0x88776655u), 0x55881144u);
}

/// Calls visit(x) for every 4099th f32 from -50 up to 88.72283 (4099 is prime: all low bits occur).
template <class Visit>
void sweep(Visit visit) {
  for (int64_t bits = k_bits(50.0f); bits >= 0; bits -= 4099) visit(-k_float(uint32_t(bits)));
  for (int64_t bits = 0; bits <= k_bits(88.72283f); bits += 4099) visit(k_float(uint32_t(bits)));
}

TEST(Exp, RelativeErrorStaysUnderTheStatedBound) {
  // math.h states 2^-23.6; the worst over all f32 was measured as 2^-23.644.
  const double limit = std::exp2(-23.6);
  double worst = 0;
  uint64_t count = 0;
  sweep([&](float x) {
    const double truth = std::exp(double(x));
    const double error = std::fabs(k_exp(x) - truth) / truth;
    worst = !(error <= worst) ? error : worst;
    ++count;
  });
  EXPECT_GT(count, 500'000u);
  EXPECT_TRUE(worst <= limit) << "2^" << std::log2(worst);
  EXPECT_GT(worst, std::exp2(-24.5))
      << "less than a rounding of f32: the sweep has lost its points";
  // The stated worst place, so that a change of the polynomial is seen.
  const double truth = std::exp(double(0x1.758facp+2f));
  EXPECT_TRUE(std::fabs(k_exp(0x1.758facp+2f) - truth) / truth <= limit);
}

TEST(Exp, IsMonotoneButForOneUlp) {
  float before = 0;
  sweep([&](float x) {
    const float here = k_exp(x);
    ASSERT_GE(int64_t(k_bits(here)), int64_t(k_bits(before)) - 1) << std::hexfloat << x;
    before = here;
  });
}

TEST(Exp, ExactAndLimitingValues) {
  EXPECT_EQ(k_exp(0.0f), 1.0f);
  EXPECT_EQ(k_exp(-0.0f), 1.0f);
  EXPECT_EQ(k_exp(0x1p-149f), 1.0f);
  EXPECT_GT(k_exp(-50.0f), 0x1p-73f);
  EXPECT_EQ(k_bits(k_exp(std::nextafterf(-50.0f, -infinity))), 0u);
  EXPECT_EQ(k_bits(k_exp(-infinity)), 0u);
  EXPECT_EQ(k_bits(k_exp(-1e30f)), 0u);
  EXPECT_TRUE(std::isfinite(k_exp(88.72283f)));  // the largest f32 whose e^x is finite in f32
  EXPECT_EQ(k_exp(std::nextafterf(88.72283f, infinity)), infinity);
  EXPECT_EQ(k_exp(infinity), infinity);
  EXPECT_EQ(k_bits(k_exp(std::nanf(""))), 0x7fc00000u);
  EXPECT_EQ(k_bits(k_exp(-std::nanf(""))), 0x7fc00000u);
}

TEST(Exp, NeverGivesADenormal) {
  sweep([](float x) { ASSERT_GE(k_exp(x), 0x1p-73f) << x; });
  for (float x = -50.0f; x > -110.0f; x -= 0.01f) {
    const float y = k_exp(x);
    ASSERT_TRUE(y == 0.0f || y >= 0x1p-73f) << x;
  }
}

TEST(Silu, RelativeErrorStaysUnderTheStatedBound) {
  // exp 2^-23.6, the sum 2^-24, the quotient 2^-24: (1.32 + 1 + 1)·2^-24 = 2^-22.27.
  double worst = 0;
  for (double at = -88.7; at < 88.7; at += 1.7e-4) {
    const float x = float(at);
    if (x == 0) continue;
    const double truth = double(x) / (1.0 + std::exp(-double(x)));
    const double error = std::fabs((k_silu(x) - truth) / truth);
    worst = !(error <= worst) ? error : worst;
  }
  EXPECT_TRUE(worst <= std::exp2(-22.2)) << "2^" << std::log2(worst);
}

TEST(Silu, LimitingValues) {
  EXPECT_EQ(k_silu(0.0f), 0.0f);
  EXPECT_EQ(k_silu(100.0f), 100.0f);
  EXPECT_EQ(k_silu(infinity), infinity);
  EXPECT_EQ(k_silu(-100.0f), 0.0f);
  EXPECT_NE(k_silu(std::nanf("")), k_silu(std::nanf("")));
  EXPECT_NE(k_silu(-infinity), k_silu(-infinity));
}

}  // namespace
}  // namespace assay
