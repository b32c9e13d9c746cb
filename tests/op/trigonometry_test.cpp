// Our sin, cos and pow against libm's in long double (64 significant bits, its error far below the
// limits here).
#include "op/trigonometry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace assay::op {
namespace {

double sin_cos_limit(double x) {
  return 1e-15 + 3e-17 * std::fabs(x);
}  // as trigonometry.h states

void expect_sin_cos(double x) {
  const SinCos got = sin_cos(x);
  const long double angle = x;
  EXPECT_LE(std::fabs(double(got.sin - std::sin(angle))), sin_cos_limit(x)) << "sin " << x;
  EXPECT_LE(std::fabs(double(got.cos - std::cos(angle))), sin_cos_limit(x)) << "cos " << x;
}

TEST(Trigonometry, SinCosStayInsideTheStatedErrorOverRandomAngles) {
  std::mt19937_64 random(1);
  for (double range : {1e-6, 0.8, 4.0, 100.0, 1e4, 131072.0, 0x1p24}) {
    std::uniform_real_distribution<double> angles(-range, range);
    for (int i = 0; i < 20000; ++i) expect_sin_cos(angles(random));
  }
}

TEST(Trigonometry, SinCosHoldWhereQuadrantsMeet) {
  // The angles next to n·π/4 and n·π/2, where the nearest multiple changes and where the remainder
  // is smallest.
  const long double pi = 3.14159265358979323846264338327950288L;
  for (int64_t n : {0, 1, 2, 3, 4, 5, 6, 7, 8, 1000001, 5340353, 10680706, 21361413}) {
    for (int side = -1; side <= 1; ++side) {
      double x = double(pi * static_cast<long double>(n) / 4);
      if (side) x = std::nextafter(x, side * 1e300);
      expect_sin_cos(x);
      expect_sin_cos(-x);
    }
  }
  EXPECT_EQ(sin_cos(0.0).sin, 0.0);
  EXPECT_EQ(sin_cos(0.0).cos, 1.0);
}

void expect_power(double base, double exponent, double limit) {
  const long double want =
      std::pow(static_cast<long double>(base), static_cast<long double>(exponent));
  const double relative = double((power(base, exponent) - want) / want);
  EXPECT_LE(std::fabs(relative), limit) << base << "^" << exponent;
}

TEST(Trigonometry, PowerStaysInsideTheStatedErrorOverRandomArguments) {
  std::mt19937_64 random(2);
  std::uniform_real_distribution<double> log_base(-30.0, 40.0), part(-1.0, 1.0);
  for (int i = 0; i < 100000; ++i) {
    const double base = std::exp2(log_base(random)), scale = part(random);
    expect_power(base, 999.9 * scale / std::log2(base), 5e-13);
    expect_power(base, 31.9 * scale / std::log2(base), 2e-14);
  }
}

TEST(Trigonometry, PowerOfRopeBasesIsGoodToTheLastFewBits) {
  // base^(−2i/d) lies within 2^-20 … 1 and the logarithm is far from 0: a few units of 2^-53
  // ≈ 1.1e-16
  for (double base : {10000.0, 100000.0, 500000.0, 1e6})
    for (int i = 0; i < 64; ++i) expect_power(base, -2.0 * i / 128.0, 4e-15);
  EXPECT_EQ(power(10000.0, 0.0), 1.0);
  EXPECT_EQ(power(2.0, 10.0), 1024.0);
}

}  // namespace
}  // namespace assay::op
