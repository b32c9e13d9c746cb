// Methods of lists, dicts, tuples, loops and cyclers, and the look-up of methods. What would change
// a list or dict doesn't exist here, as in Jinja's immutable sandbox.
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

Value list_count(Call& call) {
  call.bind({"value"}, 1);
  int64_t count = 0;
  for (const Value& item : call.self.sequence().items) {
    count += equal(item, call.at(0), call.run.work());
  }
  return Value{count};
}

Value list_index(Call& call) {
  call.bind({"value", "start", "stop"}, 1);
  const auto& items = call.self.sequence().items;
  const int64_t length = static_cast<int64_t>(items.size());
  const auto bound = [&](uint64_t i, int64_t otherwise) {
    const int64_t given = call.integer(i, otherwise);
    return std::clamp<int64_t>(given < 0 ? given + length : given, 0, length);
  };
  for (int64_t i = bound(1, 0); i < bound(2, length); ++i) {
    if (equal(items[static_cast<uint64_t>(i)], call.at(0), call.run.work())) return Value{i};
  }
  fail("the value is not in the list");
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

Value cycler_next(Call& call) {
  call.bind({});
  Cycler& cycler = *call.self.as<std::shared_ptr<Cycler>>();
  const uint64_t at = cycler.position;
  cycler.position = (at + 1) % cycler.items.size();
  return cycler.items[at];
}
Value cycler_reset(Call& call) {
  call.bind({});
  call.self.as<std::shared_ptr<Cycler>>()->position = 0;
  return none();
}

constexpr Named dict_methods[] = {{"copy", copied},
                                  {"get", dict_get},
                                  {"items", dict_items},
                                  {"keys", dict_keys},
                                  {"values", dict_values}};
constexpr Named list_methods[] = {{"copy", copied}, {"count", list_count}, {"index", list_index}};
constexpr Named tuple_methods[] = {{"count", list_count}, {"index", list_index}};
constexpr Named loop_methods[] = {{"changed", loop_changed}, {"cycle", loop_cycle}};
constexpr Named cycler_methods[] = {{"next", cycler_next}, {"reset", cycler_reset}};

// Names that Python's types have and Jinja's immutable sandbox takes for undefined.
constexpr std::string_view list_changers[] = {"append", "clear",  "extend",  "insert",
                                              "pop",    "remove", "reverse", "sort"};
constexpr std::string_view dict_changers[] = {"clear", "pop", "popitem", "setdefault", "update"};

FunctionBody find_named(std::span<const Named> table, std::string_view name) {
  for (const Named& each : table) {
    if (each.name == name) return each.body;
  }
  return nullptr;
}

}  // namespace

bool would_change(const Value& object, std::string_view name) {
  const auto among = [&](std::span<const std::string_view> names) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  if (object.is_dict()) return among(dict_changers);
  return object.is_sequence() && object.sequence().kind == SequenceKind::list &&
         among(list_changers);
}

FunctionBody find_method(const Value& object, std::string_view name) {
  if (object.is_dict()) return find_named(dict_methods, name);
  if (object.is_string()) {
    const FunctionBody found = find_named(string_methods(), name);
    return found ? found : find_named(string_question_methods(), name);
  }
  if (object.is_sequence()) {
    switch (object.sequence().kind) {
      case SequenceKind::list:
        return find_named(list_methods, name);
      case SequenceKind::tuple:
      case SequenceKind::group:
      case SequenceKind::range:
        return find_named(tuple_methods, name);
      default:
        return nullptr;
    }
  }
  if (object.is<std::shared_ptr<Loop>>()) return find_named(loop_methods, name);
  if (object.is<std::shared_ptr<Cycler>>()) return find_named(cycler_methods, name);
  return nullptr;
}

}  // namespace assay::jinja
