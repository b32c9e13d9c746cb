// Python's arithmetic. Integers have 64 bits; where Python's would grow, it is an error.
#include <cmath>

#include "jinja/run.h"

namespace assay::jinja {

namespace {

[[noreturn]] void overflow() {
  fail("an integer doesn't fit 64 bits");
}

int64_t integer_power(int64_t base, int64_t exponent) {
  int64_t result = 1;
  while (true) {
    if ((exponent & 1) && __builtin_mul_overflow(result, base, &result)) overflow();
    exponent >>= 1;
    if (exponent == 0) return result;
    if (__builtin_mul_overflow(base, base, &base)) overflow();
  }
}

int64_t floor_divide(int64_t a, int64_t b) {
  if (b == -1) {
    int64_t result = 0;
    if (__builtin_sub_overflow(int64_t{0}, a, &result)) overflow();
    return result;
  }
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

int64_t floor_modulo(int64_t a, int64_t b) {
  if (b == -1) return 0;
  const int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

double real_modulo(double a, double b) {
  const double rest = std::fmod(a, b);
  if (rest == 0) return std::copysign(0.0, b);
  return (rest < 0) != (b < 0) ? rest + b : rest;
}

/// Python's float //: the quotient of what is left once the rest is taken off, rounded to whole.
double real_floor_divide(double a, double b) {
  const double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) quotient -= 1;
  if (quotient == 0) return std::copysign(0.0, a / b);
  const double whole = std::floor(quotient);
  return quotient - whole > 0.5 ? whole + 1 : whole;
}

Value real_power(double a, double b) {
  if (a == 0 && b < 0) fail("division by zero");
  const double result = std::pow(a, b);
  if (std::isnan(result) && !std::isnan(a) && !std::isnan(b))
    fail("the power is not a real number");
  if (std::isinf(result) && std::isfinite(a) && std::isfinite(b)) fail("the power is too large");
  return Value{result};
}

Value integers(Operator meaning, int64_t a, int64_t b) {
  int64_t result = 0;
  switch (meaning) {
    case Operator::add:
      if (__builtin_add_overflow(a, b, &result)) overflow();
      return Value{result};
    case Operator::subtract:
      if (__builtin_sub_overflow(a, b, &result)) overflow();
      return Value{result};
    case Operator::multiply:
      if (__builtin_mul_overflow(a, b, &result)) overflow();
      return Value{result};
    case Operator::divide:
      return Value{static_cast<double>(a) / static_cast<double>(b)};
    case Operator::floor_divide:
      return Value{floor_divide(a, b)};
    case Operator::modulo:
      return Value{floor_modulo(a, b)};
    default:
      break;
  }
  if (b < 0) return real_power(static_cast<double>(a), static_cast<double>(b));
  return Value{integer_power(a, b)};
}

Value reals(Operator meaning, double a, double b) {
  switch (meaning) {
    case Operator::add:
      return Value{a + b};
    case Operator::subtract:
      return Value{a - b};
    case Operator::multiply:
      return Value{a * b};
    case Operator::divide:
      return Value{a / b};
    case Operator::floor_divide:
      return Value{real_floor_divide(a, b)};
    case Operator::modulo:
      return Value{real_modulo(a, b)};
    default:
      return real_power(a, b);
  }
}

Value numbers(Operator meaning, const Value& a, const Value& b) {
  check_fits(a);
  check_fits(b);
  const bool divides = meaning == Operator::divide || meaning == Operator::floor_divide ||
                       meaning == Operator::modulo;
  if (divides && b.real() == 0) fail("division by zero");
  if (a.is_integer() && b.is_integer()) return integers(meaning, a.integer(), b.integer());
  return reals(meaning, a.real(), b.real());
}

bool is_list_or_tuple(const Value& value) {
  return value.is_sequence() && value.sequence().kind <= SequenceKind::tuple;
}

Value joined(Run& run, const Value& a, const Value& b) {
  std::vector<Value> items;
  const uint64_t count = a.sequence().items.size() + b.sequence().items.size();
  run.charge_items(count);
  items.reserve(count);
  for (const Value* part : {&a, &b}) {
    items.insert(items.end(), part->sequence().items.begin(), part->sequence().items.end());
  }
  const bool list = a.sequence().kind == SequenceKind::list;
  return make_sequence(list ? SequenceKind::list : SequenceKind::tuple, std::move(items));
}

Value repeated(Run& run, const Value& value, int64_t times) {
  const uint64_t count = times < 0 ? 0 : static_cast<uint64_t>(times);
  if (value.is_string()) {
    const String& piece = value.string();
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(piece.size(), count, &bytes)) bytes = UINT64_MAX;
    run.charge_bytes(bytes);
    Text text;
    text.bytes.reserve(bytes);
    while (text.size() < bytes) text += piece;
    return make_string(std::move(text), piece.safe);
  }
  const std::vector<Value>& piece = value.sequence().items;
  uint64_t total = 0;
  if (__builtin_mul_overflow(piece.size(), count, &total)) total = UINT64_MAX;
  run.charge_items(total);
  std::vector<Value> items;
  items.reserve(total);
  while (items.size() < total) items.insert(items.end(), piece.begin(), piece.end());
  const bool list = value.sequence().kind == SequenceKind::list;
  return make_sequence(list ? SequenceKind::list : SequenceKind::tuple, std::move(items));
}

Value added_strings(Run& run, const String& a, const String& b) {
  run.charge_bytes(a.bytes.size() + b.bytes.size());
  Text joined = b.safe && !a.safe ? escaped(a) : Text(a);
  joined += a.safe && !b.safe ? escaped(b) : Text(b);
  return make_string(std::move(joined), a.safe || b.safe);
}

}  // namespace

void fail_undefined(const Value& value) {
  fail(*value.as<Undefined>().reason);
}

Value arithmetic(Run& run, Operator meaning, const Value& a, const Value& b) {
  static constexpr std::string_view symbols[] = {"+", "-", "*", "/", "//", "%", "**"};
  if (a.is_number() && b.is_number()) return numbers(meaning, a, b);
  if (meaning == Operator::modulo && a.is_string()) {
    return run.string(percent_format(run, a.string(), b));
  }
  if (a.is_undefined()) fail_undefined(a);
  if (b.is_undefined()) fail_undefined(b);
  if (meaning == Operator::add) {
    if (a.is_string() && b.is_string()) return added_strings(run, a.string(), b.string());
    if (is_list_or_tuple(a) && is_list_or_tuple(b) &&
        (a.sequence().kind == SequenceKind::list) == (b.sequence().kind == SequenceKind::list)) {
      return joined(run, a, b);
    }
  }
  if (meaning == Operator::multiply) {
    check_fits(a);
    check_fits(b);
    if ((a.is_string() || is_list_or_tuple(a)) && b.is_integer()) {
      return repeated(run, a, b.integer());
    }
    if ((b.is_string() || is_list_or_tuple(b)) && a.is_integer()) {
      return repeated(run, b, a.integer());
    }
  }
  fail("'" + std::string(symbols[static_cast<int>(meaning)]) + "' doesn't take '" +
       std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "'");
}

Value negative(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is<double>()) return Value{-value.as<double>()};
  if (value.is_big()) {
    const std::string digits = value.digits();
    return make_integer(digits[0] == '-' ? digits.substr(1) : "-" + digits);
  }
  if (!value.is_integer()) fail("'-' doesn't take a '" + std::string(type_name(value)) + "'");
  return integers(Operator::subtract, 0, value.integer());
}

bool compare(Run& run, Operator meaning, const Value& a, const Value& b) {
  const Work work = run.work();
  switch (meaning) {
    case Operator::equal:
      return equal(a, b, work);
    case Operator::unequal:
      return !equal(a, b, work);
    case Operator::less:
      return less(a, b, work);
    case Operator::greater:
      return less(b, a, work);
    case Operator::in:
      return contains(run, b, a);
    case Operator::not_in:
      return !contains(run, b, a);
    default:
      break;
  }
  // a <= b is a < b or a == b: false for NaN, and an error where the types have no order.
  const bool lower = meaning == Operator::less_equal ? less(a, b, work) : less(b, a, work);
  return lower || equal(a, b, work);
}

}  // namespace assay::jinja
