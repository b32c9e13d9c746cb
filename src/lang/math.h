// The functions of the contract assay/1, one order of operations on every device (docs/numbers.md).
#pragma once

#include "lang/lang.h"

namespace assay {

/// Values of an operation's output below this magnitude become +0, so that no f32 denormal can
/// arise downstream (docs/numbers.md, "No denormals").
K_TABLE float k_floor_limit = 2.11758237e-22f;  // 0x1p-72

/// x, or +0 where |x| < 2^-72. NaN passes.
K_FN float k_floor_tiny(float x) {
  return (x > -k_floor_limit && x < k_floor_limit) ? 0.0f : x;
}

/// Sums with fine scales (docs/numbers.md) below this magnitude become +0.
K_TABLE float k_flush_limit = 7.88860905e-31f;  // 0x1p-100

/// x, or +0 where |x| < 2^-100. NaN passes.
K_FN float k_flush(float x) {
  return (x > -k_flush_limit && x < k_flush_limit) ? 0.0f : x;
}

/// 1/√(sum/n + eps), by which RMSNorm multiplies a row of n values whose squares add up to `sum`.
/// NaN where the sum is beyond f32: 1/infinity would make zeros of the row.
K_FN float k_inverse_rms(float sum, float n, float eps) {
  const float r = k_div(1.0f, k_sqrt(k_div(sum, n) + eps));
  return sum < k_float(0x7f800000u) ? r : k_float(0x7fc00000u);
}

// e^r = 1 + r + r²·(c2 + c3·r + c4·r² + c5·r³ + c6·r⁴) on |r| <= ln2/2: least maximum relative
// error with the first two coefficients held at 1 (so that e^0 = 1), the others rounded to f32 one
// after another: 2^-28.2.
K_TABLE float k_exp_c2 = 0.49999994f;      // 0x1.fffffcp-2
K_TABLE float k_exp_c3 = 0.166665211f;     // 0x1.555492p-3
K_TABLE float k_exp_c4 = 0.0416682549f;    // 0x1.5558aap-5
K_TABLE float k_exp_c5 = 0.00836866256f;   // 0x1.12396ep-7
K_TABLE float k_exp_c6 = 0.00138214673f;   // 0x1.6a524cp-10
K_TABLE float k_exp_log2_e = 1.44269502f;  // 0x1.715476p+0
K_TABLE float k_exp_ln2_high =
    0.693145752f;  // 0x1.62e4p-1: 15 bits: n·high is exact for |n| <= 128
K_TABLE float k_exp_ln2_low = 1.42860677e-06f;  // 0x1.7f7d1cp-20: ln 2 − high, rounded
K_TABLE float k_exp_low = -50.0f;               // below: 0
K_TABLE float k_exp_high = 88.72283f;           // above: infinity
K_TABLE float k_exp_round = 12582912.0f;  // 0x1.8p+23: adding it rounds to an integer, ties to even

/// e^x: +0 below -50, infinity above 88.72283, NaN for NaN; else 2^n·p(r), n = rint(x·log2 e), r =
/// x − n·ln 2. Relative error under 2^-23.6 (2^-23.644 measured over every f32 of [-50, 88.72283],
/// worst at 5.836); e^0 = 1; never a denormal. Not strictly monotone: neighbours may swap by one
/// ulp, about once in 10^6.
K_FN float k_exp(float x) {
  // No branch, so that neighbouring lanes stay together: what is out of range, or NaN, is computed
  // as the lower end and replaced.
  const float inside = x >= k_exp_low ? (x <= k_exp_high ? x : k_exp_high) : k_exp_low;
  const float n = k_fma(inside, k_exp_log2_e, k_exp_round) - k_exp_round;
  float r = k_fma(n, -k_exp_ln2_high, inside);
  r = k_fma(n, -k_exp_ln2_low, r);
  float p = k_exp_c6;
  p = k_fma(p, r, k_exp_c5);
  p = k_fma(p, r, k_exp_c4);
  p = k_fma(p, r, k_exp_c3);
  p = k_fma(p, r, k_exp_c2);
  p = k_fma(p, r, 1.0f);
  p = k_fma(p, r, 1.0f);
  // n can be 128 (x just under 88.72): scale in two steps, each an exact product with a power of
  // two.
  const int32_t whole = int32_t(n);
  const int32_t first = whole >> 1;
  const int32_t second = whole - first;
  const float e =
      (p * k_float(uint32_t(first + 127) << 23)) * k_float(uint32_t(second + 127) << 23);
  const float low = x < k_exp_low ? 0.0f : e;
  const float both = x > k_exp_high ? k_float(0x7f800000u) : low;
  return x == x ? both : k_float(0x7fc00000u);
}

}  // namespace assay
