#include "jinja/value.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <numeric>

#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

const uint32_t deepest_value = static_cast<uint32_t>(Limits{}.value_depth);

uint32_t checked_depth(uint32_t inside) {
  if (inside >= deepest_value) {
    fail("lists and dicts are nested more than " + std::to_string(deepest_value) + " deep");
  }
  return inside + 1;
}

int compare_key(const Value& key, std::string_view text) {
  if (!key.is_string()) return key_order(key, Value{std::make_shared<const String>()});
  return std::string_view(key.text()).compare(text);
}

}  // namespace

Value none() {
  return Value{None{}};
}
Value undefined(std::string reason) {
  return Value{Undefined{std::make_shared<const std::string>(std::move(reason))}};
}

Value make_string(Text text, bool safe) {
  auto string = std::make_shared<String>();
  string->length = count_code_points(text.bytes);
  string->held = Held(text.bytes.size() + text.origins.size() + sizeof(String) + 32);
  static_cast<Text&>(*string) = std::move(text);
  string->safe = safe;
  return Value{StringPointer(std::move(string))};
}
Value make_string(std::string own, bool safe) {
  return make_string(Text(std::move(own)), safe);
}

Value make_integer(std::string digits) {
  int64_t small = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), small);
  if (read.ec == std::errc()) return Value{small};
  return Value{std::make_shared<const BigInteger>(BigInteger{std::move(digits)})};
}
Value make_integer(double whole) {
  if (!std::isfinite(whole)) fail("a number that is not finite has no integer");
  char buffer[400];  // the largest has 309 digits, which are exact
  const int size = std::snprintf(buffer, sizeof buffer, "%.0f", std::trunc(whole));
  return make_integer(std::string(buffer, static_cast<uint64_t>(size)));
}

void check_fits(const Value& value) {
  if (!value.is_big()) return;
  fail("the integer " + value.digits().substr(0, 40) +
       " doesn't fit 64 bits: a template can print it, but not calculate with it");
}

double Value::real() const {
  if (is<double>()) return as<double>();
  return is_big() ? std::strtod(digits().c_str(), nullptr) : static_cast<double>(integer());
}

uint32_t depth_of(const Value& value) {
  if (value.is_sequence()) return value.sequence().depth;
  if (value.is_dict()) return value.dict().depth;
  if (value.is<std::shared_ptr<Namespace>>()) return 1;
  if (value.is<std::shared_ptr<Function>>()) {
    return depth_of(value.as<std::shared_ptr<Function>>()->self);
  }
  if (value.is<std::shared_ptr<Loop>>()) return value.as<std::shared_ptr<Loop>>()->items->depth;
  return 0;
}

Value make_sequence(SequenceKind kind, std::vector<Value> items) {
  auto sequence = std::make_shared<Sequence>();
  uint32_t inside = 0;
  for (const Value& item : items) {
    inside = std::max(inside, depth_of(item));
    sequence->weight += item.is_sequence() ? item.sequence().weight : 1;
  }
  sequence->weight = std::min(sequence->weight, UINT64_MAX >> 24);  // can't wrap when summed again
  sequence->kind = kind;
  sequence->depth = checked_depth(inside);
  sequence->held = Held(items.size() * sizeof(Value) + sizeof(Sequence) + 32);
  sequence->items = std::move(items);
  return Value{std::move(sequence)};
}

void append(const StringPointer& only, const Text& tail) {
  String& string = const_cast<String&>(*only);  // made by make_string, which makes no const object
  string += tail;
  string.length += count_code_points(tail.bytes);
  string.held.grow(tail.bytes.size() + tail.origins.size());
}

void append(const SequencePointer& only, const std::vector<Value>& tail) {
  uint32_t inside = only->depth - 1;
  for (const Value& item : tail) {
    inside = std::max(inside, depth_of(item));
    only->weight += item.is_sequence() ? item.sequence().weight : 1;
  }
  only->weight = std::min(only->weight, UINT64_MAX >> 24);
  only->depth = checked_depth(inside);
  only->items.insert(only->items.end(), tail.begin(), tail.end());
  only->held.grow(tail.size() * sizeof(Value));
}
Value make_list(std::vector<Value> items) {
  return make_sequence(SequenceKind::list, std::move(items));
}
Value make_tuple(std::vector<Value> items) {
  return make_sequence(SequenceKind::tuple, std::move(items));
}
Value make_generator(std::vector<Value> items) {
  return make_sequence(SequenceKind::generator, std::move(items));
}

