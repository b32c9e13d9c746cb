// Filters of text.
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {

std::string soft_text(Call& call) {
  std::string text = call.run.str(call.self);
  call.run.charge(text.size() / 8);
  return text;
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '\'':
        out += "&#39;";
        break;
      case '"':
        out += "&#34;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

namespace {

/// A method of strings, applied to str(value).
template <const char* Name>
Value by_method(Call& call) {
  Call inner{call.run, call.name, make_string(soft_text(call)), call.positional, call.keywords, {}};
  return find_method(inner.self, Name)(inner);
}
constexpr char capitalize[] = "capitalize";

Value filter_upper(Call& call) {
  call.bind({});
  return call.run.string(to_upper(soft_text(call)));
}
Value filter_lower(Call& call) {
  call.bind({});
  return call.run.string(to_lower(soft_text(call)));
}

/// Words begin after white space and - ( { [ <; the rest of each is lower case.
Value filter_title(Call& call) {
  call.bind({});
  const std::string text = soft_text(call);
  std::string out;
  bool begins = true;
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    if (begins) {
      append_upper(out, code);
    } else {
      append_lower(out, code);
    }
    begins = is_space(code) ||
             (code < 0x80 &&
              std::string_view("-({[<").find(static_cast<char>(code)) != std::string_view::npos);
  }
  return call.run.string(std::move(out));
}

Value filter_trim(Call& call) {
  call.bind({"chars"});
  Call inner{call.run, call.name, make_string(soft_text(call)), {}, {}, {}};
  if (call.has(0)) inner.positional.push_back(call.at(0));
  return find_method(inner.self, "strip")(inner);
}

Value filter_center(Call& call) {
  call.bind({"width"});
  Call inner{call.run, call.name, make_string(soft_text(call)), {}, {}, {}};
  inner.positional.push_back(Value{call.integer(0, 80)});
  return find_method(inner.self, "center")(inner);
}

Value filter_replace(Call& call) {
  call.bind({"old", "new", "count"}, 2);
  Call inner{call.run, call.name, make_string(soft_text(call)), {}, {}, {}};
  inner.positional = {make_string(call.run.str(call.at(0))), make_string(call.run.str(call.at(1)))};
  if (call.has(2) && !call.at(2).is_none()) inner.positional.push_back(call.at(2));
  return find_method(inner.self, "replace")(inner);
}

Value filter_escape(Call& call) {
  call.bind({});
  const bool done = call.self.is_string() && call.self.string().safe && call.name != "forceescape";
  const std::string text = soft_text(call);
  Value made = call.run.string(done ? text : escaped(text));
  return make_string(made.text(), true);
}
Value filter_safe(Call& call) {
  call.bind({});
  return make_string(soft_text(call), true);
}
Value filter_string(Call& call) {
  call.bind({});
  if (call.self.is_string()) return call.self;
  return call.run.string(call.run.str(call.self));
}

/// The lines, as Python's splitlines().
std::vector<Value> lines_of(Run& run, const std::string& text) {
  Call inner{run, "splitlines", make_string(text), {}, {}, {}};
  return iterate(run, find_method(inner.self, "splitlines")(inner));
}

Value filter_indent(Call& call) {
  call.bind({"width", "first", "blank"});
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is_string()) {
    fail("'indent' needs a string, not a '" + std::string(type_name(call.self)) + "'");
  }
  const bool first = call.truth(1, false), blank = call.truth(2, false);
  std::string indention;
  if (call.has(0) && call.at(0).is_string()) {
    indention = call.at(0).text();
  } else {
    const int64_t width = std::max<int64_t>(call.integer(0, 4), 0);
    call.run.charge_bytes(static_cast<uint64_t>(width));
    indention.assign(static_cast<uint64_t>(width), ' ');
  }
  const std::vector<Value> lines = lines_of(call.run, call.self.text() + "\n");
  std::string out = first ? indention : "";
  for (uint64_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i].text();
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !line.empty())) out += indention;
    out += line;
    call.run.charge_bytes(out.size() > (uint64_t{1} << 16) ? out.size() : 0);
  }
  return call.run.string(std::move(out));
}

