// str() and repr() of values, as Python prints them.
#include <charconv>
#include <cmath>

#include "jinja/run.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

void append_hexadecimal(std::string& out, char32_t code) {
  static constexpr char digits[] = "0123456789abcdef";
  const int count = code < 0x100 ? 2 : code < 0x10000 ? 4 : 8;
  out += code < 0x100 ? "\\x" : code < 0x10000 ? "\\u" : "\\U";
  for (int i = count - 1; i >= 0; --i) out += digits[code >> (4 * i) & 15];
}

void append_items(Text& out, const std::vector<Value>& items, Run& run) {
  bool first = true;
  for (const Value& item : items) {
    if (!first) out += ", ";
    first = false;
    append_repr(out, item, run);
  }
}

void append_dict(Text& out, const Dict& dict, Run& run) {
  out += '{';
  bool first = true;
  for (const auto& [key, value] : dict.entries) {
    if (!first) out += ", ";
    first = false;
    append_repr(out, key, run);
    out += ": ";
    append_repr(out, value, run);
  }
  out += '}';
}

void append_sequence(Text& out, const Sequence& sequence, Run& run) {
  switch (sequence.kind) {
    case SequenceKind::list:
      out += '[';
      append_items(out, sequence.items, run);
      out += ']';
      return;
    case SequenceKind::tuple:
      out += '(';
      append_items(out, sequence.items, run);
      out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    case SequenceKind::range:
      out +=
          "range(" + std::to_string(sequence.range[0]) + ", " + std::to_string(sequence.range[1]);
      if (sequence.range[2] != 1) out += ", " + std::to_string(sequence.range[2]);
      out += ')';
      return;
    case SequenceKind::generator:
      out += "<generator object>";
      return;
    default:
      break;
  }
  out += sequence.kind == SequenceKind::keys     ? "dict_keys(["
         : sequence.kind == SequenceKind::values ? "dict_values(["
                                                 : "dict_items([";
  append_items(out, sequence.items, run);
  out += "])";
}

void append_object(Text& out, const Value& value, Run& run) {
  if (const auto* space = std::get_if<std::shared_ptr<Namespace>>(&value.data)) {
    out += "<Namespace ";
    append_dict(out, (*space)->attributes, run);
    out += '>';
  } else if (const auto* loop = std::get_if<std::shared_ptr<Loop>>(&value.data)) {
    out += "<LoopContext " + std::to_string((*loop)->index + 1) + "/" +
           std::to_string((*loop)->length()) + ">";
  } else if (const auto* macro = std::get_if<std::shared_ptr<Macro>>(&value.data)) {
    out += "<Macro '" + (*macro)->definition->text + "'>";
  } else {
    out += "<" + std::string(type_name(value)) + ">";
  }
}

}  // namespace

std::string float_repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  // The shortest digits that read back as the same value, d.ddde±xx; Python writes them without an
  // exponent where that is from -4 to 15.
  char buffer[64];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view text(buffer, static_cast<uint64_t>(end.ptr - buffer));
  const uint64_t mark = text.find('e');
  const int exponent = std::stoi(std::string(text.substr(mark + 1)));
  std::string digits, sign;
  for (const char c : text.substr(0, mark)) {
    if (c == '-') sign = "-";
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < -4 || exponent >= 16) {
    std::string mantissa = digits.substr(0, 1);
    if (digits.size() > 1) mantissa += "." + digits.substr(1);
    const std::string size = std::to_string(std::abs(exponent));
    return sign + mantissa + (exponent < 0 ? "e-" : "e+") + (size.size() < 2 ? "0" : "") + size;
  }
  if (exponent < 0) return sign + "0." + std::string(-exponent - 1, '0') + digits;
  const uint64_t whole = static_cast<uint64_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0') + ".0";
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

namespace {

void append_string_repr(Text& out, const Text& text) {
  const bool single = text.bytes.find('\'') != std::string::npos;
  const char quote = single && text.bytes.find('"') == std::string::npos ? '"' : '\'';
  out += quote;
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t start = i, before = out.size();
    const char32_t code = next_code_point(text.bytes, i);
    if (code == static_cast<char32_t>(quote) || code == '\\') {
      out.bytes += '\\';
      out.bytes += static_cast<char>(code);
    } else if (code == '\n' || code == '\r' || code == '\t') {
      out.bytes += code == '\n' ? "\\n" : code == '\r' ? "\\r" : "\\t";
    } else if (code < 0x20 || code == 0x7F || (code >= 0x80 && !is_printable(code))) {
      append_hexadecimal(out.bytes, code);
    } else {
      out.bytes.append(text.bytes, start, i - start);
    }
    out.mark(before, text.origin(start));
  }
  out += quote;
}

}  // namespace

std::string string_repr(std::string own) {
  Text out;
  append_string_repr(out, Text(std::move(own)));
  return out.bytes;
}

void append_repr(Text& out, const Value& value, Run& run) {
  const Nesting nesting(run);
  run.charge(1);
  if (value.is_undefined()) {
    out += "Undefined";
  } else if (value.is_none()) {
    out += "None";
  } else if (value.is<bool>()) {
    out += value.as<bool>() ? "True" : "False";
  } else if (value.is<int64_t>() || value.is_big()) {
    out += value.digits();
  } else if (value.is<double>()) {
    out += float_repr(value.as<double>());
  } else if (value.is_string()) {
    run.charge_bytes(value.text().size());
    if (value.string().safe) out += "Markup(";
    append_string_repr(out, value.string());
    if (value.string().safe) out += ')';
  } else if (value.is_sequence()) {
    append_sequence(out, value.sequence(), run);
  } else if (value.is_dict()) {
    append_dict(out, value.dict(), run);
  } else {
    append_object(out, value, run);
  }
  if (out.size() > run.limits.value_bytes) run.charge_bytes(out.size());
}

void append_str(Text& out, const Value& value, Run& run) {
  if (value.is_undefined()) return;
  if (!value.is_string()) return append_repr(out, value, run);
  run.charge_bytes(value.text().size());
  out += value.string();
}

}  // namespace assay::jinja
