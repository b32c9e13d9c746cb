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

/// Whether both name the same variable or attribute of one.
bool same_place(const Expression& a, const Expression& b) {
  if (a.kind != b.kind || a.text != b.text) return false;
  return a.kind == ExpressionKind::name ||
         (a.kind == ExpressionKind::attribute && same_place(*a.children[0], *b.children[0]));
}

/// The operands that `x = x ~ a ~ b` and `x = x + a + b` put behind x; empty for other statements.
std::vector<const Expression*> tails_of(const Statement& statement) {
  const Expression& target = *statement.target;
  const Expression* value = statement.value.get();
  std::vector<const Expression*> tails;
  if (value->kind == ExpressionKind::concatenate) {
    for (uint64_t i = 1; i < value->children.size(); ++i) tails.push_back(value->children[i].get());
    value = value->children[0].get();
  } else {
    while (value->kind == ExpressionKind::arithmetic && value->operators[0] == Operator::add) {
      tails.insert(tails.begin(), value->children[1].get());
      value = value->children[0].get();
    }
  }
  return same_place(target, *value) ? tails : std::vector<const Expression*>();
}

/// The variable of this scope, or the attribute of a namespace, that the target names; null where
/// there is none yet.
Value* slot_of(Run& run, const Expression& target, const ScopePointer& scope) {
  if (target.kind == ExpressionKind::name) {
    for (auto& [name, value] : scope->variables) {
      if (name == target.text) return &value;
    }
    return nullptr;
  }
  if (target.kind != ExpressionKind::attribute || target.text.starts_with('_')) return nullptr;
  const Value owner = evaluate(run, *target.children[0], scope);
  const auto* space = std::get_if<std::shared_ptr<Namespace>>(&owner.data);
  return space ? const_cast<Value*>((*space)->attributes.find(target.text)) : nullptr;
}

bool is_list(const Value& value) {
  return value.is_sequence() && value.sequence().kind == SequenceKind::list;
}

/// Whether both hold the same string or list, not only equal ones.
bool is_same(const Value& a, const Value& b) {
  if (a.data.index() != b.data.index()) return false;
  return a.is_string() ? a.as<StringPointer>() == b.as<StringPointer>()
                       : a.as<SequencePointer>() == b.as<SequencePointer>();
}

/// `x = x + a` where x is a string or list that nobody else holds: a loop that collects a long text
/// would take the square of its length if each round copied it. False where nothing was done.
bool extend(Run& run, const Statement& statement, const ScopePointer& scope) {
  const std::vector<const Expression*> tails = tails_of(statement);
  if (tails.empty()) return false;
  const Nesting nesting(run);
  const bool joins = statement.value->kind == ExpressionKind::concatenate;
  Value* slot = slot_of(run, *statement.target, scope);
  if (!slot || !(slot->is_string() ? !slot->string().safe : is_list(*slot) && !joins)) return false;
  Value whole = *slot;
  std::vector<Value> parts;
  bool fits = true;
  for (const Expression* tail : tails) {
    parts.push_back(evaluate(run, *tail, scope));
    const Value& part = parts.back();
    fits = fits &&
           (joins || (whole.is_string() ? part.is_string() && !part.string().safe : is_list(part)));
  }
  // The operands may have changed what they are put behind; and they may hold it.
  slot = slot_of(run, *statement.target, scope);
  const auto owners = [&] {
    return whole.is_string() ? whole.as<StringPointer>().use_count()
                             : whole.as<SequencePointer>().use_count();
  };
  if (!fits || !slot || !is_same(*slot, whole) || owners() != 2) {
    run.place = statement.value->place;
    for (Value& part : parts) {
      if (joins) {
        Text text;
        append_str(text, whole, run);
        append_str(text, part, run);
        whole = run.string(std::move(text));
      } else {
        whole = arithmetic(run, Operator::add, whole, part);
      }
    }
    assign_to(run, *statement.target, std::move(whole), scope);
    return true;
  }
  *slot = none();
  for (const Value& part : parts) {
    if (whole.is_string()) {
      const Text text = run.str(part);
      run.charge_bytes(text.size());
      append(whole.as<StringPointer>(), text);
    } else {
      run.charge_items(part.sequence().items.size());
      append(whole.as<SequencePointer>(), part.sequence().items);
    }
  }
  if (whole.is_string() && whole.text().size() > run.limits.value_bytes) {
    run.charge_bytes(whole.text().size());
  }
  if (is_list(whole) && whole.sequence().items.size() > run.limits.list_items) {
    run.charge_items(whole.sequence().items.size());
  }
  *slot = std::move(whole);
  return true;
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
      if (!extend(run, statement, scope)) {
        assign_to(run, *statement.target, evaluate(run, *statement.value, scope), scope);
      }
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
  return run.printed([&] { execute(run, body, scope); });
}

Value recurse(Run& run, Loop& loop, Value items) {
  if (!loop.recursive) fail("this loop calls itself but isn't marked 'recursive'");
  return run.printed([&] { run_loop(run, *loop.recursive, items, loop.scope, loop.depth + 1); });
}

}  // namespace assay::jinja
