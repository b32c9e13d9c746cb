// Filters of numbers and of values as such: default, int, float, tojson.
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

Value filter_int(Call& call) {
  call.bind({"default", "base"});
  const Value otherwise = call.value(0, Value{int64_t{0}});
  const int64_t base = call.integer(1, 10);
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (call.self.is_big()) return call.self;
  if (call.self.is_integer()) return Value{call.self.integer()};
  if (call.self.is<double>()) {
    if (std::isnan(call.self.as<double>())) return otherwise;
    return make_integer(call.self.as<double>());
  }
  if (!call.self.is_string()) return otherwise;
  if (base == 0 || (base >= 2 && base <= 36)) {
    const auto whole = parse_integer(call.self.text(), static_cast<int>(base));
    if (whole) return Value{*whole};
  }
  const std::optional<double> real = parse_real(call.self.text());
  if (!real || !std::isfinite(*real)) return otherwise;
  return make_integer(*real);
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

std::optional<Text> indention(Call& call, const Value& indent) {
  if (indent.is_none()) return std::nullopt;
  if (indent.is_string()) return indent.string();
  check_fits(indent);
  if (!indent.is_integer()) fail("'tojson' needs an integer or a string as indent");
  const uint64_t width = static_cast<uint64_t>(std::max<int64_t>(indent.integer(), 0));
  call.run.charge_bytes(width);
  return Text(std::string(width, ' '));
}

/// json.dumps as chat templates are given it: no HTML escapes, Unicode as it is.
Value filter_tojson(Call& call) {
  call.bind({"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = call.truth(0, false);
  if (call.has(1)) style.indent = indention(call, call.at(1));
  if (style.indent) style.item_separator = Text(",");
  if (call.has(2) && !call.at(2).is_none()) {
    const std::vector<Value> parts = iterate(call.run, call.at(2));
    if (parts.size() != 2 || !parts[0].is_string() || !parts[1].is_string()) {
      fail("'tojson' needs two strings as separators");
    }
    style.item_separator = parts[0].string();
    style.key_separator = parts[1].string();
  }
  style.sort_keys = call.truth(3, false);
  Text out;
  append_json(call.run, out, call.self, style);
  return call.run.string(std::move(out));
}

}  // namespace

std::span<const Named> value_filters() {
  static constexpr Named filters[] = {
      {"d", filter_default}, {"default", filter_default}, {"float", filter_float},
      {"int", filter_int},   {"tojson", filter_tojson},
  };
  return filters;
}

}  // namespace assay::jinja
