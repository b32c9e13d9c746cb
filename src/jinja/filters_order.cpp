// Filters that compare: sort, dictsort, min, max, unique.
#include <algorithm>
#include <numeric>
#include <set>

#include "jinja/registry.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

/// "a.b.0" → "a", "b", 0
std::vector<Value> attribute_path(std::string_view text) {
  std::vector<Value> path;
  while (true) {
    const uint64_t dot = text.find('.');
    const std::string part(text.substr(0, dot));
    const bool digits = !part.empty() && part.find_first_not_of("0123456789") == std::string::npos;
    const std::optional<int64_t> index = digits ? parse_integer(part, 10) : std::nullopt;
    path.push_back(index ? Value{*index} : make_string(part));
    if (dot == std::string_view::npos) return path;
    text.remove_prefix(dot + 1);
  }
}

Value lowered(Run& run, Value value, bool case_sensitive) {
  if (case_sensitive || !value.is_string()) return value;
  run.charge(value.text().size() / 16);
  return make_string(to_lower(value.text()));
}

Value follow(Run& run, const KeyOf& key, const Value& item, const std::vector<Value>& path) {
  Value value = item;
  for (const Value& step : path) {
    value = get_item(run, value, step);
    if (value.is_undefined() && key.otherwise) value = *key.otherwise;
  }
  return lowered(run, std::move(value), key.case_sensitive);
}

/// The places of the items in the order of their keys; equal ones keep their order.
std::vector<uint64_t> sorted_places(Run& run, const std::vector<Value>& keys, bool reverse) {
  std::vector<uint64_t> places(keys.size());
  std::iota(places.begin(), places.end(), uint64_t{0});
  const Work work = run.work();
  std::stable_sort(places.begin(), places.end(), [&](uint64_t a, uint64_t b) {
    return reverse ? less(keys[b], keys[a], work) : less(keys[a], keys[b], work);
  });
  return places;
}

std::vector<Value> keys_of(Run& run, const std::vector<Value>& items, const KeyOf& key) {
  std::vector<Value> keys;
  for (const Value& item : items) keys.push_back(key(run, item));
  return keys;
}

Value filter_sort(Call& call) {
  call.bind({"reverse", "case_sensitive", "attribute"});
  const KeyOf key = key_of(call.has(2) ? &call.at(2) : nullptr, call.truth(1, false), true);
  const std::vector<Value> items = iterate(call.run, call.self);
  std::vector<Value> made;
  for (const uint64_t i :
       sorted_places(call.run, keys_of(call.run, items, key), call.truth(0, false))) {
    made.push_back(items[i]);
  }
  return call.run.list(std::move(made));
}

Value filter_dictsort(Call& call) {
  call.bind({"case_sensitive", "by", "reverse"});
  const std::string by = call.text(1, "key");
  if (by != "key" && by != "value") fail("'dictsort' sorts by 'key' or 'value'");
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is_dict()) fail("'dictsort' needs a dict");
  const auto& entries = call.self.dict().entries;
  std::vector<Value> keys, made;
  for (const auto& [key, value] : entries) {
    keys.push_back(lowered(call.run, by == "key" ? key : value, call.truth(0, false)));
  }
  for (const uint64_t i : sorted_places(call.run, keys, call.truth(2, false))) {
    made.push_back(make_tuple({entries[i].first, entries[i].second}));
  }
  return call.run.list(std::move(made));
}

Value extreme(Call& call, bool largest) {
  call.bind({"case_sensitive", "attribute"});
  const KeyOf key = key_of(call.has(1) ? &call.at(1) : nullptr, call.truth(0, false));
  const std::vector<Value> items = iterate(call.run, call.self);
  if (items.empty()) return undefined("there is no least or greatest item, the sequence is empty");
  const std::vector<Value> keys = keys_of(call.run, items, key);
  uint64_t best = 0;
  for (uint64_t i = 1; i < items.size(); ++i) {
    const Work work = call.run.work();
    if (largest ? less(keys[best], keys[i], work) : less(keys[i], keys[best], work)) best = i;
  }
  return items[best];
}
Value filter_min(Call& call) {
  return extreme(call, false);
}
Value filter_max(Call& call) {
  return extreme(call, true);
}

struct KeyLess {
  bool operator()(const Value& a, const Value& b) const { return key_order(a, b) < 0; }
};

Value filter_unique(Call& call) {
  call.bind({"case_sensitive", "attribute"});
  const KeyOf key = key_of(call.has(1) ? &call.at(1) : nullptr, call.truth(0, false));
  std::set<Value, KeyLess> seen;
  std::vector<Value> made;
  for (const Value& item : iterate(call.run, call.self)) {
    Value mark = key(call.run, item);
    check_hashable(mark);
    call.run.charge(16 + (mark.is_string() ? mark.text().size() / 8 : 0));
    if (seen.insert(std::move(mark)).second) made.push_back(item);
  }
  return call.run.generator(std::move(made));
}

}  // namespace

Value KeyOf::operator()(Run& run, const Value& item) const {
  if (paths.empty()) return lowered(run, item, case_sensitive);
  if (!several) return follow(run, *this, item, paths[0]);
  std::vector<Value> keys;
  for (const auto& path : paths) keys.push_back(follow(run, *this, item, path));
  return run.list(std::move(keys));
}

KeyOf key_of(const Value* attribute, bool case_sensitive, bool commas) {
  KeyOf key;
  key.case_sensitive = case_sensitive;
  key.several = commas;
  if (!attribute || attribute->is_none()) {
    if (commas) key.paths.push_back({});
    return key;
  }
  if (!attribute->is_string()) {
    key.paths.push_back({*attribute});
    return key;
  }
  std::string_view rest = attribute->text();
  for (uint64_t comma = 0; commas && (comma = rest.find(',')) != std::string_view::npos;) {
    key.paths.push_back(attribute_path(rest.substr(0, comma)));
    rest.remove_prefix(comma + 1);
  }
  key.paths.push_back(attribute_path(rest));
  return key;
}

std::span<const Named> order_filters() {
  static constexpr Named filters[] = {
      {"dictsort", filter_dictsort}, {"max", filter_max},       {"min", filter_min},
      {"sort", filter_sort},         {"unique", filter_unique},
  };
  return filters;
}

}  // namespace assay::jinja
