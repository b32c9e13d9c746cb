// Python's ==, < and the identity of keys.
#include <algorithm>
#include <cmath>

#include "jinja/value.h"

namespace assay::jinja {

namespace {

constexpr uint64_t heaviest_key = 1000;

/// As compare_numbers, where one is an integer beyond 64 bits.
int compare_big(const Value& a, const Value& b) {
  // No float below 2^63 reaches one; from there on floats are whole and have exact digits.
  const auto digits = [](const Value& value) {
    if (!value.is<double>()) return value.digits();
    const double real = value.as<double>();
    return std::isinf(real) ? std::string(real < 0 ? "-" : "") + std::string(400, '9')
                            : make_integer(real).digits();
  };
  for (const Value* each : {&a, &b}) {
    if (each->is<double>() && std::isnan(each->as<double>())) return 2;
  }
  const std::string x = digits(a), y = digits(b);
  const bool minus = x[0] == '-';
  if (minus != (y[0] == '-')) return minus ? -1 : 1;
  const int larger =
      x.size() != y.size() ? (x.size() < y.size() ? -1 : 1) : (x < y ? -1 : int{x > y});
  return minus ? -larger : larger;
}

/// -1, 0, 1 or 2 for unordered (NaN); exact, where a conversion of the int to float may not be.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_big() || b.is_big()) return compare_big(a, b);
  if (a.is_integer() && b.is_integer()) {
    return a.integer() < b.integer() ? -1 : a.integer() > b.integer();
  }
  if (a.is<double>() && b.is<double>()) {
    const double x = a.as<double>(), y = b.as<double>();
    if (std::isnan(x) || std::isnan(y)) return 2;
    return x < y ? -1 : x > y;
  }
  if (a.is<double>()) {
    const int turned = compare_numbers(b, a);
    return turned == 2 ? 2 : -turned;
  }
  const double y = b.as<double>();
  if (std::isnan(y)) return 2;
  if (y >= 9223372036854775808.0) return -1;
  if (y < -9223372036854775808.0) return 1;
  const int64_t whole = static_cast<int64_t>(std::trunc(y)), x = a.integer();
  if (x != whole) return x < whole ? -1 : 1;
  const double rest = y - std::trunc(y);
  return rest > 0 ? -1 : rest < 0;
}

bool is_tuple(SequenceKind kind) {
  return kind == SequenceKind::tuple;
}

/// Whether two sequences are of types whose items == compares.
bool comparable(const Sequence& a, const Sequence& b) {
  if (is_tuple(a.kind) || is_tuple(b.kind)) return is_tuple(a.kind) && is_tuple(b.kind);
  return a.kind == b.kind && (a.kind == SequenceKind::list || a.kind == SequenceKind::range);
}

/// Views of keys and of items are sets to Python: equal whatever the order.
bool equal_views(const Sequence& a, const Sequence& b, const Work& work) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const Value& item) {
    return std::any_of(b.items.begin(), b.items.end(),
                       [&](const Value& other) { return equal(item, other, work); });
  });
}

bool equal_sequences(const Sequence& a, const Sequence& b, const Work& work) {
  if (&a == &b) return true;
  if (a.kind == b.kind && (a.kind == SequenceKind::keys || a.kind == SequenceKind::items)) {
    return equal_views(a, b, work);
  }
  if (!comparable(a, b) || a.items.size() != b.items.size()) return false;
  for (uint64_t i = 0; i < a.items.size(); ++i) {
    if (!equal(a.items[i], b.items[i], work)) return false;
  }
  return true;
}

bool equal_dicts(const Dict& a, const Dict& b, const Work& work) {
  if (&a == &b) return true;
  if (a.entries.size() != b.entries.size()) return false;
  for (const auto& [key, value] : a.entries) {
    const Value* other = b.find(key);
    if (!other || !equal(value, *other, work)) return false;
  }
  return true;
}

