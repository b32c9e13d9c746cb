// One rendering: what it has used up so far, its scopes, and the functions of the evaluator.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "jinja/ast.h"
#include "jinja/limits.h"
#include "jinja/value.h"

namespace assay::jinja {

struct Scope {
  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string_view, Value>> variables;  ///< names live in the tree or context
};
using ScopePointer = std::shared_ptr<Scope>;

struct Run {
  const Limits& limits;
  Text* out = nullptr;  ///< where statements print: the output, or a block's text
  Place place;          ///< of what is being evaluated, for errors
  uint64_t steps = 0;
  Meter meter;
  uint64_t depth = 0;
  std::optional<std::tm> now;  ///< for strftime_now; the clock where empty
  // What could hold itself; emptied when the rendering ends, so that nothing leaks.
  std::vector<std::shared_ptr<Namespace>> namespaces;
  std::vector<ScopePointer> captured;
  std::vector<std::shared_ptr<Loop>> changed_loops;
  Meter* outer_meter = nullptr;  ///< of a rendering that this one is inside of

  explicit Run(const Limits& most) : limits(most), meter{0, most.memory_bytes} {
    outer_meter = std::exchange(current_meter, &meter);
  }
  ~Run();
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  void charge(uint64_t count) {
    steps += count;
    if (steps > limits.steps) {
      fail("the template takes more than the limit of " + std::to_string(limits.steps) + " steps",
           place);
    }
  }
  /// Before a string of this many bytes is made or looked through.
  void charge_bytes(uint64_t bytes);
  /// Before a list of this many items is made.
  void charge_items(uint64_t items);
  Value string(Text text);
  Value string(std::string own) { return string(Text(std::move(own))); }
  Value list(std::vector<Value> items);
  Value tuple(std::vector<Value> items);
  Value generator(std::vector<Value> items);
  Value dict(std::vector<std::pair<Value, Value>> entries);
  Text str(const Value& value);
  Text repr(const Value& value);
  Work work() { return Work{this}; }
  void print(const Text& text);
  /// What `body` prints, as a string.
  template <class Body>
  Value printed(const Body& body) {
    Text text;
    Text* const around = std::exchange(out, &text);
    body();  // nothing prints after an error, so `out` needs no restoring then
    out = around;
    meter.held -= text.size();  // counted by print()
    return string(std::move(text));
  }
};

/// One level of nested evaluation.
struct Nesting {
  explicit Nesting(Run& owner) : run(owner) {
    if (++run.depth > run.limits.depth) {
      --run.depth;
      fail("the template recurses more than " + std::to_string(run.limits.depth) +
               " evaluations deep",
           run.place);
    }
  }
  ~Nesting() { --run.depth; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;
  Run& run;
};

/// A call of a filter, test, method or global.
struct Call {
  Run& run;
  std::string_view name;
  Value self;  ///< the filtered or tested value; a method's object
  std::vector<Value> positional;
  std::vector<std::pair<Text, Value>> keywords;

  /// Puts the arguments into the order of `names`; fails for one too many, unknown, or missing
  /// among the first `required`. Afterwards has(i) says whether names[i] was given.
  void bind(std::initializer_list<std::string_view> names, uint64_t required = 0);
  bool has(uint64_t i) const { return i < bound.size() && bound[i].has_value(); }
  const Value& at(uint64_t i) const { return *bound[i]; }
  Value value(uint64_t i, Value otherwise) const { return has(i) ? *bound[i] : otherwise; }
  int64_t integer(uint64_t i, int64_t otherwise) const;
  bool truth(uint64_t i, bool otherwise) const { return has(i) ? is_true(at(i)) : otherwise; }
  /// An argument that must be a string.
  const String& string(uint64_t i) const;
  std::string text(uint64_t i, std::string_view otherwise) const {
    return has(i) ? string(i).bytes : std::string(otherwise);
  }

  std::vector<std::optional<Value>> bound;
};

enum class Flow { on, break_loop, continue_loop };

// execute.cpp
Flow execute(Run& run, const std::vector<Statement>& body, const ScopePointer& scope);
/// What the body prints, as a string.
Value rendered(Run& run, const std::vector<Statement>& body, const ScopePointer& scope);
/// The text of a loop that calls itself: loop(items).
Value recurse(Run& run, Loop& loop, Value items);

// evaluate.cpp
Value evaluate(Run& run, const Expression& expression, const ScopePointer& scope);
/// A filter applied to a value that isn't in the tree: a block's text.
Value evaluate_filter(Run& run, const Expression& filter, Value input, const ScopePointer& scope);
const Value* find_variable(Run& run, const Scope& scope, std::string_view name);
void assign_variable(Run& run, Scope& scope, const std::string& name, Value value);

// call.cpp
Value call_value(Run& run, const Value& callee, Call& call);
/// The arguments of a call in the tree, evaluated.
Call evaluate_arguments(Run& run, const Arguments& arguments, const ScopePointer& scope);
Value make_macro(Run& run, const Statement& definition, const ScopePointer& scope);

// access.cpp
Value get_attribute(Run& run, const Value& object, std::string_view name);
Value get_item(Run& run, const Value& object, const Value& key);
Value get_slice(Run& run, const Value& object, const std::optional<int64_t> (&bounds)[3]);
/// The items that a `for` walks over; a generator's are used up. Fails for what can't be walked.
std::vector<Value> iterate(Run& run, const Value& value);
bool is_iterable(const Value& value);
bool contains(Run& run, const Value& container, const Value& item);

// operators.cpp
Value arithmetic(Run& run, Operator meaning, const Value& a, const Value& b);
Value negative(const Value& value);
bool compare(Run& run, Operator meaning, const Value& a, const Value& b);
[[noreturn]] void fail_undefined(const Value& value);

// Look-up of names; null where there is none.
FunctionBody find_filter(std::string_view name);
FunctionBody find_test(std::string_view name);
FunctionBody find_method(const Value& object, std::string_view name);
/// Fails with a sentence that names what is not supported and lists what is.
[[noreturn]] void refuse_filter(std::string_view name, Place place);
[[noreturn]] void refuse_test(std::string_view name, Place place);
[[noreturn]] void refuse_name(const Expression& unknown);  ///< a filter or a test of the tree
/// Fails where Python's type has a method of this name and ours doesn't.
void refuse_absent_method(const Value& object, std::string_view name);
/// Whether Python's method of this name changes a list or dict, which a template may not.
bool would_change(const Value& object, std::string_view name);
const Value* find_global(std::string_view name);
Value apply_filter(Run& run, std::string_view name, Value input, std::vector<Value> positional,
                   std::vector<std::pair<Text, Value>> keywords);
bool apply_test(Run& run, std::string_view name, Value input, std::vector<Value> positional,
                std::vector<std::pair<Text, Value>> keywords);

// number.cpp: Python's int(text, base) and float(text); empty where they raise ValueError
std::optional<int64_t> parse_integer(std::string_view text, int base);
std::optional<double> parse_real(std::string_view text);

// percent.cpp and format.cpp
Text percent_format(Run& run, const Text& format, const Value& arguments);
Text brace_format(Run& run, const Text& format, const Call& call);

// json.cpp
struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<Text> indent;
  Text item_separator{", "}, key_separator{": "};
  bool sort_keys = false;
};
void append_json(Run& run, Text& out, const Value& value, const JsonStyle& style,
                 uint64_t level = 0);

// clock.cpp
std::string format_time(Run& run, const std::string& format);

/// &, <, >, ' and " as HTML entities.
Text escaped(const Text& text);

}  // namespace assay::jinja
