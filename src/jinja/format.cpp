// Python's '…'.format(…).
#include <algorithm>

#include "jinja/number_format.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

struct Braces {
  Run& run;
  const Call& call;
  uint64_t next = 0;      // of the fields without a number
  bool numbered = false;  // a field with a number has been seen
  bool counted = false;   // a field without one

  Text all(const Text& format, int levels);
  Text field(const Text& text, int levels);
  Value look_up(std::string_view path);
  Value argument(std::string_view name);
};

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

/// [[fill]align][sign][#][0][width][,][.precision][type]
NumberStyle parse_style(Run& run, std::string_view text) {
  NumberStyle style;
  uint64_t i = 0;
  const auto at = [&](uint64_t k) { return k < text.size() ? text[k] : '\0'; };
  const auto is_align = [](char c) { return c == '<' || c == '>' || c == '^' || c == '='; };
  uint64_t after_fill = 0;
  if (!text.empty()) next_code_point(text, after_fill);
  if (is_align(at(after_fill)) && after_fill > 0) {
    style.fill = text.substr(0, after_fill);
    style.align = text[after_fill];
    i = after_fill + 1;
  } else if (is_align(at(0))) {
    style.align = text[i++];
  }
  if (at(i) == '+' || at(i) == '-' || at(i) == ' ') style.sign = text[i++];
  if (at(i) == '#') style.alternate = true, ++i;
  if (at(i) == '0') {
    if (!style.align) style.fill = "0", style.align = '0';
    ++i;
  }
  const auto digits = [&] {
    const uint64_t start = i;
    while (at(i) >= '0' && at(i) <= '9') ++i;
    return text.substr(start, i - start);
  };
  if (const auto width = digits(); !width.empty()) {
    style.width = static_cast<uint64_t>(checked_width(run, width));
  }
  if (at(i) == ',' || at(i) == '_') style.grouping = text[i++];
  if (at(i) == '.') {
    ++i;
    const auto precision = digits();
    if (precision.empty()) fail("a format has '.' without a precision");
    style.precision = checked_width(run, precision);
  }
  if (i < text.size()) style.type = text[i++];
  if (i != text.size()) fail("a format specifier is not valid");
  return style;
}

Text formatted(Run& run, const Value& value, std::string_view specifier) {
  if (specifier.empty()) return run.str(value);
  NumberStyle style = parse_style(run, specifier);
  const bool zeros = style.align == '0';
  if (value.is_string()) {
    if (style.type != 0 && style.type != 's') fail("a format letter doesn't fit a string");
    if (style.align == '=' || style.sign != '-') fail("a format flag doesn't fit a string");
    Text text = value.string();
    if (style.precision >= 0) {
      text = text.part(0, byte_offset(text.bytes, static_cast<uint64_t>(style.precision)));
    }
    if (zeros) style.align = '<';
    return filled(run, "", text, style, '<');
  }
  if (zeros) style.align = '=';
  if (value.is_number()) {
    static constexpr std::string_view whole = "bdoxXn", real = "eEfFgG%n";
    const bool of_reals = style.type != 0 && real.find(style.type) != std::string_view::npos;
    if (value.is<double>() || (of_reals && style.type != 'n')) {
      if (style.type != 0 && !of_reals) fail("a format letter doesn't fit a float");
      return real_text(run, value.real(), style);
    }
    if (style.type != 0 && whole.find(style.type) == std::string_view::npos) {
      fail("a format letter doesn't fit an int");
    }
    if (style.precision >= 0) fail("a precision doesn't fit an int");
    if (style.grouping == ',' && style.type != 0 && style.type != 'd') {
      fail("',' doesn't fit this format letter");
    }
    return integer_text(run, value, style);
  }
  fail("a format specifier doesn't fit a '" + std::string(type_name(value)) + "'");
}

