// Python's 'format' % arguments.
#include <cmath>

#include "jinja/number_format.h"
#include "jinja/registry.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

struct Percent {
  Run& run;
  const Text& text;
  const Value& arguments;
  const std::string& format = text.bytes;
  uint64_t position = 0;
  uint64_t used = 0;
  bool by_name = false;

  char current() const { return position < format.size() ? format[position] : 0; }
  Value next();
  Value named();
  int64_t number();
  NumberStyle style(bool& left, bool& zero);
  Text conversion();
};

bool is_tuple(const Value& value) {
  return value.is_sequence() && value.sequence().kind == SequenceKind::tuple;
}

Value Percent::next() {
  if (!is_tuple(arguments)) {
    if (used++ > 0) fail("too few arguments for the format");
    return arguments;
  }
  const auto& items = arguments.sequence().items;
  if (used >= items.size()) fail("too few arguments for the format");
  return items[used++];
}

Value Percent::named() {
  if (!arguments.is_dict()) fail("the format needs a dict");
  const uint64_t close = format.find(')', position);
  if (close == std::string::npos) fail("the format has '%(' without ')'");
  const std::string key = format.substr(position + 1, close - position - 1);
  position = close + 1;
  by_name = true;
  const Value* found = arguments.dict().find(key);
  if (!found) fail("the format names " + string_repr(key) + ", which isn't given");
  return *found;
}

int64_t Percent::number() {
  if (current() == '*') {
    ++position;
    const Value value = next();
    check_fits(value);
    if (!value.is_integer()) fail("'*' in a format needs an integer");
    const int64_t width = value.integer();
    return width < 0 ? width : checked_width(run, std::to_string(width));
  }
  const uint64_t start = position;
  while (current() >= '0' && current() <= '9') ++position;
  if (position == start) return 0;
  return checked_width(run, std::string_view(format).substr(start, position - start));
}

NumberStyle Percent::style(bool& left, bool& zero) {
  NumberStyle made;
  for (;; ++position) {
    const char c = current();
    if (c == '-') {
      left = true;
    } else if (c == '0') {
      zero = true;
    } else if (c == '+' || (c == ' ' && made.sign != '+')) {
      made.sign = c;
    } else if (c == '#') {
      made.alternate = true;
    } else if (c != ' ') {
      break;
    }
  }
  const int64_t width = number();
  left = left || width < 0;
  made.width = static_cast<uint64_t>(width < 0 ? 0 - width : width);
  if (made.width > run.limits.value_bytes) fail("a width in a format is too large");
  if (current() == '.') {
    ++position;
    made.precision = std::max<int64_t>(number(), 0);
  }
  while (current() == 'l' || current() == 'h' || current() == 'L') ++position;
  return made;
}

Value whole_number(const Value& value, char type) {
  if (value.is_integer() || value.is_big()) return value;
  if (value.is_undefined()) fail_undefined(value);
  const bool decimal = type == 'd' || type == 'i' || type == 'u';
  if (!decimal || !value.is<double>()) {
    fail(std::string("'%") + type + "' needs an integer, not a '" + std::string(type_name(value)) +
         "'");
  }
  return make_integer(value.as<double>());
}

/// What %s, %r and %c print.
Text text_argument(Run& run, const Value& value, char type, int64_t precision) {
  Text text;
  if (type == 's' || type == 'r' || type == 'a') {
    text = type == 's' ? run.str(value) : run.repr(value);
    if (precision >= 0) {
      text = text.part(0, byte_offset(text.bytes, static_cast<uint64_t>(precision)));
    }
  } else if (value.is_integer()) {
    const int64_t code = value.integer();
    if (code < 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) {
      fail("'%c' needs a character");
    }
    append_code_point(text.bytes, static_cast<char32_t>(code));
  } else {
    if (!value.is_string() || value.string().length != 1) fail("'%c' needs a character");
    text = value.string();
  }
  return text;
}

Text Percent::conversion() {
  ++position;
  if (current() == '%') return text.part(position++, 1);
  std::optional<Value> value;
  if (current() == '(') value = named();
  bool left = false, zero = false;
  NumberStyle made = style(left, zero);
  const char type = current();
  ++position;
  if (type == '%') return text.part(position - 1, 1);
  if (type == 0) fail("the format ends inside of a '%'");
  if (std::string_view("sradiuxXoeEfFgGc").find(type) == std::string_view::npos) {
    fail("the format has an unknown '%' letter");
  }
  if (!value) value = next();
  made.align = left ? '<' : '>';
  if (type == 's' || type == 'r' || type == 'a' || type == 'c') {
    return filled(run, "", text_argument(run, *value, type, made.precision), made, '>');
  }
  if (zero && !left) made.fill = "0", made.align = '=';
  made.type = type == 'i' || type == 'u' ? 'd' : type;
  if (std::string_view("dxXo").find(made.type) != std::string_view::npos) {
    return integer_text(run, whole_number(*value, type), made);
  }
  if (value->is_undefined()) fail_undefined(*value);
  if (!value->is_number()) {
    fail("the format needs a number, not a '" + std::string(type_name(*value)) + "'");
  }
  return real_text(run, value->real(), made);
}

}  // namespace

Value filter_format(Call& call) {
  if (!call.positional.empty() && !call.keywords.empty()) {
    fail("'format' takes arguments with names or without, not both");
  }
  std::vector<std::pair<Value, Value>> named;
  for (const auto& [name, value] : call.keywords) named.emplace_back(make_string(name), value);
  const Value arguments = named.empty() ? call.run.tuple(call.positional) : call.run.dict(named);
  return call.run.string(percent_format(call.run, soft_text(call), arguments));
}

Text percent_format(Run& run, const Text& text, const Value& arguments) {
  const std::string& format = text.bytes;
  Percent percent{run, text, arguments};
  Text out;
  while (percent.position < format.size()) {
    const uint64_t mark = std::min(format.find('%', percent.position), format.size());
    out.append(text, percent.position, mark - percent.position);
    percent.position = mark;
    if (mark == format.size()) break;
    out += percent.conversion();
    run.charge(1);
    if (out.size() > run.limits.value_bytes) run.charge_bytes(out.size());
  }
  const uint64_t given = is_tuple(arguments) ? arguments.sequence().items.size() : 1;
  // Python takes whatever has items but isn't a tuple or string for a mapping.
  const bool may_be_left = arguments.is_undefined() || arguments.is_dict() ||
                           (arguments.is_sequence() && !is_tuple(arguments) &&
                            arguments.sequence().kind <= SequenceKind::range);
  if (percent.used < given && !may_be_left && !percent.by_name) {
    fail("the format uses fewer arguments than given");
  }
  return out;
}

}  // namespace assay::jinja
