// Tests (`x is NAME`), and the look-up of filters and tests.
#include <set>

#include "jinja/registry.h"

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

constexpr Kind defined = [](const Value& v) { return !v.is_undefined(); };
constexpr Kind not_defined = [](const Value& v) { return v.is_undefined(); };
constexpr Kind is_none = [](const Value& v) { return v.is_none(); };
constexpr Kind boolean = [](const Value& v) { return v.is<bool>(); };
constexpr Kind is_yes = [](const Value& v) { return v.is<bool>() && v.as<bool>(); };
constexpr Kind is_no = [](const Value& v) { return v.is<bool>() && !v.as<bool>(); };
constexpr Kind integer = [](const Value& v) { return v.is<int64_t>() || v.is_big(); };
constexpr Kind real = [](const Value& v) { return v.is<double>(); };
constexpr Kind number = [](const Value& v) { return v.is_number(); };
constexpr Kind text = [](const Value& v) { return v.is_string(); };
constexpr Kind mapping = [](const Value& v) { return v.is_dict(); };
constexpr Kind escaped_text = [](const Value& v) { return v.is_string() && v.string().safe; };

/// value % 2 == Rest
template <int64_t Rest>
Value leaves(Call& call) {
  call.bind({});
  const Value rest = arithmetic(call.run, Operator::modulo, call.self, Value{int64_t{2}});
  return Value{equal(rest, Value{Rest}, call.run.work())};
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

constexpr Named tests[] = {
    {"!=", comparison<Operator::unequal>},
    {"<", comparison<Operator::less>},
    {"<=", comparison<Operator::less_equal>},
    {"==", comparison<Operator::equal>},
    {">", comparison<Operator::greater>},
    {">=", comparison<Operator::greater_equal>},
    {"boolean", plain<boolean>},
    {"defined", plain<defined>},
    {"eq", comparison<Operator::equal>},
    {"equalto", comparison<Operator::equal>},
    {"escaped", plain<escaped_text>},
    {"even", leaves<0>},
    {"false", plain<is_no>},
    {"float", plain<real>},
    {"ge", comparison<Operator::greater_equal>},
    {"greaterthan", comparison<Operator::greater>},
    {"gt", comparison<Operator::greater>},
    {"in", comparison<Operator::in>},
    {"integer", plain<integer>},
    {"iterable", plain<is_iterable>},
    {"le", comparison<Operator::less_equal>},
    {"lessthan", comparison<Operator::less>},
    {"lt", comparison<Operator::less>},
    {"mapping", plain<mapping>},
    {"ne", comparison<Operator::unequal>},
    {"none", plain<is_none>},
    {"number", plain<number>},
    {"odd", leaves<1>},
    {"sameas", test_sameas},
    {"sequence", plain<is_sequence_like>},
    {"string", plain<text>},
    {"true", plain<is_yes>},
    {"undefined", plain<not_defined>},
};

}  // namespace

FunctionBody find_named(std::span<const Named> table, std::string_view name) {
  for (const Named& each : table) {
    if (each.name == name) return each.body;
  }
  return nullptr;
}

std::string names_of(std::initializer_list<std::span<const Named>> tables) {
  std::set<std::string_view> names;
  for (const auto& table : tables) {
    for (const Named& each : table) names.insert(each.name);
  }
  std::string text;
  for (const std::string_view name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

FunctionBody find_filter(std::string_view name) {
  for (const auto table : {text_filters, list_filters, order_filters, value_filters}) {
    if (const FunctionBody found = find_named(table(), name)) return found;
  }
  return nullptr;
}
FunctionBody find_test(std::string_view name) {
  return find_named(tests, name);
}

void refuse_filter(std::string_view name, Place place) {
  fail("the filter '" + std::string(name.substr(0, 100)) + "' is not supported; supported: " +
           names_of({text_filters(), list_filters(), order_filters(), value_filters()}),
       place);
}
void refuse_test(std::string_view name, Place place) {
  fail("the test '" + std::string(name.substr(0, 100)) +
           "' is not supported; supported: " + names_of({tests}),
       place);
}

Value apply_filter(Run& run, std::string_view name, Value input, std::vector<Value> positional,
                   std::vector<std::pair<Text, Value>> keywords) {
  const Nesting nesting(run);
  run.charge(1);
  const FunctionBody body = find_filter(name);
  if (!body) refuse_filter(name, run.place);
  Call call{run, name, std::move(input), std::move(positional), std::move(keywords), {}};
  return body(call);
}

bool apply_test(Run& run, std::string_view name, Value input, std::vector<Value> positional,
                std::vector<std::pair<Text, Value>> keywords) {
  const Nesting nesting(run);
  run.charge(1);
  const FunctionBody body = find_test(name);
  if (!body) refuse_test(name, run.place);
  Call call{run, name, std::move(input), std::move(positional), std::move(keywords), {}};
  return is_true(body(call));
}

}  // namespace assay::jinja
