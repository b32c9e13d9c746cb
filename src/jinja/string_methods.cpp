// Python's methods of strings.
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

constexpr uint64_t npos = std::string_view::npos;

const String& self(Call& call) {
  call.run.charge(call.self.text().size() / 8);
  return call.self.string();
}

/// Argument i as a string; empty where it is absent or none.
std::optional<std::string> optional_text(Call& call, uint64_t i) {
  if (!call.has(i) || call.at(i).is_none()) return std::nullopt;
  return call.text(i, "");
}

Value method_upper(Call& call) {
  call.bind({});
  return call.run.string(mapped(self(call), append_upper));
}
Value method_lower(Call& call) {
  call.bind({});
  return call.run.string(mapped(self(call), append_lower));
}
Value method_capitalize(Call& call) {
  call.bind({});
  const Text& text = self(call);
  uint64_t first = 0;
  if (!text.empty()) next_code_point(text.bytes, first);
  Text out = mapped(text.part(0, first), append_title);
  out += mapped(text.part(first), append_lower);
  return call.run.string(std::move(out));
}
Value method_title(Call& call) {
  call.bind({});
  const Text& text = self(call);
  Text out;
  bool inside = false;
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t start = i, before = out.size();
    const char32_t code = next_code_point(text.bytes, i);
    (inside ? append_lower : append_title)(out.bytes, code);
    out.mark(before, text.origin(start));
    inside = is_cased(code);
  }
  return call.run.string(std::move(out));
}
bool is_among(char32_t code, const std::optional<std::string>& characters) {
  if (!characters) return is_space(code);
  for (uint64_t i = 0; i < characters->size();) {
    if (next_code_point(*characters, i) == code) return true;
  }
  return false;
}
std::string_view stripped(Call& call, bool left, bool right) {
  call.bind({"chars"});
  const std::optional<std::string> characters = optional_text(call, 0);
  std::string_view text = self(call).bytes;
  const uint64_t each = characters ? characters->size() : 1;
  while (left && !text.empty()) {
    uint64_t end = 0;
    if (!is_among(next_code_point(text, end), characters)) break;
    call.run.charge(each / 16);
    text.remove_prefix(end);
  }
  while (right && !text.empty()) {
    uint64_t start = text.size() - 1;
    while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
    uint64_t end = start;
    if (!is_among(next_code_point(text, end), characters)) break;
    call.run.charge(each / 16);
    text = text.substr(0, start);
  }
  return text;
}
template <bool Left, bool Right>
Value method_strip(Call& call) {
  return call.run.string(call.self.string().part(stripped(call, Left, Right)));
}

/// Pieces between white space, at most `most` cuts (all where negative).
std::vector<std::string_view> split_at_space(Run& run, std::string_view text, int64_t most) {
  std::vector<std::string_view> parts;
  for (text = strip_left(text); !text.empty();) {
    if (parts.size() > run.limits.list_items) run.charge_items(parts.size());
    // The last piece keeps the white space at its end.
    const bool last = most >= 0 && static_cast<int64_t>(parts.size()) == most;
    uint64_t cut = last ? text.size() : 0;
    for (uint64_t end = cut; end < text.size(); cut = end) {
      if (is_space(next_code_point(text, end))) break;
    }
    parts.push_back(text.substr(0, cut));
    text = strip_left(text.substr(cut));
  }
  return parts;
}

std::vector<std::string_view> split_at(Run& run, std::string_view text, std::string_view separator,
                                       int64_t most) {
  std::vector<std::string_view> parts;
  uint64_t start = 0;
  for (uint64_t at = find_text(text, separator, 0);
       at != npos && (most < 0 || static_cast<int64_t>(parts.size()) < most);
       at = find_text(text, separator, start)) {
    parts.push_back(text.substr(start, at - start));
    start = at + separator.size();
    if (parts.size() > run.limits.list_items) run.charge_items(parts.size());
  }
  parts.push_back(text.substr(start));
  return parts;
}

Value method_split(Call& call) {
  call.bind({"sep", "maxsplit"});
  const std::optional<std::string> separator = optional_text(call, 0);
  const int64_t most = call.integer(1, -1);
  if (separator && separator->empty()) fail("the separator is empty");
  const Text& text = self(call);
  std::vector<Value> made;
  for (const std::string_view part : separator ? split_at(call.run, text.bytes, *separator, most)
                                               : split_at_space(call.run, text.bytes, most)) {
    made.push_back(make_string(text.part(part)));
  }
  return call.run.list(std::move(made));
}

