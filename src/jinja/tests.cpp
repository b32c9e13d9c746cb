// Tests (`x is NAME`), and the look-up of filters and tests.
#include "jinja/registry.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

using Kind = bool (*)(const Value&);

/// A test that only looks at the value.
template <Kind Holds>
Value plain(Call& call) {
  call.bind({});
  return Value{Holds(call.self)};
}

bool is_sequence_like(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is_dict() ||
         (value.is_sequence() && value.sequence().kind <= SequenceKind::range);
}
bool is_callable(const Value& value) {
  return value.is_undefined() || value.is<std::shared_ptr<Macro>>() ||
         value.is<std::shared_ptr<Function>>() || value.is<std::shared_ptr<Loop>>() ||
         value.is<std::shared_ptr<Joiner>>();
}

constexpr Kind defined = [](const Value& v) { return !v.is_undefined(); };
constexpr Kind not_defined = [](const Value& v) { return v.is_undefined(); };
constexpr Kind is_none = [](const Value& v) { return v.is_none(); };
constexpr Kind boolean = [](const Value& v) { return v.is<bool>(); };
constexpr Kind is_yes = [](const Value& v) { return v.is<bool>() && v.as<bool>(); };
constexpr Kind is_no = [](const Value& v) { return v.is<bool>() && !v.as<bool>(); };
constexpr Kind integer = [](const Value& v) { return v.is<int64_t>(); };
constexpr Kind real = [](const Value& v) { return v.is<double>(); };
constexpr Kind number = [](const Value& v) { return v.is_number(); };
constexpr Kind text = [](const Value& v) { return v.is_string(); };
constexpr Kind mapping = [](const Value& v) { return v.is_dict(); };
constexpr Kind escaped_text = [](const Value& v) { return v.is_string() && v.string().safe; };

/// value % divisor == 0, and == 1
bool leaves(Call& call, const Value& divisor, int64_t rest) {
  const Value left = arithmetic(call.run, Operator::modulo, call.self, divisor);
  return equal(left, Value{rest}, call.run.work());
}
Value test_odd(Call& call) {
  call.bind({});
  return Value{leaves(call, Value{int64_t{2}}, 1)};
}
Value test_even(Call& call) {
  call.bind({});
  return Value{leaves(call, Value{int64_t{2}}, 0)};
}
Value test_divisibleby(Call& call) {
  call.bind({"num"}, 1);
  return Value{leaves(call, call.at(0), 0)};
}

template <Operator Meaning>
Value comparison(Call& call) {
  call.bind({"other"}, 1);
  return Value{compare(call.run, Meaning, call.self, call.at(0))};
}

Value test_sameas(Call& call) {
  call.bind({"other"}, 1);
  return Value{identical(call.self, call.at(0))};
}

Value test_filter(Call& call) {
  call.bind({});
  check_hashable(call.self);
  return Value{call.self.is_string() && find_filter(call.self.text()) != nullptr};
}
Value test_test(Call& call) {
  call.bind({});
  check_hashable(call.self);
  return Value{call.self.is_string() && find_test(call.self.text()) != nullptr};
}

template <bool Upper>
Value cased(Call& call) {
  call.bind({});
  Call inner{call.run, call.name, make_string(soft_text(call)), {}, {}, {}};
  return find_method(inner.self, Upper ? "isupper" : "islower")(inner);
}

constexpr Named tests[] = {
    {"!=", comparison<Operator::unequal>},
    {"<", comparison<Operator::less>},
    {"<=", comparison<Operator::less_equal>},
    {"==", comparison<Operator::equal>},
    {">", comparison<Operator::greater>},
    {">=", comparison<Operator::greater_equal>},
    {"boolean", plain<boolean>},
    {"callable", plain<is_callable>},
    {"defined", plain<defined>},
    {"divisibleby", test_divisibleby},
    {"eq", comparison<Operator::equal>},
    {"equalto", comparison<Operator::equal>},
    {"escaped", plain<escaped_text>},
    {"even", test_even},
    {"false", plain<is_no>},
    {"filter", test_filter},
    {"float", plain<real>},
    {"ge", comparison<Operator::greater_equal>},
    {"greaterthan", comparison<Operator::greater>},
    {"gt", comparison<Operator::greater>},
    {"in", comparison<Operator::in>},
    {"integer", plain<integer>},
    {"iterable", plain<is_iterable>},
    {"le", comparison<Operator::less_equal>},
    {"lessthan", comparison<Operator::less>},
    {"lower", cased<false>},
    {"lt", comparison<Operator::less>},
    {"mapping", plain<mapping>},
    {"ne", comparison<Operator::unequal>},
    {"none", plain<is_none>},
    {"number", plain<number>},
    {"odd", test_odd},
    {"sameas", test_sameas},
    {"sequence", plain<is_sequence_like>},
    {"string", plain<text>},
    {"test", test_test},
    {"true", plain<is_yes>},
    {"undefined", plain<not_defined>},
    {"upper", cased<true>},
};

FunctionBody find_named(std::span<const Named> table, std::string_view name) {
  for (const Named& each : table) {
    if (each.name == name) return each.body;
  }
  return nullptr;
}

}  // namespace

FunctionBody find_filter(std::string_view name) {
  for (const auto table :
       {text_filters, format_filters, list_filters, order_filters, value_filters}) {
    if (const FunctionBody found = find_named(table(), name)) return found;
  }
  return nullptr;
}
FunctionBody find_test(std::string_view name) {
  return find_named(tests, name);
}

Value apply_filter(Run& run, std::string_view name, Value input, std::vector<Value> positional,
                   std::vector<std::pair<std::string, Value>> keywords) {
  const Nesting nesting(run);
  run.charge(1);
  const FunctionBody body = find_filter(name);
  if (!body) fail("no filter is named '" + std::string(name.substr(0, 100)) + "'");
  Call call{run, name, std::move(input), std::move(positional), std::move(keywords), {}};
  return body(call);
}

bool apply_test(Run& run, std::string_view name, Value input, std::vector<Value> positional,
                std::vector<std::pair<std::string, Value>> keywords) {
  const Nesting nesting(run);
  run.charge(1);
  const FunctionBody body = find_test(name);
  if (!body) fail("no test is named '" + std::string(name.substr(0, 100)) + "'");
  Call call{run, name, std::move(input), std::move(positional), std::move(keywords), {}};
  return is_true(body(call));
}

}  // namespace assay::jinja