Value Braces::argument(std::string_view name) {
  if (name.empty() || all_digits(name)) {
    (name.empty() ? counted : numbered) = true;
    if (counted && numbered) fail("a format mixes numbered fields with fields without a number");
    const int64_t index = name.empty() ? static_cast<int64_t>(next++) : checked_width(run, name);
    if (static_cast<uint64_t>(index) >= call.positional.size()) {
      fail("the format needs argument " + std::to_string(index) + ", which isn't given");
    }
    return call.positional[static_cast<uint64_t>(index)];
  }
  for (const auto& [known, value] : call.keywords) {
    if (known.bytes == name) return value;
  }
  fail("the format names " + string_repr(std::string(name)) + ", which isn't given");
}

/// name.attribute[item] …
Value Braces::look_up(std::string_view path) {
  const uint64_t end = std::min(path.find_first_of(".["), path.size());
  Value value = argument(path.substr(0, end));
  path.remove_prefix(end);
  while (!path.empty()) {
    const bool attribute = path[0] == '.';
    path.remove_prefix(1);
    const uint64_t stop =
        attribute ? std::min(path.find_first_of(".["), path.size()) : path.find(']');
    if (stop == std::string_view::npos) fail("a format has '[' without ']'");
    const std::string_view name = path.substr(0, stop);
    if (name.empty()) fail("a format has an empty attribute");
    path.remove_prefix(attribute ? stop : stop + 1);
    if (!attribute && !path.empty() && path[0] != '.' && path[0] != '[') {
      fail("only '.' or '[' may follow ']' in a format");
    }
    if (attribute) {
      value = get_attribute(run, value, name);
    } else {
      value = get_item(
          run, value,
          all_digits(name) ? Value{checked_width(run, name)} : make_string(std::string(name)));
    }
  }
  return value;
}

/// The inside of {name!conversion:specifier}
Text Braces::field(const Text& whole, int levels) {
  const std::string_view text = whole.bytes;
  // '[…]' may hold ':' and '!'.
  uint64_t end = 0;
  for (bool inside = false; end < text.size(); ++end) {
    if (text[end] == '[') inside = true;
    if (text[end] == ']') inside = false;
    if (!inside && (text[end] == '!' || text[end] == ':')) break;
  }
  Value value = look_up(text.substr(0, end));
  std::string_view rest = text.substr(end);
  if (rest.starts_with('!')) {
    const char kind = rest.size() > 1 ? rest[1] : '\0';
    if (kind != 'r' && kind != 's' && kind != 'a') fail("a format has an unknown conversion");
    value = run.string(kind == 's' ? run.str(value) : run.repr(value));
    rest.remove_prefix(2);
    if (!rest.empty() && rest[0] != ':') fail("expected ':' after the conversion in a format");
  }
  if (rest.empty()) return run.str(value);
  const Text specifier = all(whole.part(rest.substr(1)), levels - 1);
  Text made = formatted(run, value, specifier.bytes);
  if (!specifier.is_own()) made.mark(0, Origin::quoted);  // it may have given the fill
  return made;
}

Text Braces::all(const Text& text, int levels) {
  if (levels < 0) fail("a format is nested too deep");
  const std::string& format = text.bytes;
  Text out;
  for (uint64_t i = 0; i < format.size(); ++i) {
    const char c = format[i], after = i + 1 < format.size() ? format[i + 1] : '\0';
    if (c != '{' && c != '}') {
      out.append(text, i, 1);
    } else if (after == c) {
      out.append(text, i++, 1);
    } else if (c == '}') {
      fail("a format has a single '}'");
    } else {
      uint64_t end = i + 1;
      for (int open = 1; end < format.size(); ++end) {
        if (format[end] == '{') ++open;
        if (format[end] == '}' && --open == 0) break;
      }
      if (end >= format.size()) fail("a format has '{' without '}'");
      out += field(text.part(i + 1, end - i - 1), levels);
      i = end;
      run.charge(1);
      if (out.size() > run.limits.value_bytes) run.charge_bytes(out.size());
    }
  }
  return out;
}

}  // namespace

Text brace_format(Run& run, const Text& format, const Call& call) {
  run.charge(format.size() / 16);
  Braces braces{run, call};
  return braces.all(format, 1);
}

}  // namespace assay::jinja
