// Python's methods of strings that make strings and lists.
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

constexpr uint64_t npos = std::string_view::npos;

const std::string& self(Call& call) {
  call.run.charge(call.self.text().size() / 8);
  return call.self.text();
}

/// Argument i as a string; empty where it is absent or none.
std::optional<std::string> optional_text(Call& call, uint64_t i) {
  if (!call.has(i) || call.at(i).is_none()) return std::nullopt;
  return call.text(i, "");
}

Value method_upper(Call& call) {
  call.bind({});
  return call.run.string(to_upper(self(call)));
}
Value method_lower(Call& call) {
  call.bind({});
  return call.run.string(to_lower(self(call)));
}
Value method_capitalize(Call& call) {
  call.bind({});
  const std::string& text = self(call);
  std::string out;
  uint64_t i = 0;
  if (!text.empty()) append_title(out, next_code_point(text, i));
  return call.run.string(out + to_lower(std::string_view(text).substr(i)));
}
bool has_case(char32_t code) {
  return is_upper(code) || is_lower(code) || is_title(code);
}
Value method_title(Call& call) {
  call.bind({});
  const std::string& text = self(call);
  std::string out;
  bool inside = false;
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (inside) {
      append_lower(out, code);
    } else {
      append_title(out, code);
    }
    inside = has_case(code);
  }
  return call.run.string(std::move(out));
}
Value method_swapcase(Call& call) {
  call.bind({});
  const std::string& text = self(call);
  std::string out;
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (is_upper(code)) {
      append_lower(out, code);
    } else {
      append_upper(out, code);
    }
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
  std::string_view text = self(call);
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
  return call.run.string(std::string(stripped(call, Left, Right)));
}

/// Pieces between white space, at most `most` cuts (all where negative), from the left or right.
std::vector<std::string> split_at_space(Run& run, std::string_view text, int64_t most,
                                        bool from_right) {
  std::vector<std::string> parts;
  text = from_right ? strip_right(text) : strip_left(text);
  while (!text.empty()) {
    if (parts.size() > run.limits.list_items) run.charge_items(parts.size());
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      parts.emplace_back(from_right ? strip_right(text) : strip_left(text));
      break;
    }
    uint64_t cut = 0;
    if (from_right) {
      cut = text.size();
      while (cut > 0) {
        uint64_t start = cut - 1;
        while (start > 0 && (static_cast<uint8_t>(text[start]) & 0xC0) == 0x80) --start;
        uint64_t end = start;
        if (is_space(next_code_point(text, end))) break;
        cut = start;
      }
      parts.emplace_back(text.substr(cut));
      text = strip_right(text.substr(0, cut));
    } else {
      for (uint64_t end = 0; end < text.size(); cut = end) {
        if (is_space(next_code_point(text, end))) break;
      }
      parts.emplace_back(text.substr(0, cut));
      text = strip_left(text.substr(cut));
    }
  }
  // The piece left over keeps its white space at the far end only.
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_at(Run& run, std::string_view text, std::string_view separator,
                                  int64_t most, bool from_right) {
  std::vector<std::string> parts;
  std::vector<uint64_t> cuts;
  if (from_right) {
    // From the right, places without overlap are those of the mirrored texts from the left.
    const std::string mirrored(text.rbegin(), text.rend());
    const std::string wanted(separator.rbegin(), separator.rend());
    for (uint64_t at = find_text(mirrored, wanted, 0);
         at != npos && (most < 0 || static_cast<int64_t>(cuts.size()) < most);
         at = find_text(mirrored, wanted, at + wanted.size())) {
      cuts.push_back(text.size() - at - wanted.size());
      if (cuts.size() > run.limits.list_items) run.charge_items(cuts.size());
    }
    std::reverse(cuts.begin(), cuts.end());
  } else {
    for (uint64_t at = find_text(text, separator, 0);
         at != npos && (most < 0 || static_cast<int64_t>(cuts.size()) < most);
         at = find_text(text, separator, at + separator.size())) {
      cuts.push_back(at);
      if (cuts.size() > run.limits.list_items) run.charge_items(cuts.size());
    }
  }
  uint64_t start = 0;
  for (const uint64_t cut : cuts) {
    parts.emplace_back(text.substr(start, cut - start));
    start = cut + separator.size();
  }
  parts.emplace_back(text.substr(start));
  return parts;
}

template <bool FromRight>
Value method_split(Call& call) {
  call.bind({"sep", "maxsplit"});
  const std::optional<std::string> separator = optional_text(call, 0);
  const int64_t most = call.integer(1, -1);
  if (separator && separator->empty()) fail("the separator is empty");
  const std::string& text = self(call);
  std::vector<Value> made;
  for (std::string& part : separator ? split_at(call.run, text, *separator, most, FromRight)
                                     : split_at_space(call.run, text, most, FromRight)) {
    made.push_back(make_string(std::move(part)));
  }
  return call.run.list(std::move(made));
}

/// Where Python's splitlines cuts: after \n, \r\n, \r, \v, \f, \x1c-\x1e, \x85, U+2028, U+2029.
Value method_splitlines(Call& call) {
  call.bind({"keepends"});
  const bool keep = call.truth(0, false);
  const std::string& text = self(call);
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
    made.push_back(make_string(text.substr(start, (keep ? i : end) - start)));
    start = i;
  }
  if (start < text.size()) made.push_back(make_string(text.substr(start)));
  return call.run.list(std::move(made));
}