Value filter_truncate(Call& call) {
  call.bind({"length", "killwords", "end", "leeway"});
  const int64_t length = call.integer(0, 255);
  const bool kill = call.truth(1, false);
  const std::string end = call.text(2, "...");
  const int64_t leeway = call.has(3) && !call.at(3).is_none() ? call.integer(3, 5) : 5;
  const int64_t room = length - static_cast<int64_t>(count_code_points(end));
  if (room < 0) fail("'truncate' needs a length of at least that of its end");
  if (leeway < 0) fail("'truncate' needs a leeway of at least 0");
  const std::optional<uint64_t> size = length_of(call.self);
  if (!size) fail("a '" + std::string(type_name(call.self)) + "' has no length");
  // Written as a difference: length + leeway may not fit.
  if (static_cast<int64_t>(*size) - leeway <= length) return call.self;
  if (!call.self.is_string()) fail("'truncate' needs a string");
  std::string text = call.self.text().substr(0, byte_offset(call.self.text(), room));
  if (!kill) {
    if (const uint64_t space = text.rfind(' '); space != std::string::npos) text.resize(space);
  }
  return call.run.string(text + end);
}

Value filter_wordcount(Call& call) {
  call.bind({});
  const std::string text = soft_text(call);
  int64_t count = 0;
  bool inside = false;
  for (uint64_t i = 0; i < text.size();) {
    const char32_t code = next_code_point(text, i);
    const bool word = code == '_' || is_alpha(code) || is_numeric(code);
    count += word && !inside;
    inside = word;
  }
  return Value{count};
}

void append_url(std::string& out, std::string_view text, bool query) {
  static constexpr char digits[] = "0123456789ABCDEF";
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      const uint8_t byte = static_cast<uint8_t>(c);
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
}

Value filter_urlencode(Call& call) {
  call.bind({});
  std::string out;
  if (call.self.is_string() || !is_iterable(call.self)) {
    append_url(out, soft_text(call), false);
    return call.run.string(std::move(out));
  }
  std::vector<Value> pairs;
  if (call.self.is_dict()) {
    for (const auto& [key, value] : call.self.dict().entries)
      pairs.push_back(make_tuple({key, value}));
  } else {
    pairs = iterate(call.run, call.self);
  }
  for (const Value& pair : pairs) {
    const std::vector<Value> parts = iterate(call.run, pair);
    if (parts.size() != 2) fail("'urlencode' needs pairs");
    if (!out.empty()) out += '&';
    append_url(out, call.run.str(parts[0]), true);
    out += '=';
    append_url(out, call.run.str(parts[1]), true);
  }
  return call.run.string(std::move(out));
}

Value filter_xmlattr(Call& call) {
  call.bind({"autospace"});
  if (!call.self.is_dict()) fail("'xmlattr' needs a dict");
  std::string out;
  for (const auto& [key, value] : call.self.dict().entries) {
    if (value.is_none() || value.is_undefined()) continue;
    const std::string name = call.run.str(key);
    for (uint64_t i = 0; i < name.size();) {
      const char32_t code = next_code_point(name, i);
      if (is_space(code) || code == '/' || code == '>' || code == '=') {
        fail("'xmlattr' can't write the attribute name " + string_repr(name));
      }
    }
    if (!out.empty()) out += ' ';
    out += escaped(name) + "=\"" + escaped(call.run.str(value)) + "\"";
    call.run.charge_bytes(out.size());
  }
  if (call.truth(0, true) && !out.empty()) out.insert(0, " ");
  return call.run.string(std::move(out));
}

}  // namespace

std::span<const Named> text_filters() {
  static constexpr Named filters[] = {
      {"capitalize", by_method<capitalize>},
      {"center", filter_center},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"forceescape", filter_escape},
      {"indent", filter_indent},
      {"lower", filter_lower},
      {"replace", filter_replace},
      {"safe", filter_safe},
      {"string", filter_string},
      {"title", filter_title},
      {"trim", filter_trim},
      {"truncate", filter_truncate},
      {"upper", filter_upper},
      {"urlencode", filter_urlencode},
      {"wordcount", filter_wordcount},
      {"xmlattr", filter_xmlattr},
  };
  return filters;
}

}  // namespace assay::jinja
