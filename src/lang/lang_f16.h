// f16 to f32 by integers, for devices whose own conversion is not known to keep subnormals and NaN.
// Each of them includes it once. No guard: a test has two forms of the language in one file.

namespace assay {

/// IEEE binary16 bits to f32, exact; subnormals and NaN payloads kept (NaN made quiet).
K_FN float k_f16_to_f32(uint16_t bits) {
  const uint32_t sign = uint32_t(bits & 0x8000u) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1fu;
  const uint32_t mantissa = bits & 0x3ffu;
  if (exponent == 31u)
    return k_float(sign | 0x7f800000u | (mantissa << 13) | (mantissa ? 0x400000u : 0u));
  if (exponent != 0u) return k_float(sign | ((exponent + 112u) << 23) | (mantissa << 13));
  // Subnormal: mantissa·2^-24; the product with a power of two is exact.
  const float magnitude = float(mantissa) * 5.96046448e-08f;
  return k_float(sign | k_bits(magnitude));
}

}  // namespace assay
