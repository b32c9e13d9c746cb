// The types of numbers that engines round to.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace assay::judge {

/// In the order of their precision, finest first. e4m3 is OCP's (448 at most, no infinity).
enum class NumberType : uint8_t { f64, f32, tf32, f16, bf16, e4m3, e5m2 };

std::string_view name_of(NumberType type);
std::optional<NumberType> number_type_named(std::string_view name);

/// Half an ulp, relative: 2^-24 of f32, 2^-11 of f16, 2^-8 of bf16, 2^-4, 2^-3. Of tf32 a whole one,
/// 2^-10, since some units cut to it.
double half_ulp(NumberType type);
/// The largest finite number; what rounds beyond it is infinite, or NaN in e4m3.
double largest(NumberType type);

/// The nearest number of the type, ties to even. Rounding to f64 changes nothing; to f32 and bf16, a
/// number below 2^-126 keeps the fixed step that it has there.
double round_to(double x, NumberType type);
/// What a cut of the lower bits leaves: rounding toward zero.
double cut_to(double x, NumberType type);
/// The most that rounding any number up to `size` can be off.
double rounding_error(double size, NumberType type);

/// Whether rounding is coarser than f32's.
inline bool is_coarse(NumberType type) {
  return type > NumberType::f32;
}
/// Half an ulp of a coarse type; 0 of others, whose roundings the limits of f32 have.
inline double coarse_ulp(NumberType type) {
  return is_coarse(type) ? half_ulp(type) : 0;
}
/// What rounding a number near 0 to a coarse type may be off; 0 of others.
inline double least_error(NumberType type) {
  return is_coarse(type) ? rounding_error(0, type) : 0;
}
inline NumberType coarser(NumberType a, NumberType b) {
  return half_ulp(a) >= half_ulp(b) ? a : b;
}

}  // namespace assay::judge
