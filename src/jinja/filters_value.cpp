// Filters of numbers and of values as such: default, int, round, tojson, attr, …
#include <algorithm>
#include <cmath>

#include "jinja/registry.h"

namespace assay::jinja {

namespace {

Value filter_default(Call& call) {
  call.bind({"default_value", "boolean"});
  const bool replaced = call.self.is_undefined() || (call.truth(1, false) && !is_true(call.self));
  return replaced ? call.value(0, make_string("")) : call.self;
}

Value filter_attr(Call& call) {
  call.bind({"name"}, 1);
  const Value object = call.self;
  if (object.is_undefined()) fail_undefined(object);
  const std::string name = call.run.str(call.at(0));
  // Attributes only, not the keys of a dict.
  Value found = get_attribute(call.run, object, name);
  const bool key = object.is_dict() && !find_method(object, name);
  return key ? undefined("'dict object' has no attribute '" + name + "'") : found;
}

Value filter_abs(Call& call) {
  call.bind({});
  if (call.self.is<double>()) return Value{std::fabs(call.self.as<double>())};
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is_integer()) fail("'abs' needs a number");
  return call.self.integer() < 0 ? negative(call.self) : Value{call.self.integer()};
}

int64_t truncated(double value) {
  if (std::isnan(value) || !(value >= -9223372036854775808.0 && value < 9223372036854775808.0)) {
    fail("a number doesn't fit 64 bits");
  }
  return static_cast<int64_t>(value);
}

Value filter_int(Call& call) {
  call.bind({"default", "base"});
  const Value otherwise = call.value(0, Value{int64_t{0}});
  const int64_t base = call.integer(1, 10);
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (call.self.is_integer()) return Value{call.self.integer()};
  if (call.self.is<double>()) {
    if (std::isnan(call.self.as<double>())) return otherwise;
    return Value{truncated(call.self.as<double>())};
  }
  if (!call.self.is_string()) return otherwise;
  if (base == 0 || (base >= 2 && base <= 36)) {
    const auto whole = parse_integer(call.self.text(), static_cast<int>(base));
    if (whole) return Value{*whole};
  }
  const std::optional<double> real = parse_real(call.self.text());
  if (!real || !std::isfinite(*real)) return otherwise;
  return Value{truncated(*real)};
}

Value filter_float(Call& call) {
  call.bind({"default"});
  const Value otherwise = call.value(0, Value{0.0});
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (call.self.is_number()) return Value{call.self.real()};
  if (!call.self.is_string()) return otherwise;
  const std::optional<double> real = parse_real(call.self.text());
  return real ? Value{*real} : otherwise;
}

/// Python's round(integer, places): half to even among multiples of 10^-places.
int64_t rounded_integer(int64_t value, int64_t places) {
  if (places >= 0) return value;
  if (places < -19) return 0;
  __int128 unit = 1;
  for (int64_t i = 0; i < -places; ++i) unit *= 10;
  const __int128 wide = value;
  __int128 quotient = wide / unit, rest = wide % unit;
  if (rest < 0) rest += unit, --quotient;
  if (rest * 2 > unit || (rest * 2 == unit && quotient % 2 != 0)) ++quotient;
  const __int128 result = quotient * unit;
  if (result > INT64_MAX || result < INT64_MIN) fail("an integer doesn't fit 64 bits");
  return static_cast<int64_t>(result);
}

/// Python's round(real, places) rounds the exact decimal value, as printf does.
double rounded_real(double value, int64_t places) {
  if (!std::isfinite(value) || places > 323) return value;
  if (places < -308) return std::copysign(0.0, value);
  if (places < 0) {
    const double unit = std::pow(10.0, static_cast<double>(-places));
    return std::nearbyint(value / unit) * unit;
  }
  char buffer[700];
  std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(places), value);
  return std::strtod(buffer, nullptr);
}

Value filter_round(Call& call) {
  call.bind({"precision", "method"});
  const int64_t places = call.integer(0, 0);
  const std::string method = call.text(1, "common");
  if (method != "common" && method != "ceil" && method != "floor") {
    fail("'round' knows the methods common, ceil and floor");
  }
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is_number()) fail("'round' needs a number");
  if (method == "common") {
    if (call.self.is_integer()) return Value{rounded_integer(call.self.integer(), places)};
    return Value{rounded_real(call.self.as<double>(), places)};
  }
  const double unit = std::pow(10.0, static_cast<double>(places));
  const double scaled = call.self.real() * unit;
  if (!std::isfinite(scaled)) fail("'round' needs a finite number");
  return Value{(method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit};
}

Value filter_filesizeformat(Call& call) {
  call.bind({"binary"});
  static constexpr const char* decimal[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
  static constexpr const char* powers[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
  const bool binary = call.truth(0, false);
  const double base = binary ? 1024 : 1000;
  double bytes = 0;
  if (call.self.is_number()) {
    bytes = call.self.real();
  } else if (call.self.is_string()) {
    const std::optional<double> real = parse_real(call.self.text());
    if (!real) fail("'filesizeformat' needs a number");
    bytes = *real;
  } else {
    fail("'filesizeformat' needs a number");
  }
  if (bytes == 1) return make_string("1 Byte");
  if (bytes < base) return make_string(std::to_string(truncated(bytes)) + " Bytes");
  double unit = base * base;
  int i = 0;
  for (; i < 7 && !(bytes < unit); ++i) unit *= base;
  char buffer[400];
  std::snprintf(buffer, sizeof buffer, "%.1f %s", base * bytes / unit,
                (binary ? powers : decimal)[i]);
  return make_string(buffer);
}

std::optional<std::string> indention(Call& call, const Value& indent) {
  if (indent.is_none()) return std::nullopt;
  if (indent.is_string()) return indent.text();
  if (!indent.is_integer()) fail("'tojson' needs an integer or a string as indent");
  const uint64_t width = static_cast<uint64_t>(std::max<int64_t>(indent.integer(), 0));
  call.run.charge_bytes(width);
  return std::string(width, ' ');
}

/// json.dumps as chat templates are given it: no HTML escapes, Unicode as it is.
Value filter_tojson(Call& call) {
  call.bind({"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = call.truth(0, false);
  if (call.has(1)) style.indent = indention(call, call.at(1));
  if (style.indent) style.item_separator = ",";
  if (call.has(2) && !call.at(2).is_none()) {
    const std::vector<Value> parts = iterate(call.run, call.at(2));
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      fail("'tojson' needs two strings as separators");
    }
    style.item_separator = parts[0].text();
    style.key_separator = parts[1].text();
  }
  style.sort_keys = call.truth(3, false);
  std::string out;
  append_json(call.run, out, call.self, style);
  return call.run.string(std::move(out));
}

}  // namespace

std::span<const Named> value_filters() {
  static constexpr Named filters[] = {
      {"abs", filter_abs},
      {"attr", filter_attr},
      {"d", filter_default},
      {"default", filter_default},
      {"filesizeformat", filter_filesizeformat},
      {"float", filter_float},
      {"int", filter_int},
      {"round", filter_round},
      {"tojson", filter_tojson},
  };
  return filters;
}

}  // namespace assay::jinja