Dict build_dict(std::vector<std::pair<Value, Value>> entries) {
  Dict dict;
  uint32_t inside = 0;
  for (const auto& [key, value] : entries) {
    check_hashable(key);
    inside = std::max({inside, depth_of(key), depth_of(value)});
  }
  dict.depth = checked_depth(inside);
  dict.held = Held(entries.size() * (2 * sizeof(Value) + 4) + sizeof(Dict) + 32);
  std::vector<uint32_t> sorted(entries.size());
  std::iota(sorted.begin(), sorted.end(), 0u);
  std::stable_sort(sorted.begin(), sorted.end(), [&](uint32_t a, uint32_t b) {
    return key_order(entries[a].first, entries[b].first) < 0;
  });
  // Of equal keys the first gives key and place, the last the value.
  std::vector<bool> dropped(entries.size());
  for (uint64_t i = 0, first = 0; i < sorted.size(); ++i) {
    if (i == 0 || key_order(entries[sorted[first]].first, entries[sorted[i]].first) != 0) {
      first = i;
      dict.order.push_back(sorted[i]);
    } else {
      entries[sorted[first]].second = std::move(entries[sorted[i]].second);
      dropped[sorted[i]] = true;
    }
  }
  std::vector<uint32_t> place(entries.size());
  for (uint64_t i = 0; i < entries.size(); ++i) {
    place[i] = static_cast<uint32_t>(dict.entries.size());
    if (!dropped[i]) dict.entries.push_back(std::move(entries[i]));
  }
  for (uint32_t& index : dict.order) index = place[index];
  return dict;
}
Value make_dict(std::vector<std::pair<Value, Value>> entries) {
  return Value{DictPointer(std::make_shared<const Dict>(build_dict(std::move(entries))))};
}

void assign(Dict& dict, std::string_view key, Value value) {
  const auto place = std::lower_bound(
      dict.order.begin(), dict.order.end(), key,
      [&](uint32_t i, auto text) { return compare_key(dict.entries[i].first, text) < 0; });
  if (place != dict.order.end() && compare_key(dict.entries[*place].first, key) == 0) {
    dict.entries[*place].second = std::move(value);
    return;
  }
  dict.order.insert(place, static_cast<uint32_t>(dict.entries.size()));
  dict.entries.emplace_back(make_string(std::string(key)), std::move(value));
}

Value make_function(std::string name, Value self, FunctionBody body) {
  return Value{std::make_shared<Function>(Function{std::move(name), std::move(self), body})};
}

const Value* Dict::find(const Value& key) const {
  const auto place = std::lower_bound(
      order.begin(), order.end(), key,
      [&](uint32_t i, const Value& wanted) { return key_order(entries[i].first, wanted) < 0; });
  if (place == order.end() || key_order(entries[*place].first, key) != 0) return nullptr;
  return &entries[*place].second;
}
const Value* Dict::find(std::string_view key) const {
  const auto place = std::lower_bound(
      order.begin(), order.end(), key,
      [&](uint32_t i, std::string_view text) { return compare_key(entries[i].first, text) < 0; });
  if (place == order.end() || compare_key(entries[*place].first, key) != 0) return nullptr;
  return &entries[*place].second;
}

std::optional<uint64_t> length_of(const Value& value) {
  if (value.is_undefined()) return 0;
  if (value.is_string()) return value.string().length;
  if (value.is_dict()) return value.dict().entries.size();
  if (value.is_sequence() && value.sequence().kind != SequenceKind::generator) {
    return value.sequence().items.size();
  }
  if (value.is<std::shared_ptr<Loop>>()) return value.as<std::shared_ptr<Loop>>()->length();
  return std::nullopt;
}

bool is_true(const Value& value) {
  if (value.is_none()) return false;
  if (value.is<double>()) return value.as<double>() != 0.0;
  if (value.is_integer()) return value.integer() != 0;
  const std::optional<uint64_t> length = length_of(value);
  return !length || *length != 0;
}

std::string_view type_name(const Value& value) {
  static constexpr std::string_view names[] = {
      "Undefined", "NoneType",  "bool",  "int",      "float",       "str", "list",
      "dict",      "Namespace", "Macro", "function", "LoopContext", "int"};
  static constexpr std::string_view sequences[] = {
      "list", "tuple", "range", "dict_keys", "dict_values", "dict_items", "generator"};
  if (value.is_sequence()) return sequences[static_cast<int>(value.sequence().kind)];
  return names[value.data.index()];
}

}  // namespace assay::jinja
