// What statements do: print, branch, loop and assign.
#include "jinja/run.h"

namespace assay::jinja {

namespace {

ScopePointer inner_scope(const ScopePointer& scope) {
  auto made = std::make_shared<Scope>();
  made->parent = scope;
  return made;
}

void assign_to(Run& run, const Expression& target, Value value, const ScopePointer& scope) {
  if (target.kind == ExpressionKind::name) {
    assign_variable(run, *scope, target.text, std::move(value));
    return;
  }
  if (target.kind == ExpressionKind::attribute) {
    const Value owner = evaluate(run, *target.children[0], scope);
    const auto* space = std::get_if<std::shared_ptr<Namespace>>(&owner.data);
    if (!space) fail("can't assign an attribute of what isn't a namespace", target.place);
    assign((*space)->attributes, target.text, std::move(value));
    return;
  }
  const std::vector<Value> parts = iterate(run, value);
  if (parts.size() != target.children.size()) {
    fail("can't unpack " + std::to_string(parts.size()) + " values into " +
             std::to_string(target.children.size()) + " names",
         target.place);
  }
  for (uint64_t i = 0; i < parts.size(); ++i) assign_to(run, *target.children[i], parts[i], scope);
}

/// The items for which the loop's own condition holds; it sees the target, but not `loop`.
std::vector<Value> filtered(Run& run, const Statement& loop, std::vector<Value> items,
                            const ScopePointer& scope) {
  std::vector<Value> kept;
  for (Value& item : items) {
    const ScopePointer inside = inner_scope(scope);
    assign_to(run, *loop.target, item, inside);
    if (is_true(evaluate(run, *loop.test, inside))) kept.push_back(std::move(item));
  }
  return kept;
}

Flow run_loop(Run& run, const Statement& statement, const Value& iterable,
              const ScopePointer& scope, uint64_t level) {
  std::vector<Value> items = iterate(run, iterable);
  if (statement.test) items = filtered(run, statement, std::move(items), scope);
  if (items.empty()) return execute(run, statement.otherwise, inner_scope(scope));
  auto loop = std::make_shared<Loop>();
  loop->items = make_list(std::move(items)).as<SequencePointer>();
  loop->depth = level;
  if (statement.recursive) {
    loop->recursive = &statement;
    loop->scope = scope;
    run.captured.push_back(scope);
  }
  // One scope for all rounds: a macro kept from an earlier one sees the current one's variables.
  const ScopePointer inside = inner_scope(scope);
  for (; loop->index < loop->length(); ++loop->index) {
    run.charge(1);
    inside->variables.clear();
    inside->variables.emplace_back("loop", Value{loop});
    assign_to(run, *statement.target, loop->items->items[loop->index], inside);
    if (execute(run, statement.body, inside) == Flow::break_loop) break;
  }
  return Flow::on;
}

Flow run_condition(Run& run, const Statement& statement, const ScopePointer& scope) {
  for (const Branch& branch : statement.branches) {
    if (is_true(evaluate(run, *branch.condition, scope))) return execute(run, branch.body, scope);
  }
  return execute(run, statement.otherwise, scope);
}

void run_set_block(Run& run, const Statement& statement, const ScopePointer& scope) {
  Value text = rendered(run, statement.body, inner_scope(scope));
  if (statement.value) text = evaluate_filter(run, *statement.value, std::move(text), scope);
  assign_to(run, *statement.target, std::move(text), scope);
}

Flow run_with(Run& run, const Statement& statement, const ScopePointer& scope) {
  const ScopePointer inside = inner_scope(scope);
  for (const Parameter& one : statement.parameters) {
    assign_variable(run, *inside, one.name->text, evaluate(run, *one.value, scope));
  }
  return execute(run, statement.body, inside);
}

void run_call_block(Run& run, const Statement& statement, const ScopePointer& scope) {
  const Value callee = evaluate(run, *statement.value->children[0], scope);
  Call call = evaluate_arguments(run, statement.value->arguments, scope);
  call.keywords.emplace_back("caller", make_macro(run, statement, scope));
  run.place = statement.place;
  run.print(run.str(call_value(run, callee, call)));
}

void run_output(Run& run, const Statement& statement, const ScopePointer& scope) {
  const Value value = evaluate(run, *statement.value, scope);
  if (value.is_string()) {
    run.print(value.string());
  } else {
    run.print(run.str(value));
  }
}

Flow execute_one(Run& run, const Statement& statement, const ScopePointer& scope) {
  run.place = statement.place;
  run.charge(1);
  switch (statement.kind) {
    case StatementKind::text:
      run.print(Text(statement.text));
      break;
    case StatementKind::output:
      run_output(run, statement, scope);
      break;
    case StatementKind::for_loop:
      return run_loop(run, statement, evaluate(run, *statement.value, scope), scope, 0);
    case StatementKind::condition:
      return run_condition(run, statement, scope);
    case StatementKind::set:
      assign_to(run, *statement.target, evaluate(run, *statement.value, scope), scope);
      break;
    case StatementKind::set_block:
      run_set_block(run, statement, scope);
      break;
    case StatementKind::with:
      return run_with(run, statement, scope);
    case StatementKind::macro:
      assign_variable(run, *scope, statement.text, make_macro(run, statement, scope));
      break;
    case StatementKind::call_block:
      run_call_block(run, statement, scope);
      break;
    case StatementKind::filter_block: {
      Value text = rendered(run, statement.body, inner_scope(scope));
      run.print(run.str(evaluate_filter(run, *statement.value, std::move(text), scope)));
      break;
    }
    case StatementKind::generation:
      run.print(rendered(run, statement.body, inner_scope(scope)).string());
      break;
    case StatementKind::break_loop:
      return Flow::break_loop;
    case StatementKind::continue_loop:
      return Flow::continue_loop;
  }
  return Flow::on;
}

}  // namespace

Flow execute(Run& run, const std::vector<Statement>& body, const ScopePointer& scope) {
  const Nesting nesting(run);
  for (const Statement& statement : body) {
    const Flow flow = execute_one(run, statement, scope);
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Value rendered(Run& run, const std::vector<Statement>& body, const ScopePointer& scope) {
  Text text;
  Text* const around = std::exchange(run.out, &text);
  // Nothing prints after an error, so `out` needs no restoring then.
  execute(run, body, scope);
  run.out = around;
  return run.string(std::move(text));
}

Value recurse(Run& run, Loop& loop, Value items) {
  if (!loop.recursive) fail("this loop calls itself but isn't marked 'recursive'");
  Text text;
  Text* const around = std::exchange(run.out, &text);
  run_loop(run, *loop.recursive, items, loop.scope, loop.depth + 1);
  run.out = around;
  return run.string(std::move(text));
}

}  // namespace assay::jinja