/// Where Python's splitlines cuts: after \n, \r\n, \r, \v, \f, \x1c-\x1e, \x85, U+2028, U+2029.
Value method_splitlines(Call& call) {
  call.bind({"keepends"});
  const bool keep = call.truth(0, false);
  const Text& whole = self(call);
  const std::string& text = whole.bytes;
  std::vector<Value> made;
  uint64_t start = 0;
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t end = i;
    const char32_t code = next_code_point(text, i);
    const bool cuts = (code >= 10 && code <= 13) || (code >= 0x1C && code <= 0x1E) ||
                      code == 0x85 || code == 0x2028 || code == 0x2029;
    if (!cuts) continue;
    call.run.charge(1);
    if (code == '\r' && i < text.size() && text[i] == '\n') ++i;
    made.push_back(make_string(whole.part(start, (keep ? i : end) - start)));
    start = i;
  }
  if (start < text.size()) made.push_back(make_string(whole.part(start)));
  return call.run.list(std::move(made));
}

Value method_replace(Call& call) {
  call.bind({"old", "new", "count"}, 2);
  const std::string& old = call.string(0).bytes;
  const Text& replacement = call.string(1);
  const int64_t most = call.integer(2, -1);
  const Text& whole = self(call);
  const std::string& text = whole.bytes;
  Text out;
  int64_t done = 0;
  uint64_t start = 0;
  while (most < 0 || done < most) {
    uint64_t at = 0;
    if (old.empty()) {  // before every character and at the end
      if (done > 0 && start >= text.size()) break;
      at = start;
      if (done > 0) next_code_point(text, at);
    } else {
      at = find_text(text, old, start);
      if (at == npos) break;
    }
    out.append(whole, start, at - start);
    out += replacement;
    start = at + old.size();
    ++done;
    if (out.size() > call.run.limits.value_bytes) call.run.charge_bytes(out.size());
  }
  return call.run.string(out.append(whole, std::min<uint64_t>(start, text.size())));
}

/// self[start:stop]; empty where start lies behind the end: nothing is found there, not even "".
std::optional<std::string_view> part_of(Call& call) {
  const std::string& text = call.self.text();
  call.run.charge(text.size() / 8);
  const int64_t length = static_cast<int64_t>(call.self.string().length);
  const auto bound = [&](uint64_t i, int64_t otherwise) {
    if (!call.has(i) || call.at(i).is_none()) return otherwise;
    const int64_t given = call.integer(i, otherwise);
    return given < 0 ? std::max<int64_t>(given + length, 0) : given;
  };
  const int64_t start = bound(1, 0), stop = std::min(bound(2, length), length);
  if (start > stop) return std::nullopt;
  const std::string_view rest =
      std::string_view(text).substr(byte_offset(text, static_cast<uint64_t>(start)));
  return rest.substr(0, byte_offset(rest, static_cast<uint64_t>(stop - start)));
}

template <bool AtEnd>
Value method_affix(Call& call) {
  call.bind({"affix", "start", "end"}, 1);
  std::vector<Value> choices{call.at(0)};
  if (call.at(0).is_sequence() && call.at(0).sequence().kind == SequenceKind::tuple) {
    choices = call.at(0).sequence().items;
  }
  const std::optional<std::string_view> part = part_of(call);
  for (const Value& choice : choices) {
    if (choice.is_undefined()) fail_undefined(choice);
    if (!choice.is_string()) {
      fail("'" + std::string(call.name) + "' needs a string or a tuple of them, not a '" +
           std::string(type_name(choice)) + "'");
    }
    call.run.charge(1 + choice.text().size() / 64);
    const std::string_view wanted = choice.text();
    if (part && (AtEnd ? part->ends_with(wanted) : part->starts_with(wanted))) {
      return Value{true};
    }
  }
  return Value{false};
}

Value method_format(Call& call) {
  return call.run.string(brace_format(call.run, call.self.string(), call));
}

}  // namespace

std::span<const Named> string_methods() {
  static constexpr Named methods[] = {
      {"capitalize", method_capitalize},
      {"endswith", method_affix<true>},
      {"format", method_format},
      {"lower", method_lower},
      {"lstrip", method_strip<true, false>},
      {"replace", method_replace},
      {"rstrip", method_strip<false, true>},
      {"split", method_split},
      {"splitlines", method_splitlines},
      {"startswith", method_affix<false>},
      {"strip", method_strip<true, true>},
      {"title", method_title},
      {"upper", method_upper},
  };
  return methods;
}

}  // namespace assay::jinja
