// Filters of text.
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {

Text soft_text(Call& call) {
  Text text = call.run.str(call.self);
  call.run.charge(text.size() / 8);
  return text;
}

Text mapped(const Text& text, void (*append)(std::string& out, char32_t code)) {
  Text out;
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t start = i, before = out.size();
    append(out.bytes, next_code_point(text.bytes, i));
    out.mark(before, text.origin(start));
  }
  return out;
}

Text escaped(const Text& text) {
  return mapped(text, [](std::string& out, char32_t code) {
    switch (code) {
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
        append_code_point(out, code);
    }
  });
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
  return call.run.string(mapped(soft_text(call), append_upper));
}
Value filter_lower(Call& call) {
  call.bind({});
  return call.run.string(mapped(soft_text(call), append_lower));
}

/// Words begin after white space and - ( { [ <; the rest of each is lower case.
Value filter_title(Call& call) {
  call.bind({});
  const Text text = soft_text(call);
  Text out;
  bool begins = true;
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t start = i, before = out.size();
    const char32_t code = next_code_point(text.bytes, i);
    (begins ? append_upper : append_lower)(out.bytes, code);
    out.mark(before, text.origin(start));
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

Value filter_replace(Call& call) {
  call.bind({"old", "new", "count"}, 2);
  Call inner{call.run, call.name, make_string(soft_text(call)), {}, {}, {}};
  inner.positional = {make_string(call.run.str(call.at(0))), make_string(call.run.str(call.at(1)))};
  if (call.has(2) && !call.at(2).is_none()) inner.positional.push_back(call.at(2));
  return find_method(inner.self, "replace")(inner);
}

Value filter_escape(Call& call) {
  call.bind({});
  const bool done = call.self.is_string() && call.self.string().safe;
  const Text text = soft_text(call);
  Value made = call.run.string(done ? text : escaped(text));
  return make_string(made.string(), true);
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
std::vector<Value> lines_of(Run& run, const Text& text) {
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
  Text indention;
  if (call.has(0) && call.at(0).is_string()) {
    indention = call.at(0).string();
  } else {
    const int64_t width = std::max<int64_t>(call.integer(0, 4), 0);
    call.run.charge_bytes(static_cast<uint64_t>(width));
    indention.bytes.assign(static_cast<uint64_t>(width), ' ');
  }
  Text text = call.self.string();
  text += '\n';
  const std::vector<Value> lines = lines_of(call.run, text);
  Text out = first ? indention : Text();
  for (uint64_t i = 0; i < lines.size(); ++i) {
    const String& line = lines[i].string();
    if (i > 0) out += '\n';
    if (i > 0 && (blank || !line.empty())) out += indention;
    out += line;
    call.run.charge_bytes(out.size() > (uint64_t{1} << 16) ? out.size() : 0);
  }
  return call.run.string(std::move(out));
}

}  // namespace

std::span<const Named> text_filters() {
  static constexpr Named filters[] = {
      {"capitalize", by_method<capitalize>},
      {"e", filter_escape},
      {"escape", filter_escape},
      {"format", filter_format},
      {"indent", filter_indent},
      {"lower", filter_lower},
      {"replace", filter_replace},
      {"safe", filter_safe},
      {"string", filter_string},
      {"title", filter_title},
      {"trim", filter_trim},
      {"upper", filter_upper},
  };
  return filters;
}

}  // namespace assay::jinja
