// Python's methods of strings that answer a question: find, count, startswith, isdigit, …
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

constexpr uint64_t npos = std::string_view::npos;

/// self[start:stop], and where it begins in bytes and code points.
struct Part {
  std::string_view text;
  uint64_t offset = 0, index = 0;
  bool valid = true;  ///< false where start lies behind the end: nothing is found, not even ""
};

Part part_of(Call& call) {
  const std::string& text = call.self.text();
  call.run.charge(text.size() / 8);
  const int64_t length = static_cast<int64_t>(call.self.string().length);
  const auto bound = [&](uint64_t i, int64_t otherwise) {
    if (!call.has(i) || call.at(i).is_none()) return otherwise;
    const int64_t given = call.integer(i, otherwise);
    return given < 0 ? std::max<int64_t>(given + length, 0) : given;
  };
  const int64_t start = bound(1, 0), stop = std::min(bound(2, length), length);
  if (start > stop) return {{}, 0, 0, false};
  Part part;
  part.index = static_cast<uint64_t>(start);
  part.offset = byte_offset(text, part.index);
  const std::string_view rest = std::string_view(text).substr(part.offset);
  part.text = rest.substr(0, byte_offset(rest, static_cast<uint64_t>(stop - start)));
  return part;
}

/// The place of argument 0 in code points, -1 where it isn't there.
int64_t place(Call& call, bool last) {
  call.bind({"sub", "start", "end"}, 1);
  const std::string wanted = call.text(0, "");
  const Part part = part_of(call);
  if (!part.valid) return -1;
  const uint64_t at = last ? find_last_text(part.text, wanted) : find_text(part.text, wanted, 0);
  if (at == npos) return -1;
  return static_cast<int64_t>(part.index + count_code_points(part.text.substr(0, at)));
}

template <bool Last>
Value method_find(Call& call) {
  return Value{place(call, Last)};
}
template <bool Last>
Value method_index(Call& call) {
  const int64_t found = place(call, Last);
  if (found < 0) fail("the substring is not found");
  return Value{found};
}

Value method_count(Call& call) {
  call.bind({"sub", "start", "end"}, 1);
  const std::string wanted = call.text(0, "");
  const Part part = part_of(call);
  if (!part.valid) return Value{int64_t{0}};
  const uint64_t count =
      wanted.empty() ? count_code_points(part.text) + 1 : count_text(part.text, wanted);
  return Value{static_cast<int64_t>(count)};
}

template <bool AtEnd>
Value method_affix(Call& call) {
  call.bind({"affix", "start", "end"}, 1);
  std::vector<Value> choices{call.at(0)};
  if (call.at(0).is_sequence() && call.at(0).sequence().kind == SequenceKind::tuple) {
    choices = call.at(0).sequence().items;
  }
  const Part part = part_of(call);
  for (const Value& choice : choices) {
    if (choice.is_undefined()) fail_undefined(choice);
    if (!choice.is_string()) {
      fail("'" + std::string(call.name) + "' needs a string or a tuple of them, not a '" +
           std::string(type_name(choice)) + "'");
    }
    call.run.charge(1 + choice.text().size() / 64);
    const std::string_view wanted = choice.text();
    if (part.valid && (AtEnd ? part.text.ends_with(wanted) : part.text.starts_with(wanted))) {
      return Value{true};
    }
  }
  return Value{false};
}

using Holds = bool (*)(char32_t);
bool is_alphanumeric(char32_t code) {
  return is_alpha(code) || is_numeric(code);
}

/// Whether every character is such a one, and there is one.
template <Holds Each>
Value all_of(Call& call) {
  call.bind({});
  const std::string& text = call.self.text();
  call.run.charge(text.size() / 16);
  for (uint64_t i = 0; i < text.size();) {
    if (!Each(next_code_point(text, i))) return Value{false};
  }
  return Value{!text.empty()};
}
bool is_decimal(char32_t code) {
  // Of the digits, those of general category Nd; superscripts and circled digits aren't.
  if (!is_digit(code)) return false;
  return !(code == 0xB2 || code == 0xB3 || code == 0xB9 || (code >= 0x2070 && code <= 0x2089) ||
           (code >= 0x2460 && code <= 0x27BF));
}
Value method_isascii(Call& call) {
  call.bind({});
  return Value{call.self.text().size() == call.self.string().length};
}
Value method_isprintable(Call& call) {
  return Value{call.self.text().empty() || is_true(all_of<is_printable>(call))};
}

/// No character of the other case, and at least one of this.
template <Holds Wanted, Holds Other>
Value method_cased(Call& call) {
  call.bind({});
  const std::string& text = call.self.text();
  call.run.charge(text.size() / 16);
  bool found = false;
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (Other(code) || is_title(code)) return Value{false};
    found = found || Wanted(code);
  }
  return Value{found};
}

Value method_istitle(Call& call) {
  call.bind({});
  const std::string& text = call.self.text();
  call.run.charge(text.size() / 16);
  bool inside = false, found = false;
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    const bool upper = is_upper(code) || is_title(code), lower = is_lower(code);
    if ((upper && inside) || (lower && !inside)) return Value{false};
    inside = upper || lower;
    found = found || inside;
  }
  return Value{found};
}

Value method_isidentifier(Call& call) {
  call.bind({});
  const std::string& text = call.self.text();
  call.run.charge(text.size() / 16);
  for (uint64_t i = 0; i < text.size();) {
    const bool first = i == 0;
    const char32_t code = next_code_point(text, i);
    if (code != '_' && !is_alpha(code) && (first || !is_decimal(code))) return Value{false};
  }
  return Value{!text.empty()};
}

}  // namespace

std::span<const Named> string_question_methods() {
  static constexpr Named methods[] = {
      {"count", method_count},
      {"endswith", method_affix<true>},
      {"find", method_find<false>},
      {"index", method_index<false>},
      {"isalnum", all_of<is_alphanumeric>},
      {"isalpha", all_of<is_alpha>},
      {"isascii", method_isascii},
      {"isdecimal", all_of<is_decimal>},
      {"isdigit", all_of<is_digit>},
      {"isidentifier", method_isidentifier},
      {"islower", method_cased<is_lower, is_upper>},
      {"isnumeric", all_of<is_numeric>},
      {"isprintable", method_isprintable},
      {"isspace", all_of<is_space>},
      {"istitle", method_istitle},
      {"isupper", method_cased<is_upper, is_lower>},
      {"rfind", method_find<true>},
      {"rindex", method_index<true>},
      {"startswith", method_affix<false>},
  };
  return methods;
}

}  // namespace assay::jinja
