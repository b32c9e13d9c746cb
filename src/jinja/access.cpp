// Attributes, items, slices, walking and `in`.
#include <algorithm>

#include "jinja/run.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

Value no_attribute(const Value& object, std::string_view name) {
  const std::string type = object.is_none() ? "None" : std::string(type_name(object)) + " object";
  return undefined("'" + type + "' has no attribute '" + std::string(name) + "'");
}

Value loop_attribute(const Value& object, std::string_view name) {
  const Loop& loop = *object.as<std::shared_ptr<Loop>>();
  const auto integer = [](uint64_t value) { return Value{static_cast<int64_t>(value)}; };
  const uint64_t length = loop.length();
  if (name == "index") return integer(loop.index + 1);
  if (name == "index0") return integer(loop.index);
  if (name == "revindex") return integer(length - loop.index);
  if (name == "revindex0") return Value{static_cast<int64_t>(length - loop.index) - 1};
  if (name == "first") return Value{loop.index == 0};
  if (name == "last") return Value{loop.index + 1 >= length};
  if (name == "length") return integer(length);
  if (name == "depth") return integer(loop.depth + 1);
  if (name == "depth0") return integer(loop.depth);
  const auto& items = loop.items->items;
  if (name == "previtem") {
    if (loop.index == 0) return undefined("there is no previous item");
    return items[loop.first + loop.index - 1];
  }
  if (name == "nextitem") {
    if (loop.index + 1 >= length) return undefined("there is no next item");
    return items[loop.first + loop.index + 1];
  }
  return no_attribute(object, name);
}

Value macro_attribute(const Value& object, std::string_view name) {
  const Macro& macro = *object.as<std::shared_ptr<Macro>>();
  if (name == "name") return make_string(macro.definition->text);
  if (name == "caller") return Value{macro.uses_caller};
  if (name == "catch_kwargs") return Value{macro.uses_kwargs};
  if (name == "catch_varargs") return Value{macro.uses_varargs};
  if (name != "arguments") return no_attribute(object, name);
  std::vector<Value> names;
  for (const Parameter& one : macro.definition->parameters) {
    names.push_back(make_string(one.name->text));
  }
  return make_tuple(std::move(names));
}

/// Python's attributes of an object; empty where it has none of this name.
std::optional<Value> own_attribute(const Value& object, std::string_view name) {
  if (const FunctionBody method = find_method(object, name)) {
    return make_function(std::string(name), object, method);
  }
  refuse_absent_method(object, name);
  if (would_change(object, name)) {
    return undefined("'" + std::string(name) + "' would change a value, which a template may not");
  }
  if (const auto* space = std::get_if<std::shared_ptr<Namespace>>(&object.data)) {
    if (name.starts_with('_')) {
      return undefined("the attribute '" + std::string(name) +
                       "' of a namespace can't be read: it begins with '_'");
    }
    if (const Value* found = (*space)->attributes.find(name)) return *found;
    return std::nullopt;
  }
  if (object.is<std::shared_ptr<Loop>>()) return loop_attribute(object, name);
  if (object.is<std::shared_ptr<Macro>>()) return macro_attribute(object, name);
  return std::nullopt;
}

/// The place of a Python index in `length`; empty where it is out of range.
std::optional<uint64_t> place_of(int64_t index, uint64_t length) {
  if (index < 0) index += static_cast<int64_t>(length);
  if (index < 0 || static_cast<uint64_t>(index) >= length) return std::nullopt;
  return static_cast<uint64_t>(index);
}

bool is_indexable(const Value& value) {
  return value.is_sequence() && value.sequence().kind <= SequenceKind::range;
}

/// object[key] where Python gives it; empty where it raises TypeError or LookupError.
std::optional<Value> own_item(Run& run, const Value& object, const Value& key) {
  if (object.is_dict()) {
    check_hashable(key);
    if (key.is_string()) run.charge(key.text().size() / 64);
    const Value* found = object.dict().find(key);
    return found ? std::optional(*found) : std::nullopt;
  }
  if (!key.is_integer()) return std::nullopt;
  if (is_indexable(object)) {
    const auto place = place_of(key.integer(), object.sequence().items.size());
    return place ? std::optional(object.sequence().items[*place]) : std::nullopt;
  }
  if (!object.is_string()) return std::nullopt;
  const auto place = place_of(key.integer(), object.string().length);
  if (!place) return std::nullopt;
  const std::string& text = object.text();
  run.charge(text.size() / 64);
  uint64_t end = text.size() == object.string().length ? *place : byte_offset(text, *place);
  const uint64_t start = end;
  next_code_point(text, end);
  return make_string(object.string().part(start, end - start));
}

}  // namespace

Value get_attribute(Run& run, const Value& object, std::string_view name) {
  run.charge(1);
  if (object.is_undefined()) fail_undefined(object);
  if (std::optional<Value> found = own_attribute(object, name)) return std::move(*found);
  if (object.is_dict()) {
    if (const Value* found = object.dict().find(name)) return *found;
  }
  return no_attribute(object, name);
}

Value get_item(Run& run, const Value& object, const Value& key) {
  run.charge(1);
  if (object.is_undefined()) fail_undefined(object);
  // Python raises TypeError for a key without a hash, which Jinja takes for "not there".
  const bool list_key =
      key.is_dict() || (key.is_sequence() && key.sequence().kind == SequenceKind::list);
  if (!list_key) {
    if (std::optional<Value> found = own_item(run, object, key)) return std::move(*found);
  }
  if (key.is_string()) {
    if (std::optional<Value> found = own_attribute(object, key.text())) return std::move(*found);
    return no_attribute(object, key.text().substr(0, 100));
  }
  return undefined("'" + std::string(type_name(object)) + " object' has no such element");
}

