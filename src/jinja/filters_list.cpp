// Filters that pick, map and cut lists.
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

Value filter_list(Call& call) {
  call.bind({});
  return call.run.list(iterate(call.run, call.self));
}

Value filter_length(Call& call) {
  call.bind({});
  const std::optional<uint64_t> length = length_of(call.self);
  if (!length) fail("a '" + std::string(type_name(call.self)) + "' has no length");
  return Value{static_cast<int64_t>(*length)};
}

Value filter_first(Call& call) {
  call.bind({});
  if (call.self.is_sequence() && call.self.sequence().kind == SequenceKind::generator) {
    Sequence& generator = *call.self.as<SequencePointer>();
    if (generator.taken < generator.items.size()) return generator.items[generator.taken++];
  }
  if (call.self.is_sequence() && !call.self.sequence().items.empty() &&
      call.self.sequence().kind != SequenceKind::generator) {
    return call.self.sequence().items[0];
  }
  std::vector<Value> items = iterate(call.run, call.self);
  return items.empty() ? undefined("there is no first item, the sequence is empty") : items[0];
}

Value filter_last(Call& call) {
  call.bind({});
  if (call.self.is_sequence() && call.self.sequence().kind == SequenceKind::generator) {
    fail("a generator can't be walked backwards");
  }
  if (call.self.is_sequence() && !call.self.sequence().items.empty()) {
    return call.self.sequence().items.back();
  }
  std::vector<Value> items = iterate(call.run, call.self);
  return items.empty() ? undefined("there is no last item, the sequence is empty") : items.back();
}

Value filter_reverse(Call& call) {
  call.bind({});
  std::vector<Value> items = iterate(call.run, call.self);
  std::reverse(items.begin(), items.end());
  if (!call.self.is_string()) return call.run.generator(std::move(items));
  Text text;
  for (const Value& item : items) text += item.string();
  return call.run.string(std::move(text));
}

Value filter_join(Call& call) {
  call.bind({"d", "attribute"});
  const Text separator = call.has(0) ? call.run.str(call.at(0)) : Text();
  const KeyOf key = key_of(call.has(1) ? &call.at(1) : nullptr, true);
  Text out;
  bool first = true;
  for (const Value& item : iterate(call.run, call.self)) {
    if (!first) out += separator;
    first = false;
    append_str(out, key(call.run, item), call.run);
    if (out.size() > call.run.limits.value_bytes) call.run.charge_bytes(out.size());
    call.run.charge(1 + separator.size() / 64);
  }
  return call.run.string(std::move(out));
}

/// map('filter', …) or map(attribute='a', default=…)
Value filter_map(Call& call) {
  std::vector<Value> made;
  if (!is_true(call.self)) return call.run.generator({});  // none too, as in Jinja
  if (call.positional.empty()) {
    call.bind({"attribute", "default"});
    if (!call.has(0)) fail("'map' needs the name of a filter");
    KeyOf key = key_of(&call.at(0), true);
    if (call.has(1) && !call.at(1).is_none()) key.otherwise = call.at(1);
    for (const Value& item : iterate(call.run, call.self)) made.push_back(key(call.run, item));
    return call.run.generator(std::move(made));
  }
  if (!call.positional[0].is_string()) fail("'map' needs the name of a filter");
  const std::vector<Value> rest(call.positional.begin() + 1, call.positional.end());
  for (Value& item : iterate(call.run, call.self)) {
    made.push_back(
        apply_filter(call.run, call.positional[0].text(), std::move(item), rest, call.keywords));
  }
  return call.run.generator(std::move(made));
}

/// select, reject, selectattr, rejectattr: items whose value or attribute passes a test.
Value pick(Call& call, bool keep, bool by_attribute) {
  if (!is_true(call.self)) return call.run.generator({});  // none too, as in Jinja
  uint64_t used = 0;
  KeyOf key;
  if (by_attribute) {
    if (call.positional.empty()) fail("'" + std::string(call.name) + "' needs an attribute");
    key = key_of(&call.positional[used++], true);
  }
  std::optional<std::string> test;
  if (used < call.positional.size()) {
    if (!call.positional[used].is_string()) fail("the name of a test must be a string");
    test = call.positional[used++].text();
  }
  const std::vector<Value> rest(call.positional.begin() + static_cast<int64_t>(used),
                                call.positional.end());
  std::vector<Value> made;
  for (const Value& item : iterate(call.run, call.self)) {
    const Value judged = key(call.run, item);
    const bool passes =
        test ? apply_test(call.run, *test, judged, rest, call.keywords) : is_true(judged);
    if (passes == keep) made.push_back(item);
  }
  return call.run.generator(std::move(made));
}
Value filter_select(Call& call) {
  return pick(call, true, false);
}
Value filter_reject(Call& call) {
  return pick(call, false, false);
}
Value filter_selectattr(Call& call) {
  return pick(call, true, true);
}
Value filter_rejectattr(Call& call) {
  return pick(call, false, true);
}

Value filter_items(Call& call) {
  call.bind({});
  std::vector<Value> made;
  if (call.self.is_undefined()) return call.run.generator({});
  if (!call.self.is_dict()) fail("'items' needs a dict");
  for (const auto& [key, value] : call.self.dict().entries)
    made.push_back(make_tuple({key, value}));
  return call.run.generator(std::move(made));
}

}  // namespace

std::span<const Named> list_filters() {
  static constexpr Named filters[] = {
      {"count", filter_length},
      {"first", filter_first},
      {"items", filter_items},
      {"join", filter_join},
      {"last", filter_last},
      {"length", filter_length},
      {"list", filter_list},
      {"map", filter_map},
      {"reject", filter_reject},
      {"rejectattr", filter_rejectattr},
      {"reverse", filter_reverse},
      {"select", filter_select},
      {"selectattr", filter_selectattr},
  };
  return filters;
}

}  // namespace assay::jinja