template <bool FromRight>
Value method_partition(Call& call) {
  call.bind({"sep"}, 1);
  const std::string separator = call.text(0, "");
  if (separator.empty()) fail("the separator is empty");
  const std::string& text = self(call);
  const uint64_t at = FromRight ? find_last_text(text, separator) : find_text(text, separator, 0);
  const Value whole = make_string(text), nothing = make_string("");
  if (at == npos) {
    return FromRight ? make_tuple({nothing, nothing, whole})
                     : make_tuple({whole, nothing, nothing});
  }
  return make_tuple({make_string(text.substr(0, at)), make_string(separator),
                     make_string(text.substr(at + separator.size()))});
}

Value method_replace(Call& call) {
  call.bind({"old", "new", "count"}, 2);
  const std::string old = call.text(0, ""), replacement = call.text(1, "");
  const int64_t most = call.integer(2, -1);
  const std::string& text = self(call);
  std::string out;
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
    out.append(text, start, at - start);
    out += replacement;
    start = at + old.size();
    ++done;
    if (out.size() > call.run.limits.value_bytes) call.run.charge_bytes(out.size());
  }
  return call.run.string(out + text.substr(std::min<uint64_t>(start, text.size())));
}

Value method_join(Call& call) {
  call.bind({"iterable"}, 1);
  const std::string& separator = self(call);
  std::string out;
  bool first = true;
  for (const Value& item : iterate(call.run, call.at(0))) {
    if (!item.is_string()) {
      fail("'join' needs strings, not a '" + std::string(type_name(item)) + "'");
    }
    if (!first) out += separator;
    first = false;
    out += item.text();
    call.run.charge((item.text().size() + separator.size()) / 64);
    if (out.size() > call.run.limits.value_bytes) call.run.charge_bytes(out.size());
  }
  return call.run.string(std::move(out));
}

/// Fills up to `width` code points; `left` of the missing ones go before the text.
Value padded(Call& call, uint64_t (*left)(uint64_t missing, uint64_t width)) {
  call.bind({"width", "fillchar"}, 1);
  const int64_t wide = call.integer(0, 0);
  const std::string fill = call.text(1, " ");
  if (count_code_points(fill) != 1) fail("the fill must be one character");
  const uint64_t length = call.self.string().length, width = wide < 0 ? 0 : wide;
  if (width <= length) return call.self;
  const uint64_t missing = width - length, before = left(missing, width);
  call.run.charge_bytes(std::min<uint64_t>(missing, UINT64_MAX / 8) * fill.size());
  std::string out;
  for (uint64_t i = 0; i < before; ++i) out += fill;
  out += call.self.text();
  for (uint64_t i = before; i < missing; ++i) out += fill;
  return call.run.string(std::move(out));
}
Value method_center(Call& call) {
  // Python gives the odd blank to the left where width is odd.
  return padded(
      call, [](uint64_t missing, uint64_t width) { return missing / 2 + (missing & width & 1); });
}
Value method_ljust(Call& call) {
  return padded(call, [](uint64_t, uint64_t) { return uint64_t{0}; });
}
Value method_rjust(Call& call) {
  return padded(call, [](uint64_t missing, uint64_t) { return missing; });
}
Value method_zfill(Call& call) {
  call.bind({"width"}, 1);
  const std::string& text = self(call);
  const int64_t width = call.integer(0, 0);
  const uint64_t length = call.self.string().length;
  if (width < 0 || static_cast<uint64_t>(width) <= length) return call.self;
  const uint64_t missing = static_cast<uint64_t>(width) - length;
  call.run.charge_bytes(missing);
  const uint64_t sign = !text.empty() && (text[0] == '-' || text[0] == '+');
  return call.run.string(text.substr(0, sign) + std::string(missing, '0') + text.substr(sign));
}

Value method_removeprefix(Call& call) {
  call.bind({"prefix"}, 1);
  const std::string& text = self(call);
  const std::string part = call.text(0, "");
  return text.starts_with(part) ? call.run.string(text.substr(part.size())) : call.self;
}
Value method_removesuffix(Call& call) {
  call.bind({"suffix"}, 1);
  const std::string& text = self(call);
  const std::string part = call.text(0, "");
  if (!text.ends_with(part)) return call.self;
  return call.run.string(text.substr(0, text.size() - part.size()));
}

Value method_format(Call& call) {
  return call.run.string(brace_format(call.run, call.self.text(), call));
}

}  // namespace

std::span<const Named> string_methods() {
  static constexpr Named methods[] = {
      {"capitalize", method_capitalize},
      {"center", method_center},
      {"format", method_format},
      {"join", method_join},
      {"ljust", method_ljust},
      {"lower", method_lower},
      {"lstrip", method_strip<true, false>},
      {"partition", method_partition<false>},
      {"removeprefix", method_removeprefix},
      {"removesuffix", method_removesuffix},
      {"replace", method_replace},
      {"rjust", method_rjust},
      {"rpartition", method_partition<true>},
      {"rsplit", method_split<true>},
      {"rstrip", method_strip<false, true>},
      {"split", method_split<false>},
      {"splitlines", method_splitlines},
      {"strip", method_strip<true, true>},
      {"swapcase", method_swapcase},
      {"title", method_title},
      {"upper", method_upper},
      {"zfill", method_zfill},
  };
  return methods;
}

}  // namespace assay::jinja
