// Tokens → tree, by recursive descent. Recursion is bounded by Limits::parse_depth.
#pragma once

#include <string>
#include <vector>

#include "jinja/ast.h"
#include "jinja/lexer.h"

namespace assay::jinja {

struct Parser {
  const Limits& limits;
  std::vector<Token> tokens;
  uint64_t position = 0;
  uint64_t depth = 0;
  uint64_t loops = 0;  ///< around the statement that is being parsed, inside of the same macro
  /// How often names that mean something to a macro have been read so far.
  uint64_t caller_seen = 0, varargs_seen = 0, kwargs_seen = 0;

  const Token& current() const { return tokens[position]; }
  const Token& ahead() const {
    return tokens[position + 1 < tokens.size() ? position + 1 : position];
  }
  Token take() { return tokens[position + 1 < tokens.size() ? position++ : position]; }
  bool at_symbol(std::string_view text) const {
    return current().kind == TokenKind::symbol && current().text == text;
  }
  bool at_name(std::string_view text) const {
    return current().kind == TokenKind::name && current().text == text;
  }
  bool skip_symbol(std::string_view text);
  bool skip_name(std::string_view text);
  void expect_symbol(std::string_view text);
  std::string expect_name(std::string_view what);
  [[noreturn]] void unexpected(std::string_view wanted) const;

  /// A node at the current line.
  ExpressionPointer node(ExpressionKind kind) const;
  /// Makes `child` a child and keeps the depth of the tree bounded.
  void adopt(Expression& parent, ExpressionPointer child) const;

  // parser_expression.cpp, in order of precedence
  ExpressionPointer expression(bool conditional = true);
  ExpressionPointer conditional();
  ExpressionPointer either();
  ExpressionPointer both();
  ExpressionPointer negation();
  ExpressionPointer comparison();
  ExpressionPointer sum();
  ExpressionPointer concatenation();
  ExpressionPointer product();
  ExpressionPointer power();
  ExpressionPointer unary(bool with_filters = true);
  ExpressionPointer primary();
  ExpressionPointer name_or_constant();
  ExpressionPointer list_literal();
  ExpressionPointer dict_literal();
  ExpressionPointer postfix(ExpressionPointer value);
  ExpressionPointer filters(ExpressionPointer value);
  ExpressionPointer attribute(ExpressionPointer value);
  ExpressionPointer subscript(ExpressionPointer value);
  ExpressionPointer call(ExpressionPointer value);
  ExpressionPointer filter(ExpressionPointer value);
  ExpressionPointer test(ExpressionPointer value);
  void arguments(Expression& owner);
  /// One expression, or several with commas as a tuple. `empty` allows none: ().
  ExpressionPointer tuple(bool conditional = true, bool empty = false,
                          std::string_view end_name = {});
  /// name, (a, b), or ns.attribute where `attributes`
  ExpressionPointer assignment_target(bool attributes, bool tuples);
  std::string dotted_name(std::string_view what);

  // parser_statement.cpp
  std::vector<Statement> body(std::initializer_list<std::string_view> ends, std::string_view opener,
                              Place place);
  Statement statement();
  void for_statement(Statement& made);
  void if_statement(Statement& made);
  void set_statement(Statement& made);
  void with_statement(Statement& made);
  void macro_statement(Statement& made);
  void call_statement(Statement& made);
  void filter_statement(Statement& made);
  void generation_statement(Statement& made);
  void parameters(Statement& made);
  void macro_body(Statement& made, std::string_view end);
  void block_end();
};

/// One level of the parser's recursion.
struct ParseLevel {
  explicit ParseLevel(Parser& owner) : parser(owner) {
    if (++parser.depth > parser.limits.parse_depth) {
      fail(
          "the template is nested more than " + std::to_string(parser.limits.parse_depth) + " deep",
          parser.current().place);
    }
  }
  ~ParseLevel() { --parser.depth; }
  ParseLevel(const ParseLevel&) = delete;
  ParseLevel& operator=(const ParseLevel&) = delete;
  Parser& parser;
};

}  // namespace assay::jinja
