// Filters and tests by name, once after parsing. Jinja lets an unknown name pass inside of an `if`
// or an inline if, where a template may have asked whether it exists.
#include "jinja/ast.h"
#include "jinja/run.h"

namespace assay::jinja {

namespace {

void resolve(Expression* expression, bool soft) {
  if (!expression) return;
  const bool inside = soft || expression->kind == ExpressionKind::conditional;
  if (expression->kind == ExpressionKind::filter || expression->kind == ExpressionKind::test) {
    const bool filter = expression->kind == ExpressionKind::filter;
    expression->function = filter ? find_filter(expression->text) : find_test(expression->text);
    if (!expression->function && !soft) refuse_name(*expression);
  }
  for (const ExpressionPointer& child : expression->children) resolve(child.get(), inside);
  const Arguments& arguments = expression->arguments;
  for (const ExpressionPointer& each : arguments.positional) resolve(each.get(), inside);
  for (const auto& each : arguments.keywords) resolve(each.second.get(), inside);
  resolve(arguments.more_positional.get(), inside);
  resolve(arguments.more_keywords.get(), inside);
}

void resolve(std::vector<Statement>& body, bool soft) {
  for (Statement& each : body) {
    const bool condition = each.kind == StatementKind::condition;
    resolve(each.target.get(), soft);
    resolve(each.value.get(), soft);
    resolve(each.test.get(), false);
    for (Parameter& one : each.parameters) resolve(one.value.get(), soft);
    for (Branch& branch : each.branches) {
      resolve(branch.condition.get(), true);
      resolve(branch.body, true);
    }
    // A body with a scope of its own is checked again even inside of an `if`.
    resolve(each.body, false);
    resolve(each.otherwise, condition);
  }
}

}  // namespace

void refuse_name(const Expression& unknown) {
  if (unknown.kind == ExpressionKind::filter) refuse_filter(unknown.text, unknown.place);
  refuse_test(unknown.text, unknown.place);
}

void resolve_names(std::vector<Statement>& body) {
  resolve(body, false);
}

}  // namespace assay::jinja
