#include "jinja/run.h"

namespace assay::jinja {

Run::~Run() {
  // One at a time, while the lists keep every owner alive: destructors don't recurse along chains.
  for (const auto& each : namespaces) each->attributes = {};
  for (const auto& each : captured) each->variables.clear();
  for (const auto& each : changed_loops) each->changed.reset();
  current_meter = outer_meter;
}

void Work::add(uint64_t steps) const {
  if (run) run->charge(steps);
}

void Run::charge_bytes(uint64_t bytes) {
  if (bytes > limits.value_bytes) {
    fail("a string of " + std::to_string(bytes) + " bytes is longer than the limit of " +
             std::to_string(limits.value_bytes),
         place);
  }
  charge(bytes / 16);
}

void Run::charge_items(uint64_t items) {
  if (items > limits.list_items) {
    fail("a list of " + std::to_string(items) + " items is longer than the limit of " +
             std::to_string(limits.list_items),
         place);
  }
  charge(items);
}

Value Run::string(Text text) {
  charge_bytes(text.size());
  return make_string(std::move(text));
}
Value Run::list(std::vector<Value> items) {
  charge_items(items.size());
  return make_list(std::move(items));
}
Value Run::tuple(std::vector<Value> items) {
  charge_items(items.size());
  return make_tuple(std::move(items));
}
Value Run::generator(std::vector<Value> items) {
  charge_items(items.size());
  return make_generator(std::move(items));
}
Value Run::dict(std::vector<std::pair<Value, Value>> entries) {
  charge_items(entries.size());
  return make_dict(std::move(entries));
}

Text Run::str(const Value& value) {
  Text text;
  append_str(text, value, *this);
  return text;
}
Text Run::repr(const Value& value) {
  Text text;
  append_repr(text, value, *this);
  return text;
}

void Run::print(const Text& text) {
  if (text.size() > limits.output_bytes - std::min<uint64_t>(out->size(), limits.output_bytes)) {
    fail("the output is longer than the limit of " + std::to_string(limits.output_bytes) + " bytes",
         place);
  }
  charge(text.size() / 64);
  meter.add(text.size());
  *out += text;
}

void Call::bind(std::initializer_list<std::string_view> names, uint64_t required) {
  const auto who = [&] { return "'" + std::string(name) + "'"; };
  if (positional.size() > names.size()) {
    fail(who() + " takes at most " + std::to_string(names.size()) + " arguments, not " +
         std::to_string(positional.size()));
  }
  bound.assign(names.size(), std::nullopt);
  for (uint64_t i = 0; i < positional.size(); ++i) bound[i] = positional[i];
  for (const auto& [key, value] : keywords) {
    uint64_t i = 0;
    while (i < names.size() && names.begin()[i] != key.bytes) ++i;
    if (i == names.size()) fail(who() + " takes no argument '" + key.bytes + "'");
    if (bound[i]) fail(who() + " got its argument '" + key.bytes + "' twice");
    bound[i] = value;
  }
  for (uint64_t i = 0; i < required; ++i) {
    if (!bound[i]) fail(who() + " needs its argument '" + std::string(names.begin()[i]) + "'");
  }
}

int64_t Call::integer(uint64_t i, int64_t otherwise) const {
  if (!has(i)) return otherwise;
  if (at(i).is_undefined()) fail_undefined(at(i));
  check_fits(at(i));
  if (!at(i).is_integer()) {
    fail("'" + std::string(name) + "' needs an integer, not a " + std::string(type_name(at(i))));
  }
  return at(i).integer();
}

const String& Call::string(uint64_t i) const {
  if (at(i).is_undefined()) fail_undefined(at(i));
  if (!at(i).is_string()) {
    fail("'" + std::string(name) + "' needs a string, not a " + std::string(type_name(at(i))));
  }
  return at(i).string();
}

}  // namespace assay::jinja
