// Named functions: filters, tests and methods, a table a file.
#pragma once

#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "jinja/run.h"

namespace assay::jinja {

struct Named {
  std::string_view name;
  FunctionBody body;
};

std::span<const Named> text_filters();
std::span<const Named> list_filters();
std::span<const Named> order_filters();
std::span<const Named> value_filters();
std::span<const Named> string_methods();

Value filter_format(Call& call);  ///< percent.cpp
/// The entry of this name; null where the table has none.
FunctionBody find_named(std::span<const Named> table, std::string_view name);
/// "a, b, c": the names of a table in the order of the alphabet, for messages.
std::string names_of(std::initializer_list<std::span<const Named>> tables);

/// What sort, min, unique and others look at: the item, an attribute path of it
/// ("a.b.0"), or a list of those for several; lower case unless `case_sensitive`.
struct KeyOf {
  std::vector<std::vector<Value>> paths;  ///< one a key; empty: the item itself
  bool several = false;  ///< sort's "a,b": the key is a list, which compares equal items first
  bool case_sensitive = true;
  std::optional<Value> otherwise;  ///< for an attribute that isn't there

  Value operator()(Run& run, const Value& item) const;
};
/// `attribute` may be absent, none, a string "a.b" or an integer; with `commas` also "a,b".
KeyOf key_of(const Value* attribute, bool case_sensitive, bool commas = false);

/// The string that filters of text see: str(value).
Text soft_text(Call& call);
/// What `append` makes of each character.
Text mapped(const Text& text, void (*append)(std::string& out, char32_t code));

}  // namespace assay::jinja
