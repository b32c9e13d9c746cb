#include "judge/number_type.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace assay::judge {

namespace {

/// What a type's numbers are made of: the bits of a significand, its leading one among them, the
/// exponent of the smallest normal number, the largest number.
struct Format {
  std::string_view name;
  int bits, lowest;
  double largest;
};
constexpr std::array<Format, 7> formats = {{{"f64", 53, -1022, std::numeric_limits<double>::max()},
                                            {"f32", 24, -126, 0x1.fffffep127},
                                            {"tf32", 11, -126, 0x1.ffcp127},
                                            {"f16", 11, -14, 65504},
                                            {"bf16", 8, -126, 0x1.fep127},
                                            {"e4m3", 4, -6, 448},
                                            {"e5m2", 3, -14, 57344}}};
const Format& of(NumberType type) {
  return formats[size_t(type)];
}

/// The distance of neighbours at x.
double spacing(double x, const Format& format) {
  const int exponent = x == 0 ? format.lowest : std::max(std::ilogb(x), format.lowest);
  return std::ldexp(1.0, exponent - (format.bits - 1));
}

}  // namespace

std::string_view name_of(NumberType type) {
  return of(type).name;
}

std::optional<NumberType> number_type_named(std::string_view name) {
  for (size_t i = 0; i < formats.size(); ++i)
    if (formats[i].name == name) return NumberType(i);
  return std::nullopt;
}

double half_ulp(NumberType type) {
  return std::ldexp(1.0, (type == NumberType::tf32 ? 1 : 0) - of(type).bits);
}

double largest(NumberType type) {
  return of(type).largest;
}

double round_to(double x, NumberType type) {
  if (type == NumberType::f64 || !std::isfinite(x) || x == 0) return x;
  const Format& format = of(type);
  const double step = spacing(x, format);
  const double rounded = std::nearbyint(x / step) * step;  // both exact: a power of two
  if (std::fabs(rounded) <= format.largest) return rounded;
  return type == NumberType::e4m3 ? std::numeric_limits<double>::quiet_NaN()
                                  : std::copysign(std::numeric_limits<double>::infinity(), x);
}

double cut_to(double x, NumberType type) {
  if (type == NumberType::f64 || !std::isfinite(x) || x == 0) return x;
  const double step = spacing(x, of(type));
  return std::trunc(x / step) * step;
}

double rounding_error(double size, NumberType type) {
  if (type == NumberType::f64) return 0;
  return std::isfinite(size) ? spacing(size, of(type)) / 2 : 0;
}

}  // namespace assay::judge
