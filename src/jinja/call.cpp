// Calls: macros, functions of ours, and loops that call themselves.
#include "jinja/run.h"

namespace assay::jinja {

namespace {

std::string in_quotes(std::string_view name) {
  return "'" + std::string(name) + "'";
}

/// Takes the argument of this name out of the keywords; empty where it isn't there.
std::optional<Value> take_keyword(Call& call, std::string_view name) {
  for (auto each = call.keywords.begin(); each != call.keywords.end(); ++each) {
    if (each->first.bytes != name) continue;
    Value value = std::move(each->second);
    call.keywords.erase(each);
    return value;
  }
  return std::nullopt;
}

/// `caller`, `kwargs` and `varargs`, where the body mentions them; fails for what is left over.
void bind_rest(Run& run, const Macro& macro, Call& call, Scope& scope) {
  const Statement& definition = *macro.definition;
  const uint64_t count = definition.parameters.size();
  if (macro.uses_caller) {
    std::optional<Value> caller = take_keyword(call, "caller");
    scope.variables.emplace_back("caller",
                                 caller ? std::move(*caller) : undefined("no caller defined"));
  }
  if (macro.uses_kwargs) {
    std::vector<std::pair<Value, Value>> entries;
    for (auto& [name, value] : call.keywords) {
      entries.emplace_back(make_string(name), std::move(value));
    }
    scope.variables.emplace_back("kwargs", run.dict(std::move(entries)));
  } else if (!call.keywords.empty()) {
    fail("macro " + in_quotes(definition.text) + " takes no keyword argument " +
         in_quotes(call.keywords[0].first.bytes));
  }
  if (macro.uses_varargs) {
    std::vector<Value> rest;
    for (uint64_t i = count; i < call.positional.size(); ++i) rest.push_back(call.positional[i]);
    scope.variables.emplace_back("varargs", run.tuple(std::move(rest)));
  } else if (call.positional.size() > count) {
    fail("macro " + in_quotes(definition.text) + " takes not more than " + std::to_string(count) +
         " arguments");
  }
}

Value call_macro(Run& run, const Macro& macro, Call& call) {
  const Statement& definition = *macro.definition;
  auto scope = std::make_shared<Scope>();
  scope->parent = macro.scope;
  std::vector<std::optional<Value>> given;
  for (uint64_t i = 0; i < definition.parameters.size(); ++i) {
    if (i < call.positional.size()) {
      given.push_back(call.positional[i]);
    } else {
      given.push_back(take_keyword(call, definition.parameters[i].name->text));
    }
  }
  bind_rest(run, macro, call, *scope);
  for (uint64_t i = 0; i < definition.parameters.size(); ++i) {
    const Parameter& one = definition.parameters[i];
    const std::string& name = one.name->text;
    if (!given[i]) {
      given[i] = one.value ? evaluate(run, *one.value, scope)
                           : undefined("parameter " + in_quotes(name) + " was not provided");
    }
    assign_variable(run, *scope, name, std::move(*given[i]));
  }
  return rendered(run, definition.body, scope);
}

}  // namespace

Value make_macro(Run& run, const Statement& definition, const ScopePointer& scope) {
  run.meter.add(200);
  run.captured.push_back(scope);
  return Value{std::make_shared<Macro>(Macro{&definition, scope, definition.uses_caller,
                                             definition.uses_varargs, definition.uses_kwargs})};
}

Call evaluate_arguments(Run& run, const Arguments& arguments, const ScopePointer& scope) {
  Call call{run, {}, {}, {}, {}, {}};
  for (const ExpressionPointer& each : arguments.positional) {
    call.positional.push_back(evaluate(run, *each, scope));
  }
  for (const auto& [name, expression] : arguments.keywords) {
    call.keywords.emplace_back(name, evaluate(run, *expression, scope));
  }
  if (arguments.more_positional) {
    const std::vector<Value> more = iterate(run, evaluate(run, *arguments.more_positional, scope));
    call.positional.insert(call.positional.end(), more.begin(), more.end());
  }
  if (arguments.more_keywords) {
    const Value more = evaluate(run, *arguments.more_keywords, scope);
    if (!more.is_dict()) fail("'**' needs a dict, not a '" + std::string(type_name(more)) + "'");
    run.charge_items(more.dict().entries.size());
    for (const auto& [key, value] : more.dict().entries) {
      if (!key.is_string()) fail("the names of arguments must be strings");
      call.keywords.emplace_back(key.string(), value);
    }
  }
  return call;
}

Value call_value(Run& run, const Value& callee, Call& call) {
  const Nesting nesting(run);
  if (callee.is_undefined()) fail_undefined(callee);
  if (const auto* macro = std::get_if<std::shared_ptr<Macro>>(&callee.data)) {
    return call_macro(run, **macro, call);
  }
  if (const auto* function = std::get_if<std::shared_ptr<Function>>(&callee.data)) {
    call.name = (*function)->name;
    call.self = (*function)->self;
    return (*function)->body(call);
  }
  if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&callee.data)) {
    if (call.positional.size() != 1 || !call.keywords.empty()) {
      fail("'loop' takes one argument when it calls itself");
    }
    return recurse(run, **loop, call.positional[0]);
  }
  fail("a '" + std::string(type_name(callee)) + "' can't be called");
}

}  // namespace assay::jinja
