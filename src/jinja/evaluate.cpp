// The value of an expression.
#include "jinja/run.h"

namespace assay::jinja {

namespace {

using Children = std::vector<ExpressionPointer>;

std::vector<Value> evaluate_all(Run& run, const Children& children, const ScopePointer& scope) {
  std::vector<Value> values;
  values.reserve(children.size());
  for (const ExpressionPointer& child : children) values.push_back(evaluate(run, *child, scope));
  return values;
}

Value evaluate_name(Run& run, const Expression& expression, const ScopePointer& scope) {
  if (const Value* found = find_variable(run, *scope, expression.text)) return *found;
  if (const Value* found = find_global(expression.text)) return *found;
  return undefined("'" + expression.text + "' is undefined");
}

Value evaluate_dict(Run& run, const Children& children, const ScopePointer& scope) {
  std::vector<std::pair<Value, Value>> entries;
  for (uint64_t i = 0; i + 1 < children.size(); i += 2) {
    Value key = evaluate(run, *children[i], scope);
    entries.emplace_back(std::move(key), evaluate(run, *children[i + 1], scope));
  }
  return run.dict(std::move(entries));
}

Value evaluate_item(Run& run, const Children& children, const ScopePointer& scope) {
  const Value object = evaluate(run, *children[0], scope);
  return get_item(run, object, evaluate(run, *children[1], scope));
}

Value evaluate_slice(Run& run, const Children& children, const ScopePointer& scope) {
  const Value object = evaluate(run, *children[0], scope);
  std::optional<int64_t> bounds[3];
  for (int i = 0; i < 3; ++i) {
    if (!children[i + 1]) continue;
    const Value bound = evaluate(run, *children[i + 1], scope);
    if (bound.is_none()) continue;
    if (bound.is_undefined()) fail_undefined(bound);
    check_fits(bound);
    if (!bound.is_integer()) {
      fail("a slice needs integers, not a '" + std::string(type_name(bound)) + "'");
    }
    bounds[i] = bound.integer();
  }
  return get_slice(run, object, bounds);
}

Value evaluate_compare(Run& run, const Expression& expression, const ScopePointer& scope) {
  Value left = evaluate(run, *expression.children[0], scope);
  for (uint64_t i = 0; i < expression.operators.size(); ++i) {
    Value right = evaluate(run, *expression.children[i + 1], scope);
    run.place = expression.place;
    if (!compare(run, expression.operators[i], left, right)) return Value{false};
    left = std::move(right);
  }
  return Value{true};
}

Value evaluate_concatenate(Run& run, const Children& children, const ScopePointer& scope) {
  Text text;
  for (const ExpressionPointer& child : children) {
    append_str(text, evaluate(run, *child, scope), run);
    if (text.size() > run.limits.value_bytes) run.charge_bytes(text.size());
  }
  return run.string(std::move(text));
}

Value evaluate_call(Run& run, const Expression& expression, const ScopePointer& scope) {
  const Value callee = evaluate(run, *expression.children[0], scope);
  Call call = evaluate_arguments(run, expression.arguments, scope);
  run.place = expression.place;
  return call_value(run, callee, call);
}

Value evaluate_conditional(Run& run, const Children& children, const ScopePointer& scope) {
  if (is_true(evaluate(run, *children[0], scope))) return evaluate(run, *children[1], scope);
  if (children[2]) return evaluate(run, *children[2], scope);
  return undefined("the inline if-expression is false and has no else section");
}

Value call_filter_or_test(Run& run, const Expression& expression, Value input,
                          const ScopePointer& scope) {
  if (!expression.function) refuse_name(expression);
  Call call = evaluate_arguments(run, expression.arguments, scope);
  run.place = expression.place;
  call.name = expression.text;
  call.self = std::move(input);
  return expression.function(call);
}

Value evaluate_arithmetic(Run& run, const Expression& expression, const ScopePointer& scope) {
  const Value left = evaluate(run, *expression.children[0], scope);
  const Value right = evaluate(run, *expression.children[1], scope);
  run.place = expression.place;
  return arithmetic(run, expression.operators[0], left, right);
}

Value positive(const Value& value) {
  if (value.is_undefined()) fail_undefined(value);
  if (value.is<double>() || value.is_big()) return value;
  if (!value.is_integer()) fail("'+' doesn't take a '" + std::string(type_name(value)) + "'");
  return Value{value.integer()};
}

}  // namespace

const Value* find_variable(Run& run, const Scope& scope, std::string_view name) {
  for (const Scope* each = &scope; each; each = each->parent.get()) {
    run.charge(1 + each->variables.size() / 8);
    for (const auto& [known, value] : each->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

void assign_variable(Run& run, Scope& scope, const std::string& name, Value value) {
  run.charge(1 + scope.variables.size() / 8);
  for (auto& [known, old] : scope.variables) {
    if (known == name) {
      old = std::move(value);
      return;
    }
  }
  scope.variables.emplace_back(name, std::move(value));
}

Value evaluate_filter(Run& run, const Expression& filter, Value input, const ScopePointer& scope) {
  const Nesting nesting(run);
  // The innermost filter of a block has no child: the block's text takes its place.
  const ExpressionPointer& inner = filter.children[0];
  if (inner) input = evaluate_filter(run, *inner, std::move(input), scope);
  return call_filter_or_test(run, filter, std::move(input), scope);
}

Value evaluate(Run& run, const Expression& expression, const ScopePointer& scope) {
  const Nesting nesting(run);
  run.place = expression.place;
  run.charge(1);
  const Children& children = expression.children;
  const auto child = [&](uint64_t i) { return evaluate(run, *children[i], scope); };
  switch (expression.kind) {
    case ExpressionKind::constant:
      return expression.value;
    case ExpressionKind::name:
      return evaluate_name(run, expression, scope);
    case ExpressionKind::tuple:
      return run.tuple(evaluate_all(run, children, scope));
    case ExpressionKind::list:
      return run.list(evaluate_all(run, children, scope));
    case ExpressionKind::dict:
      return evaluate_dict(run, children, scope);
    case ExpressionKind::attribute:
      return get_attribute(run, child(0), expression.text);
    case ExpressionKind::item:
      return evaluate_item(run, children, scope);
    case ExpressionKind::slice:
      return evaluate_slice(run, children, scope);
    case ExpressionKind::call:
      return evaluate_call(run, expression, scope);
    case ExpressionKind::filter:
    case ExpressionKind::test:
      return call_filter_or_test(run, expression, child(0), scope);
    case ExpressionKind::negative:
      return negative(child(0));
    case ExpressionKind::positive:
      return positive(child(0));
    case ExpressionKind::negation:
      return Value{!is_true(child(0))};
    case ExpressionKind::arithmetic:
      return evaluate_arithmetic(run, expression, scope);
    case ExpressionKind::concatenate:
      return evaluate_concatenate(run, children, scope);
    case ExpressionKind::compare:
      return evaluate_compare(run, expression, scope);
    case ExpressionKind::both:
    case ExpressionKind::either: {
      Value left = child(0);
      return is_true(left) == (expression.kind == ExpressionKind::both) ? child(1) : left;
    }
    case ExpressionKind::conditional:
      return evaluate_conditional(run, children, scope);
  }
  fail("an expression of an unknown kind", expression.place);
}

}  // namespace assay::jinja
