// Methods of lists, dicts and loops, and the look-up of methods. What would change a list or dict
// doesn't exist here, as in Jinja's immutable sandbox.
#include <algorithm>

#include "jinja/registry.h"

namespace assay::jinja {

namespace {

Value dict_get(Call& call) {
  call.bind({"key", "default"}, 1);
  check_hashable(call.at(0));
  const Value* found = call.self.dict().find(call.at(0));
  return found ? *found : call.value(1, none());
}

std::vector<Value> pick(Call& call, bool keys, bool values) {
  call.bind({});
  std::vector<Value> items;
  for (const auto& [key, value] : call.self.dict().entries) {
    items.push_back(keys && values ? make_tuple({key, value}) : keys ? key : value);
  }
  call.run.charge_items(items.size());
  return items;
}
Value dict_items(Call& call) {
  return make_sequence(SequenceKind::items, pick(call, true, true));
}
Value dict_keys(Call& call) {
  return make_sequence(SequenceKind::keys, pick(call, true, false));
}
Value dict_values(Call& call) {
  return make_sequence(SequenceKind::values, pick(call, false, true));
}
Value copied(Call& call) {
  call.bind({});
  return call.self;
}

/// dict.fromkeys(keys, value): a dict of these keys, each with the same value.
Value dict_fromkeys(Call& call) {
  if (!call.keywords.empty()) fail("'fromkeys' takes no arguments with names");
  call.bind({"iterable", "value"}, 1);
  std::vector<std::pair<Value, Value>> entries;
  for (Value& key : iterate(call.run, call.at(0))) {
    entries.emplace_back(std::move(key), call.value(1, none()));
  }
  return call.run.dict(std::move(entries));
}

Value loop_cycle(Call& call) {
  if (call.positional.empty()) fail("'cycle' needs at least one argument");
  const Loop& loop = *call.self.as<std::shared_ptr<Loop>>();
  return call.positional[loop.index % call.positional.size()];
}

Value loop_changed(Call& call) {
  const auto& loop = call.self.as<std::shared_ptr<Loop>>();
  Value now = call.run.tuple(call.positional);
  if (!loop->changed) call.run.changed_loops.push_back(loop);
  if (loop->changed && equal(*loop->changed, now, call.run.work())) return Value{false};
  loop->changed = std::move(now);
  return Value{true};
}

constexpr Named dict_methods[] = {{"copy", copied},    {"fromkeys", dict_fromkeys},
                                  {"get", dict_get},   {"items", dict_items},
                                  {"keys", dict_keys}, {"values", dict_values}};
constexpr Named list_methods[] = {{"copy", copied}};
constexpr Named loop_methods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}};
constexpr Named dict_type_methods[] = {{"fromkeys", dict_fromkeys}};

// Methods of Python's types that are not supported.
constexpr std::string_view absent_of_strings[] = {
    "casefold",     "center",       "count",     "encode",    "expandtabs",  "find",
    "format_map",   "index",        "isalnum",   "isalpha",   "isascii",     "isdecimal",
    "isdigit",      "isidentifier", "islower",   "isnumeric", "isprintable", "isspace",
    "istitle",      "isupper",      "join",      "ljust",     "maketrans",   "partition",
    "removeprefix", "removesuffix", "rfind",     "rindex",    "rjust",       "rpartition",
    "rsplit",       "swapcase",     "translate", "zfill"};
constexpr std::string_view absent_of_sequences[] = {"count", "index"};

// Names that Python's types have and Jinja's immutable sandbox takes for undefined.
constexpr std::string_view list_changers[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
constexpr std::string_view dict_changers[] = {"clear", "pop", "popitem", "setdefault", "update"};

bool among(std::span<const std::string_view> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

bool would_change(const Value& object, std::string_view name) {
  if (object.is_dict()) return among(dict_changers, name);
  return object.is_sequence() && object.sequence().kind == SequenceKind::list &&
         among(list_changers, name);
}

void refuse_absent_method(const Value& object, std::string_view name) {
  std::string supported;
  if (object.is_string() && among(absent_of_strings, name)) {
    supported = names_of({string_methods()});
  } else if (object.is_sequence() && object.sequence().kind <= SequenceKind::range &&
             among(absent_of_sequences, name)) {
    supported = object.sequence().kind == SequenceKind::list ? names_of({list_methods}) : "none";
  } else {
    return;
  }
  fail("the method '" + std::string(name) + "' of '" + std::string(type_name(object)) +
       "' is not supported; supported: " + supported);
}

FunctionBody find_method(const Value& object, std::string_view name) {
  if (object.is_dict()) return find_named(dict_methods, name);
  if (object.is_string()) return find_named(string_methods(), name);
  if (object.is_sequence() && object.sequence().kind == SequenceKind::list) {
    return find_named(list_methods, name);
  }
  if (object.is<std::shared_ptr<Loop>>()) return find_named(loop_methods, name);
  if (const auto* function = std::get_if<std::shared_ptr<Function>>(&object.data)) {
    const bool dict_type = (*function)->name == "dict" && (*function)->self.is_none();
    return dict_type ? find_named(dict_type_methods, name) : nullptr;
  }
  return nullptr;
}

}  // namespace assay::jinja