/// Kinds of keys in their order: what Python may take for equal has one rank.
int key_rank(const Value& value) {
  if (value.is_number()) return 2;
  return static_cast<int>(value.data.index()) + 3;
}

const void* address(const Value& value) {
  return std::visit(
      [](const auto& held) -> const void* {
        if constexpr (requires { held.get(); }) return held.get();
        return nullptr;
      },
      value.data);
}

}  // namespace

bool equal(const Value& a, const Value& b, const Work& work) {
  work.add(1);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == 0;
  if (a.data.index() != b.data.index()) return false;
  if (a.is_undefined() || a.is_none()) return true;
  if (a.is_string()) {
    work.add(std::min(a.text().size(), b.text().size()) / 64);
    return a.text() == b.text();
  }
  if (a.is_sequence()) return equal_sequences(a.sequence(), b.sequence(), work);
  if (a.is_dict()) return equal_dicts(a.dict(), b.dict(), work);
  return identical(a, b);
}

bool less(const Value& a, const Value& b, const Work& work) {
  work.add(1);
  if (a.is_undefined()) fail(*a.as<Undefined>().reason);
  if (b.is_undefined()) fail(*b.as<Undefined>().reason);
  if (a.is_number() && b.is_number()) return compare_numbers(a, b) == -1;
  if (a.is_string() && b.is_string()) {
    work.add(std::min(a.text().size(), b.text().size()) / 64);
    return a.text() < b.text();
  }
  if (a.is_sequence() && b.is_sequence() && comparable(a.sequence(), b.sequence()) &&
      a.sequence().kind != SequenceKind::range) {
    const auto &left = a.sequence().items, &right = b.sequence().items;
    for (uint64_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      if (!equal(left[i], right[i], work)) return less(left[i], right[i], work);
    }
    return left.size() < right.size();
  }
  fail("'" + std::string(type_name(a)) + "' and '" + std::string(type_name(b)) + "' have no order");
}

bool identical(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) return false;
  if (a.is_integer()) return a.integer() == b.integer();
  if (a.is<double>()) return false;
  if (a.is_string()) return a.text() == b.text();
  return address(a) == address(b);
}

int key_order(const Value& a, const Value& b) {
  const int left = key_rank(a), right = key_rank(b);
  if (left != right) return left < right ? -1 : 1;
  if (a.is_string()) {
    const int order = a.text().compare(b.text());
    return order < 0 ? -1 : order > 0;
  }
  if (a.is_number()) {
    const int order = compare_numbers(a, b);
    if (order != 2) return order;
    const int unequal = std::isnan(a.real()) - std::isnan(b.real());  // NaN behind all numbers
    return unequal;
  }
  if (a.is_sequence() && is_tuple(a.sequence().kind) && is_tuple(b.sequence().kind)) {
    const auto &x = a.sequence().items, &y = b.sequence().items;
    for (uint64_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (const int order = key_order(x[i], y[i]); order != 0) return order;
    }
    return x.size() < y.size() ? -1 : x.size() > y.size();
  }
  if (a.is_sequence() && a.sequence().kind != b.sequence().kind) {
    return a.sequence().kind < b.sequence().kind ? -1 : 1;
  }
  const void *x = address(a), *y = address(b);
  return std::less<>{}(x, y) ? -1 : std::less<>{}(y, x);
}

void check_hashable(const Value& key) {
  const bool list = key.is_sequence() && (key.sequence().kind == SequenceKind::list ||
                                          key.sequence().kind == SequenceKind::keys ||
                                          key.sequence().kind == SequenceKind::items);
  if (list || key.is_dict()) {
    fail("a " + std::string(type_name(key)) + " can't be a key of a dict");
  }
  if (key.is_sequence()) {
    if (key.sequence().weight > heaviest_key) {
      fail("a tuple of more than " + std::to_string(heaviest_key) + " items can't be a key");
    }
    for (const Value& item : key.sequence().items) check_hashable(item);
  }
}

}  // namespace assay::jinja
