// sin, cos, exp2 and log2 in double from +, −, ×, ÷ and fma only, so that every machine makes the
// same RoPE tables: platforms' libm part in the last bit. Errors are stated; all far below half an
// ulp of f32.
#pragma once

namespace assay::op {

struct SinCos {
  double sin, cos;
};

/// sin x and cos x for |x| <= 2^24, absolute error under 1e-15 + 3e-17·|x|.
SinCos sin_cos(double x);

/// base^exponent for base > 0: relative error under 5e-13 for |exponent·log2 base| <= 1000, under
/// 2e-14 for <= 32.
double power(double base, double exponent);

/// ln x for x within 1e-30 … 1e30.
double natural_log(double x);

}  // namespace assay::op
