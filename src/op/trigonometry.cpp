#include "op/trigonometry.h"

#include <bit>
#include <cstdint>

namespace assay::op {

SinCos sin_cos(double x) {
  // x = n·π/2 + r, |r| <= π/4; π/2 in three parts of 33, 33 and 53 bits, so n·part is exact for n <
  // 2^20 and each fma leaves one rounding.
  constexpr double half_pi_high = 0x1.921fb544p+0;
  constexpr double half_pi_middle = 0x1.0b4611a4p-34;
  constexpr double half_pi_low = 0x1.3198a2e037073p-69;
  constexpr double two_over_pi = 0x1.45f306dc9c883p-1;
  constexpr double rounder = 0x1.8p52;
  const double n = (x * two_over_pi + rounder) - rounder;
  double r = __builtin_fma(-n, half_pi_high, x);
  r = __builtin_fma(-n, half_pi_middle, r);
  r = __builtin_fma(-n, half_pi_low, r);
  const double z = r * r;
  // Taylor series; the first term left out is below 1e-18 at |r| = π/4.
  double s = -1.0 / 121645100408832000.0;            // −1/19!
  s = __builtin_fma(s, z, 1.0 / 355687428096000.0);  // 1/17!
  s = __builtin_fma(s, z, -1.0 / 1307674368000.0);   // −1/15!
  s = __builtin_fma(s, z, 1.0 / 6227020800.0);       // 1/13!
  s = __builtin_fma(s, z, -1.0 / 39916800.0);        // −1/11!
  s = __builtin_fma(s, z, 1.0 / 362880.0);           // 1/9!
  s = __builtin_fma(s, z, -1.0 / 5040.0);            // −1/7!
  s = __builtin_fma(s, z, 1.0 / 120.0);              // 1/5!
  s = __builtin_fma(s, z, -1.0 / 6.0);               // −1/3!
  s = __builtin_fma(s * z, r, r);
  double c = 1.0 / 2432902008176640000.0;              // 1/20!
  c = __builtin_fma(c, z, -1.0 / 6402373705728000.0);  // −1/18!
  c = __builtin_fma(c, z, 1.0 / 20922789888000.0);     // 1/16!
  c = __builtin_fma(c, z, -1.0 / 87178291200.0);       // −1/14!
  c = __builtin_fma(c, z, 1.0 / 479001600.0);          // 1/12!
  c = __builtin_fma(c, z, -1.0 / 3628800.0);           // −1/10!
  c = __builtin_fma(c, z, 1.0 / 40320.0);              // 1/8!
  c = __builtin_fma(c, z, -1.0 / 720.0);               // −1/6!
  c = __builtin_fma(c, z, 1.0 / 24.0);                 // 1/4!
  c = __builtin_fma(c, z, -0.5);                       // −1/2!
  c = __builtin_fma(c, z, 1.0);
  switch (int64_t(n) & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

namespace {

/// log2 x for a normal x > 0, absolute error under 1e-15·(1 + |log2 x|).
double log2_of(double x) {
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = int64_t(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & 0xfffffffffffffull) | 0x3ff0000000000000ull);
  if (mantissa > 1.4142135623730951) {
    mantissa *= 0.5;
    ++exponent;
  }
  // ln m = 2·atanh(t) = 2(t + t³/3 + t⁵/5 + …), t = (m−1)/(m+1), |t| <= 0.1716: 12 terms leave
  // 1e-19.
  const double t = (mantissa - 1.0) / (mantissa + 1.0);
  const double z = t * t;
  double sum = 1.0 / 23.0;
  for (int k = 21; k >= 1; k -= 2) sum = __builtin_fma(sum, z, 1.0 / double(k));
  constexpr double two_over_ln2 = 0x1.71547652b82fep+1;
  return double(exponent) + sum * t * two_over_ln2;
}

/// 2^x for |x| <= 1000, relative error under 1e-15·(1 + |x|).
double exp2_of(double x) {
  constexpr double rounder = 0x1.8p52;
  const double n = (x + rounder) - rounder;
  const double r = (x - n) * 0x1.62e42fefa39efp-1;  // ln 2; |r| <= 0.3466
  double sum = 1.0;
  for (int k = 16; k >= 1; --k) sum = __builtin_fma(sum * r, 1.0 / double(k), 1.0);  // Σ r^k/k!
  return sum * std::bit_cast<double>(uint64_t(int64_t(n) + 1023) << 52);
}

}  // namespace

double power(double base, double exponent) {
  return exp2_of(exponent * log2_of(base));
}

double natural_log(double x) {
  constexpr double ln2 = 0x1.62e42fefa39efp-1;
  // ln x by Newton on e^y = x from our own `power`, so that no libm is asked; x is within 1e-30 …
  // 1e30 here.
  double y = 0.0;
  for (double rest = x; rest >= 2.0; rest *= 0.5) y += ln2;
  for (double rest = x; rest <= 0.5; rest *= 2.0) y -= ln2;
  constexpr double e = 0x1.5bf0a8b145769p+1;
  for (int i = 0; i < 40; ++i) {
    const double value = power(e, y);
    y += 2.0 * (x - value) / (x + value);  // Halley: cubic convergence; 40 is far more than enough
  }
  return y;
}

}  // namespace assay::op
