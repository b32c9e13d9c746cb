#include <algorithm>

#include "jinja/parser.h"

namespace assay::jinja {

namespace {

using Parse = void (Parser::*)(Statement&);
struct Tag {
  std::string_view name;
  StatementKind kind;
  Parse parse;
};

const Tag tags[] = {
    {"for", StatementKind::for_loop, &Parser::for_statement},
    {"if", StatementKind::condition, &Parser::if_statement},
    {"set", StatementKind::set, &Parser::set_statement},
    {"with", StatementKind::with, &Parser::with_statement},
    {"macro", StatementKind::macro, &Parser::macro_statement},
    {"call", StatementKind::call_block, &Parser::call_statement},
    {"filter", StatementKind::filter_block, &Parser::filter_statement},
    {"generation", StatementKind::generation, &Parser::generation_statement},
};

}  // namespace

void Parser::block_end() {
  if (current().kind != TokenKind::block_end) unexpected("'%}'");
  take();
}

/// Statements up to a tag of `ends`, which is current afterwards (behind its "{%").
std::vector<Statement> Parser::body(std::initializer_list<std::string_view> ends,
                                    std::string_view opener, Place place) {
  const ParseLevel level(*this);
  std::vector<Statement> made;
  while (true) {
    const Place here = current().place;
    if (current().kind == TokenKind::end) {
      if (ends.size() == 0) return made;
      fail("the '" + std::string(opener) + "' of line " + std::to_string(place.line) + " has no '" +
               std::string(*std::prev(ends.end())) + "'",
           here);
    }
    Statement next;
    next.place = here;
    if (current().kind == TokenKind::text) {
      next.text = take().text;
    } else if (current().kind == TokenKind::variable_begin) {
      take();
      next.kind = StatementKind::output;
      next.value = tuple();
      if (current().kind != TokenKind::variable_end) unexpected("'}}'");
      take();
    } else {
      take();
      for (const std::string_view end : ends) {
        if (at_name(end)) return made;
      }
      next = statement();
    }
    made.push_back(std::move(next));
  }
}

Statement Parser::statement() {
  Statement made;
  made.place = current().place;
  const std::string name = expect_name("the name of a tag");
  if (name == "break" || name == "continue") {
    if (loops == 0) fail("'" + name + "' outside of a loop", made.place);
    made.kind = name == "break" ? StatementKind::break_loop : StatementKind::continue_loop;
    block_end();
    return made;
  }
  if (name == "print") {
    made.kind = StatementKind::output;
    made.value = tuple();
    block_end();
    return made;
  }
  for (const Tag& tag : tags) {
    if (tag.name != name) continue;
    made.kind = tag.kind;
    (this->*tag.parse)(made);
    return made;
  }
  for (const char* other : {"include", "import", "from", "extends", "block", "autoescape"}) {
    if (name == other)
      fail("the tag '" + name + "' is not supported in a chat template", made.place);
  }
  fail("unknown tag '" + name + "'", made.place);
}

void Parser::for_statement(Statement& made) {
  made.target = assignment_target(false, true);
  if (!skip_name("in")) unexpected("'in'");
  made.value = tuple(false, false, "recursive");
  if (skip_name("if")) made.test = expression();
  made.recursive = skip_name("recursive");
  skip_symbol(":");
  block_end();
  ++loops;
  made.body = body({"else", "endfor"}, "for", made.place);
  --loops;
  if (skip_name("else")) {
    skip_symbol(":");
    block_end();
    made.otherwise = body({"endfor"}, "for", made.place);
  }
  take();
  block_end();
}

void Parser::if_statement(Statement& made) {
  do {
    Branch branch;
    branch.condition = tuple(false);
    skip_symbol(":");
    block_end();
    branch.body = body({"elif", "else", "endif"}, "if", made.place);
    made.branches.push_back(std::move(branch));
  } while (skip_name("elif"));
  if (skip_name("else")) {
    skip_symbol(":");
    block_end();
    made.otherwise = body({"endif"}, "if", made.place);
  }
  take();
  block_end();
}

void Parser::set_statement(Statement& made) {
  made.target = assignment_target(true, true);
  if (skip_symbol("=")) {
    made.value = tuple();
    block_end();
    return;
  }
  made.kind = StatementKind::set_block;
  while (skip_symbol("|")) made.value = filter(std::move(made.value));
  block_end();
  made.body = body({"endset"}, "set", made.place);
  take();
  block_end();
}

void Parser::with_statement(Statement& made) {
  while (current().kind != TokenKind::block_end) {
    if (!made.parameters.empty()) expect_symbol(",");
    Parameter one;
    one.name = assignment_target(false, false);
    expect_symbol("=");
    one.value = expression();
    made.parameters.push_back(std::move(one));
  }
  block_end();
  made.body = body({"endwith"}, "with", made.place);
  take();
  block_end();
}

void Parser::parameters(Statement& made) {
  expect_symbol("(");
  while (!at_symbol(")")) {
    if (!made.parameters.empty()) expect_symbol(",");
    if (at_symbol(")")) break;
    Parameter one;
    one.name = assignment_target(false, false);
    if (skip_symbol("=")) {
      one.value = expression();
    } else if (!made.parameters.empty() && made.parameters.back().value) {
      fail("a parameter without a default follows one with a default", current().place);
    }
    made.parameters.push_back(std::move(one));
  }
  expect_symbol(")");
}

void Parser::macro_body(Statement& made, std::string_view end) {
  const uint64_t caller = caller_seen, varargs = varargs_seen, kwargs = kwargs_seen;
  const uint64_t around = std::exchange(loops, 0);
  made.body = body({end}, end.substr(3), made.place);
  loops = around;
  made.uses_caller = caller_seen != caller;
  made.uses_varargs = varargs_seen != varargs;
  made.uses_kwargs = kwargs_seen != kwargs;
  for (const Parameter& one : made.parameters) {
    if (one.name->text == "caller") made.uses_caller = false;
  }
  take();
  block_end();
}

void Parser::macro_statement(Statement& made) {
  made.text = expect_name("the name of a macro");
  parameters(made);
  block_end();
  macro_body(made, "endmacro");
}

void Parser::call_statement(Statement& made) {
  made.text = "caller";
  if (at_symbol("(")) parameters(made);
  made.value = expression();
  if (made.value->kind != ExpressionKind::call) {
    fail("'call' needs a call of a macro", made.place);
  }
  block_end();
  macro_body(made, "endcall");
}

void Parser::filter_statement(Statement& made) {
  made.value = filter(nullptr);
  while (skip_symbol("|")) made.value = filter(std::move(made.value));
  block_end();
  made.body = body({"endfilter"}, "filter", made.place);
  take();
  block_end();
}

void Parser::generation_statement(Statement& made) {
  made.text = "caller";
  block_end();
  macro_body(made, "endgeneration");
}

std::vector<Statement> parse(std::string_view source, const Limits& limits) {
  Parser parser{limits, tokenize(source, limits)};
  return parser.body({}, "", {});
}

}  // namespace assay::jinja
