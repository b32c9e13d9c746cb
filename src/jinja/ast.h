// The tree of a template.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "jinja/value.h"

namespace assay::jinja {

enum class ExpressionKind {
  constant,     ///< value
  name,         ///< text
  tuple,        ///< children
  list,         ///< children
  dict,         ///< children: key, value, key, value …
  attribute,    ///< children[0] . text
  item,         ///< children[0] [ children[1] ]
  slice,        ///< children[0] [ children[1] : children[2] : children[3] ], null where left out
  call,         ///< children[0] ( arguments )
  filter,       ///< children[0] | text ( arguments ); children[0] is null in a block's filter
  test,         ///< children[0] is text ( arguments )
  negative,     ///< - children[0]
  positive,     ///< + children[0]
  negation,     ///< not children[0]
  arithmetic,   ///< children[0] operators[0] children[1]
  concatenate,  ///< children joined by ~
  compare,      ///< children[0] operators[0] children[1] operators[1] children[2] …
  both,         ///< children[0] and children[1]
  either,       ///< children[0] or children[1]
  conditional,  ///< children[1] if children[0] else children[2], null where left out
};

enum class Operator {
  add,
  subtract,
  multiply,
  divide,
  floor_divide,
  modulo,
  power,
  equal,
  unequal,
  less,
  less_equal,
  greater,
  greater_equal,
  in,
  not_in
};

struct Expression;
using ExpressionPointer = std::unique_ptr<Expression>;

struct Arguments {
  std::vector<ExpressionPointer> positional;
  std::vector<std::pair<std::string, ExpressionPointer>> keywords;
  ExpressionPointer more_positional;  ///< *expression
  ExpressionPointer more_keywords;    ///< **expression
};

struct Expression {
  ExpressionKind kind = ExpressionKind::constant;
  Place place;
  uint32_t depth = 1;
  std::string text;
  Value value;
  std::vector<ExpressionPointer> children;
  std::vector<Operator> operators;
  Arguments arguments;
  FunctionBody function = nullptr;  ///< of a filter or test; null where the name is unknown
};

enum class StatementKind {
  text,          ///< text
  output,        ///< {{ value }}
  for_loop,      ///< for target in value if test: body, else otherwise
  condition,     ///< branches, otherwise
  set,           ///< target = value
  set_block,     ///< target = body | value
  with,          ///< parameters: body
  macro,         ///< text ( parameters ): body
  call_block,    ///< call(parameters) value: body
  filter_block,  ///< filter value: body
  generation,    ///< body in a scope of its own
  break_loop,
  continue_loop,
};

struct Statement;

struct Branch {
  ExpressionPointer condition;
  std::vector<Statement> body;
};

/// A parameter of a macro with its default, null where there is none; or a name of `with`.
struct Parameter {
  ExpressionPointer name;
  ExpressionPointer value;
};

struct Statement {
  StatementKind kind = StatementKind::text;
  Place place;
  std::string text;
  ExpressionPointer target, value, test;
  std::vector<Parameter> parameters;
  std::vector<Branch> branches;
  std::vector<Statement> body, otherwise;
  bool recursive = false;
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

/// Fails with a line for what isn't a template.
std::vector<Statement> parse(std::string_view source, const Limits& limits);

/// Fails for a filter or test that doesn't exist, as Jinja does when it compiles; inside of an `if`
/// the name is allowed and fails only when reached.
void resolve_names(std::vector<Statement>& body);

}  // namespace assay::jinja
