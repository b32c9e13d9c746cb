// The functions every template has: range, dict, namespace, raise_exception and strftime_now.
#include <map>

#include "jinja/run.h"

namespace assay::jinja {

namespace {

Value global_range(Call& call) {
  if (!call.keywords.empty()) fail("'range' takes no arguments with names");
  call.bind({"start", "stop", "step"}, 1);
  const bool one = !call.has(1);
  const int64_t start = one ? 0 : call.integer(0, 0);
  const int64_t stop = one ? call.integer(0, 0) : call.integer(1, 0), step = call.integer(2, 1);
  if (step == 0) fail("the step of 'range' is zero");
  const __int128 distance =
      static_cast<__int128>(step > 0 ? stop : start) - (step > 0 ? start : stop);
  const __int128 stride = step > 0 ? static_cast<__int128>(step) : -static_cast<__int128>(step);
  const __int128 count = distance <= 0 ? 0 : (distance + stride - 1) / stride;
  if (count > static_cast<__int128>(longest_range)) {
    fail("a range is longer than the limit of " + std::to_string(longest_range));
  }
  call.run.charge_items(static_cast<uint64_t>(count));
  std::vector<Value> items;
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i)
    items.push_back(Value{start + i * step});
  Value made = make_sequence(SequenceKind::range, std::move(items));
  auto& bounds = made.as<SequencePointer>()->range;
  bounds[0] = start, bounds[1] = stop, bounds[2] = step;
  return made;
}

/// dict(other, name=value …): `other` is a dict or walks over pairs.
std::vector<std::pair<Value, Value>> entries_of(Call& call) {
  std::vector<std::pair<Value, Value>> entries;
  if (call.positional.size() > 1) fail("'" + std::string(call.name) + "' takes one dict");
  if (!call.positional.empty()) {
    const Value& other = call.positional[0];
    if (other.is_dict()) {
      entries = other.dict().entries;
    } else {
      for (const Value& pair : iterate(call.run, other)) {
        std::vector<Value> parts = iterate(call.run, pair);
        if (parts.size() != 2) fail("'" + std::string(call.name) + "' needs pairs");
        entries.emplace_back(std::move(parts[0]), std::move(parts[1]));
      }
    }
  }
  for (const auto& [name, value] : call.keywords) entries.emplace_back(make_string(name), value);
  call.run.charge_items(entries.size());
  return entries;
}

Value global_dict(Call& call) {
  return make_dict(entries_of(call));
}

Value global_namespace(Call& call) {
  auto made = std::make_shared<Namespace>();
  made->attributes = build_dict(entries_of(call));
  call.run.namespaces.push_back(made);
  return Value{std::move(made)};
}

Value global_raise_exception(Call& call) {
  call.bind({"message"}, 1);
  fail("the template refuses: " + call.run.str(call.at(0)).bytes);
}

Value global_strftime_now(Call& call) {
  call.bind({"format"}, 1);
  const String& format = call.string(0);
  Text made(format_time(call.run, format.bytes));
  if (!format.is_own()) made.mark(0, Origin::quoted);
  return call.run.string(std::move(made));
}

/// cycler, joiner and lipsum: known, so that a call is refused by its name.
Value refused_global(Call& call) {
  fail("the function '" + std::string(call.name) +
       "' is not supported; supported: dict, namespace, raise_exception, range, strftime_now");
}

}  // namespace

const Value* find_global(std::string_view name) {
  static const std::map<std::string, Value, std::less<>> globals = [] {
    std::map<std::string, Value, std::less<>> made;
    const std::pair<const char*, FunctionBody> bodies[] = {
        {"cycler", refused_global},      {"dict", global_dict},
        {"joiner", refused_global},      {"lipsum", refused_global},
        {"namespace", global_namespace}, {"raise_exception", global_raise_exception},
        {"range", global_range},         {"strftime_now", global_strftime_now}};
    for (const auto& [known, body] : bodies) made[known] = make_function(known, none(), body);
    return made;
  }();
  const auto found = globals.find(name);
  return found == globals.end() ? nullptr : &found->second;
}

}  // namespace assay::jinja
