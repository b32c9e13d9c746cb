// The values of a template: what Python's are to Jinja. Everything but a namespace and a loop never
// changes once made, so values share their storage and no list can hold itself.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "jinja/limits.h"
#include "jinja/text.h"

namespace assay::jinja {

struct Value;
struct Run;
struct Scope;
struct Statement;
struct Call;

/// A name or attribute that isn't there: prints as nothing, is false, and can't be used otherwise.
struct Undefined {
  std::shared_ptr<const std::string> reason;  ///< "'x' is undefined"
};

struct None {};

struct String : Text {
  uint64_t length = 0;  ///< in code points
  Held held;
  bool safe = false;  ///< marked by `safe` or `escape`
};

/// An integer beyond 64 bits: printed and compared, but not calculated with.
struct BigInteger {
  std::string digits;  ///< decimal, with a minus where negative
};

enum class SequenceKind {
  list,
  tuple,
  range,      ///< prints as range(start, stop)
  keys,       ///< of a dict; has a length, can't be indexed
  values,     ///< as keys
  items,      ///< as keys
  generator,  ///< what `map`, `select` and others give: can be walked once, has no length
};

struct Sequence {
  SequenceKind kind = SequenceKind::list;
  std::vector<Value> items;
  uint32_t depth = 1;
  uint64_t weight = 1;  ///< items of all levels
  uint64_t taken = 0;   ///< generator: the items already walked
  int64_t range[3] = {0, 0, 1};
  Held held;
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;  ///< in the order of insertion
  std::vector<uint32_t> order;                   ///< entries by key_order, for look-up
  uint32_t depth = 1;
  Held held;

  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
};

/// namespace(): the one thing that a loop body can assign to and that outlives it.
struct Namespace {
  Held held{300};
  Dict attributes;
};

struct Macro {
  const Statement* definition = nullptr;
  std::shared_ptr<Scope> scope;  ///< where it was defined
  bool uses_caller = false, uses_varargs = false, uses_kwargs = false;
};

/// A function of ours: a global, or a method bound to `self`.
struct Function;
using FunctionBody = Value (*)(Call&);

struct Loop;

using StringPointer = std::shared_ptr<const String>;
using SequencePointer = std::shared_ptr<Sequence>;
using DictPointer = std::shared_ptr<const Dict>;

struct Value {
  std::variant<Undefined, None, bool, int64_t, double, StringPointer, SequencePointer, DictPointer,
               std::shared_ptr<Namespace>, std::shared_ptr<Macro>, std::shared_ptr<Function>,
               std::shared_ptr<Loop>, std::shared_ptr<const BigInteger>>
      data;

  template <class T>
  bool is() const {
    return std::holds_alternative<T>(data);
  }
  template <class T>
  const T& as() const {
    return std::get<T>(data);
  }
  bool is_undefined() const { return is<Undefined>(); }
  bool is_none() const { return is<None>(); }
  bool is_string() const { return is<StringPointer>(); }
  bool is_sequence() const { return is<SequencePointer>(); }
  bool is_dict() const { return is<DictPointer>(); }
  bool is_big() const { return is<std::shared_ptr<const BigInteger>>(); }
  bool is_number() const { return is_integer() || is<double>() || is_big(); }
  /// An int of 64 bits, or a bool, which is one in Python.
  bool is_integer() const { return is<int64_t>() || is<bool>(); }

  const std::string& text() const { return as<StringPointer>()->bytes; }
  const String& string() const { return *as<StringPointer>(); }
  const Sequence& sequence() const { return *as<SequencePointer>(); }
  const Dict& dict() const { return *as<DictPointer>(); }
  int64_t integer() const { return is<bool>() ? as<bool>() : as<int64_t>(); }
  /// The digits of an integer of any size.
  std::string digits() const {
    return is_big() ? as<std::shared_ptr<const BigInteger>>()->digits : std::to_string(integer());
  }
  double real() const;  ///< the nearest; infinite where the integer is too large
};

struct Function {
  std::string name;
  Value self;
  FunctionBody body = nullptr;
};

/// The variable `loop`.
struct Loop {
  SequencePointer items;
  uint64_t first = 0;  ///< where a generator's rest begins
  uint64_t index = 0;  ///< from 0
  uint64_t depth = 0;
  std::optional<Value> changed;
  const Statement* recursive = nullptr;  ///< the statement, where the loop may call itself
  std::shared_ptr<Scope> scope;          ///< around a recursive loop

  uint64_t length() const { return items->items.size() - first; }
};

// Makers. Containers get their depth here; one deeper than `Limits::value_depth` is refused.
Value none();
Value undefined(std::string reason);
Value make_string(Text text, bool safe = false);
/// A string of the template's own, which quotes no variable.
Value make_string(std::string own, bool safe = false);
/// An integer of any size from decimal digits, with a minus where negative.
Value make_integer(std::string digits);
/// A whole number as an integer; fails for NaN and infinity.
Value make_integer(double whole);
/// Fails for an integer beyond 64 bits where one is needed to calculate.
void check_fits(const Value& value);
Value make_sequence(SequenceKind kind, std::vector<Value> items);
Value make_list(std::vector<Value> items);
Value make_tuple(std::vector<Value> items);
Value make_generator(std::vector<Value> items);
/// A later entry of the same key replaces the value of the earlier. Fails for keys without a hash.
Dict build_dict(std::vector<std::pair<Value, Value>> entries);
Value make_dict(std::vector<std::pair<Value, Value>> entries);
/// The only change of a dict: an attribute of a namespace.
void assign(Dict& dict, std::string_view key, Value value);

// Changes of a string or list that nobody else can see. `only` must be its only owner.
void append(const StringPointer& only, const Text& tail);
void append(const SequencePointer& only, const std::vector<Value>& tail);
Value make_function(std::string name, Value self, FunctionBody body);

/// Nesting of a value; 0 for what isn't a container.
uint32_t depth_of(const Value& value);

bool is_true(const Value& value);
/// "str", "int", "list", … as Python names types in its messages.
std::string_view type_name(const Value& value);
/// The length Python's len() gives; empty where there is none.
std::optional<uint64_t> length_of(const Value& value);

// Comparisons. `Work` counts the items and bytes they look at, and fails when there are too many.
struct Work {
  Run* run = nullptr;
  void add(uint64_t steps) const;
};
bool equal(const Value& a, const Value& b, const Work& work);
/// a < b, as Python; fails for types that have no order.
bool less(const Value& a, const Value& b, const Work& work);
bool identical(const Value& a, const Value& b);
/// A total order of keys: -1, 0, 1; 0 exactly where Python takes them for the same key.
int key_order(const Value& a, const Value& b);
/// Fails for lists and dicts, and for tuples of so many items that comparing them is work.
void check_hashable(const Value& key);

// Text. Both append, so that a nested value is written once.
void append_str(Text& out, const Value& value, Run& run);   ///< str(value)
void append_repr(Text& out, const Value& value, Run& run);  ///< repr(value)
std::string float_repr(double value);
std::string string_repr(std::string own);

}  // namespace assay::jinja