namespace {

/// The places that a slice takes: start, start + step, … up to stop.
struct Slice {
  int64_t start, stop, step;
};

Slice slice_of(const std::optional<int64_t> (&bounds)[3], int64_t length) {
  const int64_t step = bounds[2].value_or(1);
  if (step == 0) fail("the step of a slice is zero");
  const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? length : length - 1;
  const auto bound = [&](const std::optional<int64_t>& given, int64_t otherwise) {
    if (!given) return otherwise;
    return std::clamp(*given < 0 ? *given + length : *given, low, high);
  };
  return {bound(bounds[0], step > 0 ? low : high), bound(bounds[1], step > 0 ? high : low), step};
}

template <class Take>
void for_each_place(const Slice& slice, const Take& take) {
  for (int64_t i = slice.start; slice.step > 0 ? i < slice.stop : i > slice.stop;) {
    take(static_cast<uint64_t>(i));
    if (__builtin_add_overflow(i, slice.step, &i)) break;
  }
}

Text text_slice(Run& run, const Text& whole, const Slice& slice) {
  const std::string& text = whole.bytes;
  run.charge(text.size() / 64);
  if (slice.step == 1) {
    const std::string_view rest =
        std::string_view(text).substr(byte_offset(text, static_cast<uint64_t>(slice.start)));
    const int64_t count = std::max<int64_t>(slice.stop - slice.start, 0);
    return whole.part(rest.substr(0, byte_offset(rest, static_cast<uint64_t>(count))));
  }
  run.charge(text.size());
  std::vector<uint64_t> starts;
  for (uint64_t i = 0; i < text.size(); next_code_point(text, i)) starts.push_back(i);
  starts.push_back(text.size());
  Text made;
  for_each_place(slice,
                 [&](uint64_t i) { made.append(whole, starts[i], starts[i + 1] - starts[i]); });
  return made;
}

}  // namespace

Value get_slice(Run& run, const Value& object, const std::optional<int64_t> (&bounds)[3]) {
  if (object.is_undefined()) fail_undefined(object);
  if (!object.is_string() && !is_indexable(object)) {
    fail("a '" + std::string(type_name(object)) + "' can't be sliced");
  }
  const int64_t length = static_cast<int64_t>(*length_of(object));
  const Slice slice = slice_of(bounds, length);
  if (object.is_string()) return run.string(text_slice(run, object.string(), slice));
  std::vector<Value> items;
  for_each_place(slice, [&](uint64_t i) { items.push_back(object.sequence().items[i]); });
  run.charge_items(items.size());
  const SequenceKind kind = object.sequence().kind;
  Value made = make_sequence(kind, std::move(items));
  if (kind == SequenceKind::range) {
    const auto& whole = object.sequence().range;
    auto& part = made.as<SequencePointer>()->range;
    // Bounds that no 64-bit integer holds only matter to how the range prints.
    const bool fits = !__builtin_mul_overflow(slice.start, whole[2], &part[0]) &&
                      !__builtin_add_overflow(part[0], whole[0], &part[0]) &&
                      !__builtin_mul_overflow(slice.stop, whole[2], &part[1]) &&
                      !__builtin_add_overflow(part[1], whole[0], &part[1]) &&
                      !__builtin_mul_overflow(slice.step, whole[2], &part[2]);
    if (!fits) fail("an integer doesn't fit 64 bits");
  }
  return made;
}

bool is_iterable(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_sequence() || value.is_dict() ||
         value.is<std::shared_ptr<Loop>>();
}

std::vector<Value> iterate(Run& run, const Value& value) {
  std::vector<Value> items;
  if (value.is_undefined()) return items;
  if (!is_iterable(value)) fail("a '" + std::string(type_name(value)) + "' can't be walked over");
  if (value.is_sequence()) {
    Sequence& sequence = *value.as<SequencePointer>();
    if (sequence.kind != SequenceKind::generator) {
      run.charge(sequence.items.size());
      return sequence.items;
    }
    run.charge(sequence.items.size() - sequence.taken);
    items.assign(sequence.items.begin() + static_cast<int64_t>(sequence.taken),
                 sequence.items.end());
    sequence.taken = sequence.items.size();
    return items;
  }
  if (value.is_dict()) {
    run.charge_items(value.dict().entries.size());
    for (const auto& entry : value.dict().entries) items.push_back(entry.first);
    return items;
  }
  if (value.is_string()) {
    const std::string& text = value.text();
    run.charge_items(value.string().length);
    for (uint64_t i = 0; i < text.size();) {
      const uint64_t start = i;
      next_code_point(text, i);
      items.push_back(make_string(value.string().part(start, i - start)));
    }
    return items;
  }
  fail("a loop can't be walked over");
}

bool contains(Run& run, const Value& container, const Value& item) {
  if (container.is_string()) {
    if (item.is_undefined()) fail_undefined(item);
    if (!item.is_string()) {
      fail("'in' a string needs a string, not a '" + std::string(type_name(item)) + "'");
    }
    run.charge(container.text().size() / 16);
    return find_text(container.text(), item.text(), 0) != std::string_view::npos;
  }
  if (container.is_dict()) {
    check_hashable(item);
    if (item.is_string()) run.charge(item.text().size() / 64);
    return container.dict().find(item) != nullptr;
  }
  const Work work = run.work();
  const auto matches = [&](const Value& each) { return equal(each, item, work); };
  if (container.is_sequence() && container.sequence().kind != SequenceKind::generator) {
    const auto& items = container.sequence().items;
    if (container.sequence().kind == SequenceKind::keys) check_hashable(item);
    return std::any_of(items.begin(), items.end(), matches);
  }
  const std::vector<Value> items = iterate(run, container);
  return std::any_of(items.begin(), items.end(), matches);
}

}  // namespace assay::jinja
