// What may follow a value: attributes, items, calls, filters, tests; and targets of assignments.
#include <algorithm>

#include "jinja/parser.h"

namespace assay::jinja {

ExpressionPointer Parser::postfix(ExpressionPointer value) {
  while (true) {
    if (at_symbol(".")) {
      value = attribute(std::move(value));
    } else if (at_symbol("[")) {
      value = subscript(std::move(value));
    } else if (at_symbol("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPointer Parser::filters(ExpressionPointer value) {
  while (true) {
    if (at_symbol("|")) {
      take();
      value = filter(std::move(value));
    } else if (at_name("is")) {
      value = test(std::move(value));
    } else if (at_symbol("(")) {
      value = call(std::move(value));
    } else {
      return value;
    }
  }
}

ExpressionPointer Parser::attribute(ExpressionPointer value) {
  ExpressionPointer made = node(ExpressionKind::attribute);
  take();
  adopt(*made, std::move(value));
  if (current().kind == TokenKind::name) {
    made->text = take().text;
  } else if (current().kind == TokenKind::integer) {
    made->kind = ExpressionKind::item;
    ExpressionPointer index = node(ExpressionKind::constant);
    index->value = Value{take().integer};
    adopt(*made, std::move(index));
  } else {
    unexpected("a name or a number after '.'");
  }
  return made;
}

/// [i], [a, b] (a tuple as key) or [start:stop:step]
ExpressionPointer Parser::subscript(ExpressionPointer value) {
  ExpressionPointer made = node(ExpressionKind::item);
  take();
  adopt(*made, std::move(value));
  const auto part_ends = [&] { return at_symbol(":") || at_symbol("]") || at_symbol(","); };
  ExpressionPointer first = at_symbol(":") ? nullptr : expression();
  if (at_symbol(":")) {
    made->kind = ExpressionKind::slice;
    adopt(*made, std::move(first));
    for (int i = 0; i < 2; ++i) {
      adopt(*made, skip_symbol(":") && !part_ends() ? expression() : nullptr);
    }
  } else if (at_symbol(",")) {
    ExpressionPointer key = node(ExpressionKind::tuple);
    adopt(*key, std::move(first));
    while (skip_symbol(",")) adopt(*key, expression());
    adopt(*made, std::move(key));
  } else {
    adopt(*made, std::move(first));
  }
  expect_symbol("]");
  return made;
}

ExpressionPointer Parser::call(ExpressionPointer value) {
  ExpressionPointer made = node(ExpressionKind::call);
  adopt(*made, std::move(value));
  arguments(*made);
  return made;
}

void Parser::arguments(Expression& owner) {
  Arguments& made = owner.arguments;
  expect_symbol("(");
  const auto checked = [&](ExpressionPointer value) {
    owner.depth = std::max(owner.depth, value->depth + 1);
    return value;
  };
  for (bool first = true; !at_symbol(")"); first = false) {
    if (!first) {
      expect_symbol(",");
      if (at_symbol(")")) break;
    }
    const bool named = current().kind == TokenKind::name && ahead().kind == TokenKind::symbol &&
                       ahead().text == "=";
    const bool after_more = made.more_positional || made.more_keywords;
    if (at_symbol("*") && !after_more) {
      take();
      made.more_positional = checked(expression());
    } else if (at_symbol("**") && !made.more_keywords) {
      take();
      made.more_keywords = checked(expression());
    } else if (named && !made.more_keywords) {
      std::string name = take().text;
      take();
      made.keywords.emplace_back(std::move(name), checked(expression()));
    } else if (made.keywords.empty() && !after_more) {
      made.positional.push_back(checked(expression()));
    } else {
      fail("an argument without a name follows one with a name", current().place);
    }
  }
  expect_symbol(")");
}

std::string Parser::dotted_name(std::string_view what) {
  std::string name = expect_name(what);
  while (skip_symbol(".")) name += "." + expect_name(what);
  return name;
}

ExpressionPointer Parser::filter(ExpressionPointer value) {
  ExpressionPointer made = node(ExpressionKind::filter);
  made->text = dotted_name("the name of a filter");
  adopt(*made, std::move(value));
  if (at_symbol("(")) arguments(*made);
  return made;
}

ExpressionPointer Parser::test(ExpressionPointer value) {
  ExpressionPointer made = node(ExpressionKind::test);
  take();
  const bool negated = skip_name("not");
  made->text = dotted_name("the name of a test");
  adopt(*made, std::move(value));
  const Token& next = current();
  const bool word = next.kind == TokenKind::name && next.text != "else" && next.text != "or" &&
                    next.text != "and";
  if (at_symbol("(")) {
    arguments(*made);
  } else if (word || next.kind == TokenKind::string || next.kind == TokenKind::integer ||
             next.kind == TokenKind::real || at_symbol("[") || at_symbol("{")) {
    if (at_name("is")) fail("tests can't be chained with 'is'", next.place);
    const ParseLevel level(*this);
    ExpressionPointer argument = postfix(primary());
    made->depth = std::max(made->depth, argument->depth + 1);
    made->arguments.positional.push_back(std::move(argument));
  }
  if (!negated) return made;
  ExpressionPointer inverted = node(ExpressionKind::negation);
  adopt(*inverted, std::move(made));
  return inverted;
}

ExpressionPointer Parser::assignment_target(bool attributes, bool tuples) {
  const ParseLevel level(*this);
  const auto one = [&] {
    if (tuples && skip_symbol("(")) {
      ExpressionPointer inside = assignment_target(attributes, true);
      expect_symbol(")");
      return inside;
    }
    ExpressionPointer made = node(ExpressionKind::name);
    made->text = expect_name("the name of a variable");
    for (const char* word : {"true", "True", "false", "False", "none", "None"}) {
      if (made->text == word) fail("can't assign to '" + made->text + "'", made->place);
    }
    if (attributes && at_symbol(".")) {
      take();
      ExpressionPointer owner = std::move(made);
      made = node(ExpressionKind::attribute);
      adopt(*made, std::move(owner));
      made->text = expect_name("the name of an attribute");
    }
    return made;
  };
  ExpressionPointer first = one();
  if (!tuples || !at_symbol(",")) return first;
  ExpressionPointer made = node(ExpressionKind::tuple);
  adopt(*made, std::move(first));
  while (skip_symbol(",")) {
    if (current().kind != TokenKind::name && !at_symbol("(")) break;
    if (at_name("in")) break;
    adopt(*made, one());
  }
  return made;
}

}  // namespace assay::jinja
