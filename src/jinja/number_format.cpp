#include "jinja/number_format.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

constexpr int64_t longest_precision = 1000;

std::string sign_of(bool negative, char style) {
  if (negative) return "-";
  return style == '+' ? "+" : style == ' ' ? " " : "";
}

/// `digits` with the separator between groups, counted from the right end of the whole part.
std::string grouped(const std::string& digits, char separator, uint64_t group) {
  const uint64_t whole =
      std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  std::string out;
  for (uint64_t i = 0; i < whole; ++i) {
    if (i > 0 && (whole - i) % group == 0) out += separator;
    out += digits[i];
  }
  return out + digits.substr(whole);
}

std::string printed(double value, char type, int64_t precision, bool alternate) {
  const char format[] = {'%',
                         alternate ? '#' : '.',
                         alternate ? '.' : '*',
                         alternate ? '*' : type,
                         alternate ? type : '\0',
                         '\0'};
  char buffer[1400];
  const int length =
      std::snprintf(buffer, sizeof buffer, format, static_cast<int>(precision), value);
  return std::string(buffer, static_cast<uint64_t>(std::clamp<int>(length, 0, sizeof buffer - 1)));
}

std::string magnitude_text(double value, const NumberStyle& style) {
  const bool upper = style.type == 'E' || style.type == 'F' || style.type == 'G';
  if (!std::isfinite(value)) {
    const std::string word = std::isnan(value) ? (upper ? "NAN" : "nan") : (upper ? "INF" : "inf");
    return style.type == '%' ? word + "%" : word;
  }
  if (style.type == 0 && style.precision < 0) return float_repr(value);
  const int64_t precision = style.precision < 0 ? 6 : style.precision;
  if (style.type == '%') return printed(value * 100, 'f', precision, style.alternate) + "%";
  if (style.type != 0) {
    const char type = style.type == 'n' ? 'g' : style.type;
    return printed(value, type, precision, style.alternate);
  }
  std::string text = printed(value, 'g', precision, style.alternate);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

}  // namespace

int64_t checked_width(Run& run, std::string_view digits) {
  int64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (result.ec != std::errc() || static_cast<uint64_t>(value) > run.limits.value_bytes) {
    fail("a width of " + std::string(digits.substr(0, 30)) + " is too large");
  }
  return value;
}

Text filled(Run& run, const std::string& sign, const Text& text, const NumberStyle& style,
            char own_align) {
  Text out;
  const uint64_t length = sign.size() + count_code_points(text.bytes);
  if (length >= style.width) {
    out += sign;
    return out += text;
  }
  const uint64_t missing = style.width - length;
  run.charge_bytes(missing * style.fill.size());
  const char align = style.align ? style.align : own_align;
  const uint64_t before = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
  std::string left, right;
  for (uint64_t i = 0; i < before; ++i) left += style.fill;
  for (uint64_t i = before; i < missing; ++i) right += style.fill;
  out += align == '=' ? sign + left : left + sign;
  out += text;
  return out += right;
}

Text integer_text(Run& run, const Value& value, const NumberStyle& style) {
  const char type = style.type;
  const int base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  if (base != 10) check_fits(value);
  std::string digits = value.digits();
  const bool minus = digits[0] == '-';
  if (base == 10) {
    digits.erase(0, minus);
  } else {
    const uint64_t magnitude =
        minus ? 0 - static_cast<uint64_t>(value.integer()) : static_cast<uint64_t>(value.integer());
    char buffer[80];
    const auto end = std::to_chars(buffer, buffer + sizeof buffer, magnitude, base);
    digits.assign(buffer, static_cast<uint64_t>(end.ptr - buffer));
  }
  std::string sign = sign_of(minus, style.sign);
  if (style.grouping) digits = grouped(digits, style.grouping, base == 10 ? 3 : 4);
  if (style.alternate && base != 10) sign += std::string("0") + type;
  if (type == 'X')
    std::transform(digits.begin(), digits.end(), digits.begin(),
                   [](char c) { return c >= 'a' && c <= 'f' ? static_cast<char>(c - 32) : c; });
  if (style.precision > longest_precision) fail("a precision is too large");
  while (static_cast<int64_t>(digits.size()) < style.precision) digits.insert(0, "0");
  return filled(run, sign, Text(digits), style, '>');
}

Text real_text(Run& run, double value, const NumberStyle& style) {
  if (style.precision > longest_precision) fail("a precision is too large");
  std::string digits = magnitude_text(std::fabs(value), style);
  if (style.grouping) digits = grouped(digits, style.grouping, 3);
  const bool negative = std::signbit(value) && !std::isnan(value);
  return filled(run, sign_of(negative, style.sign), Text(digits), style, '>');
}

}  // namespace assay::jinja
