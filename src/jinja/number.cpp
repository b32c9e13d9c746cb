// Python's int(text, base) and float(text).
#include <charconv>
#include <cmath>

#include "jinja/run.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

/// Without white space around and with single underscores between digits taken out; empty where
/// they stand elsewhere.
std::optional<std::string> cleaned(std::string_view text) {
  text = strip_right(strip_left(text));
  std::string out;
  const auto alphanumeric = [](char c) {
    return (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z');
  };
  for (uint64_t i = 0; i < text.size(); ++i) {
    if (text[i] != '_') {
      out += text[i];
      continue;
    }
    const bool between =
        i > 0 && i + 1 < text.size() && alphanumeric(text[i - 1]) && alphanumeric(text[i + 1]);
    if (!between) return std::nullopt;
  }
  return out;
}

}  // namespace

std::optional<int64_t> parse_integer(std::string_view text, int base) {
  const std::optional<std::string> clean = cleaned(text);
  if (!clean || clean->empty()) return std::nullopt;
  std::string_view digits = *clean;
  const bool minus = digits[0] == '-';
  if (minus || digits[0] == '+') digits.remove_prefix(1);
  if (digits.size() > 2 && digits[0] == '0') {
    const char mark = static_cast<char>(digits[1] | 32);
    const int marked = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 0;
    if (marked != 0 && (base == marked || base == 0)) {
      base = marked;
      digits.remove_prefix(2);
    }
  }
  if (base == 0) {
    if (digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != std::string_view::npos) {
      return std::nullopt;
    }
    base = 10;
  }
  uint64_t value = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), value, base);
  if (result.ec == std::errc::invalid_argument || result.ptr != digits.data() + digits.size()) {
    return std::nullopt;
  }
  const uint64_t most = uint64_t{INT64_MAX} + minus;
  if (result.ec != std::errc() || value > most) fail("an integer doesn't fit 64 bits");
  return static_cast<int64_t>(minus ? 0 - value : value);
}

std::optional<double> parse_real(std::string_view text) {
  const std::optional<std::string> clean = cleaned(text);
  if (!clean || clean->empty()) return std::nullopt;
  std::string_view digits = *clean;
  const bool minus = digits[0] == '-';
  if (minus || digits[0] == '+') digits.remove_prefix(1);
  const std::string lower = to_lower(digits);
  double value = 0;
  if (lower == "inf" || lower == "infinity") {
    value = INFINITY;
  } else if (lower == "nan") {
    value = NAN;
  } else {
    if (digits.empty() || !((digits[0] >= '0' && digits[0] <= '9') || digits[0] == '.')) {
      return std::nullopt;
    }
    const char* end = digits.data() + digits.size();
    const auto result = std::from_chars(digits.data(), end, value);
    if (result.ec == std::errc::invalid_argument || result.ptr != end) return std::nullopt;
    if (result.ec != std::errc()) value = std::strtod(std::string(digits).c_str(), nullptr);
  }
  return minus ? -value : value;
}

}  // namespace assay::jinja
