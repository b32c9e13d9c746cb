#include <algorithm>

#include "jinja/parser.h"

namespace assay::jinja {

namespace {

struct Symbol {
  std::string_view text;
  Operator meaning;
};

std::optional<Operator> find_operator(std::initializer_list<Symbol> symbols, const Token& token) {
  if (token.kind != TokenKind::symbol) return std::nullopt;
  for (const Symbol& symbol : symbols) {
    if (symbol.text == token.text) return symbol.meaning;
  }
  return std::nullopt;
}

ExpressionPointer constant(ExpressionPointer made, Value value) {
  made->value = std::move(value);
  return made;
}

}  // namespace

bool Parser::skip_symbol(std::string_view text) {
  return at_symbol(text) && (take(), true);
}
bool Parser::skip_name(std::string_view text) {
  return at_name(text) && (take(), true);
}
void Parser::expect_symbol(std::string_view text) {
  if (!skip_symbol(text)) unexpected("'" + std::string(text) + "'");
}
std::string Parser::expect_name(std::string_view what) {
  if (current().kind != TokenKind::name) unexpected(what);
  return take().text;
}
void Parser::unexpected(std::string_view wanted) const {
  fail("expected " + std::string(wanted) + ", got " + describe(current()), current().place);
}

ExpressionPointer Parser::node(ExpressionKind kind) const {
  auto made = std::make_unique<Expression>();
  made->kind = kind;
  made->place = current().place;
  return made;
}

void Parser::adopt(Expression& parent, ExpressionPointer child) const {
  if (child) {
    parent.depth = std::max(parent.depth, child->depth + 1);
    if (parent.depth > limits.parse_depth) {
      fail("an expression is nested more than " + std::to_string(limits.parse_depth) + " deep",
           child->place);
    }
  }
  parent.children.push_back(std::move(child));
}

ExpressionPointer Parser::expression(bool with_condition) {
  const ParseLevel level(*this);
  return with_condition ? conditional() : either();
}

ExpressionPointer Parser::conditional() {
  ExpressionPointer value = either();
  while (at_name("if")) {
    ExpressionPointer made = node(ExpressionKind::conditional);
    take();
    adopt(*made, either());
    adopt(*made, std::move(value));
    adopt(*made, skip_name("else") ? expression() : nullptr);
    value = std::move(made);
  }
  return value;
}

ExpressionPointer Parser::either() {
  ExpressionPointer left = both();
  while (at_name("or")) {
    ExpressionPointer made = node(ExpressionKind::either);
    take();
    adopt(*made, std::move(left));
    adopt(*made, both());
    left = std::move(made);
  }
  return left;
}

ExpressionPointer Parser::both() {
  ExpressionPointer left = negation();
  while (at_name("and")) {
    ExpressionPointer made = node(ExpressionKind::both);
    take();
    adopt(*made, std::move(left));
    adopt(*made, negation());
    left = std::move(made);
  }
  return left;
}

ExpressionPointer Parser::negation() {
  if (!at_name("not")) return comparison();
  const ParseLevel level(*this);
  ExpressionPointer made = node(ExpressionKind::negation);
  take();
  adopt(*made, negation());
  return made;
}

ExpressionPointer Parser::comparison() {
  ExpressionPointer first = sum();
  ExpressionPointer made;
  while (true) {
    Operator meaning = Operator::in;
    if (const auto found = find_operator({{"==", Operator::equal},
                                          {"!=", Operator::unequal},
                                          {"<", Operator::less},
                                          {"<=", Operator::less_equal},
                                          {">", Operator::greater},
                                          {">=", Operator::greater_equal}},
                                         current())) {
      meaning = *found;
    } else if (at_name("not") && ahead().kind == TokenKind::name && ahead().text == "in") {
      meaning = Operator::not_in;
    } else if (!at_name("in")) {
      break;
    }
    if (!made) {
      made = node(ExpressionKind::compare);
      adopt(*made, std::move(first));
    }
    take();
    if (meaning == Operator::not_in) take();
    made->operators.push_back(meaning);
    adopt(*made, sum());
  }
  return made ? std::move(made) : std::move(first);
}

ExpressionPointer Parser::sum() {
  ExpressionPointer left = concatenation();
  while (const auto meaning =
             find_operator({{"+", Operator::add}, {"-", Operator::subtract}}, current())) {
    ExpressionPointer made = node(ExpressionKind::arithmetic);
    made->operators.push_back(*meaning);
    take();
    adopt(*made, std::move(left));
    adopt(*made, concatenation());
    left = std::move(made);
  }
  return left;
}

ExpressionPointer Parser::concatenation() {
  ExpressionPointer first = product();
  if (!at_symbol("~")) return first;
  ExpressionPointer made = node(ExpressionKind::concatenate);
  adopt(*made, std::move(first));
  while (skip_symbol("~")) adopt(*made, product());
  return made;
}

ExpressionPointer Parser::product() {
  ExpressionPointer left = power();
  while (const auto meaning = find_operator({{"*", Operator::multiply},
                                             {"/", Operator::divide},
                                             {"//", Operator::floor_divide},
                                             {"%", Operator::modulo}},
                                            current())) {
    ExpressionPointer made = node(ExpressionKind::arithmetic);
    made->operators.push_back(*meaning);
    take();
    adopt(*made, std::move(left));
    adopt(*made, power());
    left = std::move(made);
  }
  return left;
}

/// Jinja's ** is left-associative and weaker than a sign: -2**2 is 4.
ExpressionPointer Parser::power() {
  ExpressionPointer left = unary();
  while (at_symbol("**")) {
    ExpressionPointer made = node(ExpressionKind::arithmetic);
    made->operators.push_back(Operator::power);
    take();
    adopt(*made, std::move(left));
    adopt(*made, unary());
    left = std::move(made);
  }
  return left;
}

ExpressionPointer Parser::unary(bool with_filters) {
  ExpressionPointer value;
  if (at_symbol("-") || at_symbol("+")) {
    const ParseLevel level(*this);
    value = node(at_symbol("-") ? ExpressionKind::negative : ExpressionKind::positive);
    take();
    adopt(*value, unary(false));
  } else {
    value = primary();
  }
  value = postfix(std::move(value));
  return with_filters ? filters(std::move(value)) : std::move(value);
}

ExpressionPointer Parser::primary() {
  switch (current().kind) {
    case TokenKind::name:
      return name_or_constant();
    case TokenKind::string: {
      ExpressionPointer made = node(ExpressionKind::constant);
      std::string text;
      while (current().kind == TokenKind::string) text += take().text;
      return constant(std::move(made), make_string(std::move(text)));
    }
    case TokenKind::integer: {
      ExpressionPointer made = node(ExpressionKind::constant);
      const Token token = take();
      const bool decimal = token.text.find_first_not_of("0123456789") == std::string::npos;
      return constant(std::move(made), decimal ? make_integer(token.text) : Value{token.integer});
    }
    case TokenKind::real: {
      ExpressionPointer made = node(ExpressionKind::constant);
      return constant(std::move(made), Value{take().real});
    }
    default:
      break;
  }
  if (at_symbol("(")) {
    take();
    ExpressionPointer made = tuple(true, true);
    expect_symbol(")");
    return made;
  }
  if (at_symbol("[")) return list_literal();
  if (at_symbol("{")) return dict_literal();
  unexpected("an expression");
}

ExpressionPointer Parser::name_or_constant() {
  ExpressionPointer made = node(ExpressionKind::constant);
  std::string text = take().text;
  if (text == "true" || text == "True") return constant(std::move(made), Value{true});
  if (text == "false" || text == "False") return constant(std::move(made), Value{false});
  if (text == "none" || text == "None") return constant(std::move(made), none());
  caller_seen += text == "caller";
  varargs_seen += text == "varargs";
  kwargs_seen += text == "kwargs";
  made->kind = ExpressionKind::name;
  made->text = std::move(text);
  return made;
}

ExpressionPointer Parser::list_literal() {
  ExpressionPointer made = node(ExpressionKind::list);
  expect_symbol("[");
  while (!at_symbol("]")) {
    if (!made->children.empty()) expect_symbol(",");
    if (at_symbol("]")) break;
    adopt(*made, expression());
  }
  expect_symbol("]");
  return made;
}

ExpressionPointer Parser::dict_literal() {
  ExpressionPointer made = node(ExpressionKind::dict);
  expect_symbol("{");
  while (!at_symbol("}")) {
    if (!made->children.empty()) expect_symbol(",");
    if (at_symbol("}")) break;
    adopt(*made, expression());
    expect_symbol(":");
    adopt(*made, expression());
  }
  expect_symbol("}");
  return made;
}

ExpressionPointer Parser::tuple(bool with_condition, bool empty, std::string_view end_name) {
  ExpressionPointer made = node(ExpressionKind::tuple);
  const auto ends = [&] {
    return current().kind == TokenKind::variable_end || current().kind == TokenKind::block_end ||
           at_symbol(")") || (!end_name.empty() && at_name(end_name));
  };
  bool comma = false;
  while (true) {
    if (!made->children.empty()) {
      if (!skip_symbol(",")) break;
      comma = true;
    }
    if (ends()) break;
    adopt(*made, expression(with_condition));
  }
  if (comma) return made;
  if (!made->children.empty()) return std::move(made->children[0]);
  if (!empty) unexpected("an expression");
  return made;
}

}  // namespace assay::jinja
