// json.dumps.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "jinja/run.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

void append_unit(std::string& out, uint32_t unit) {
  static constexpr char digits[] = "0123456789abcdef";
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += digits[unit >> shift & 15];
}

/// A character as it stands in a JSON string.
void append_character(std::string& out, std::string_view character, char32_t code, bool ascii) {
  static constexpr std::string_view letters = "\"\\nrtfb", values = "\"\\\n\r\t\f\b";
  const uint64_t known =
      code < 0x80 ? values.find(static_cast<char>(code)) : std::string_view::npos;
  if (known != std::string_view::npos) {
    out += '\\';
    out += letters[known];
  } else if (code < 0x20 || (ascii && code > 0x7E && code < 0x10000)) {
    append_unit(out, code);
  } else if (ascii && code >= 0x10000) {
    append_unit(out, 0xD800 + ((code - 0x10000) >> 10));
    append_unit(out, 0xDC00 + ((code - 0x10000) & 0x3FF));
  } else {
    out += character;
  }
}

void append_string(Text& out, const Text& text, bool ascii) {
  out += '"';
  for (uint64_t i = 0; i < text.size();) {
    const uint64_t start = i, before = out.size();
    const char32_t code = next_code_point(text.bytes, i);
    append_character(out.bytes, std::string_view(text.bytes).substr(start, i - start), code, ascii);
    out.mark(before, text.origin(start));
  }
  out += '"';
}

std::string real_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_repr(value);
}

/// Everything but a list or dict; false where JSON has no such value.
bool append_scalar(Run& run, Text& out, const Value& value, bool ascii) {
  if (value.is_none()) {
    out += "null";
  } else if (value.is<bool>()) {
    out += value.as<bool>() ? "true" : "false";
  } else if (value.is<int64_t>() || value.is_big()) {
    out += value.digits();
  } else if (value.is<double>()) {
    out += real_text(value.as<double>());
  } else if (value.is_string()) {
    run.charge_bytes(value.text().size());
    append_string(out, value.string(), ascii);
  } else {
    return false;
  }
  return true;
}

void new_line(Run& run, Text& out, const JsonStyle& style, uint64_t level) {
  if (!style.indent) return;
  run.charge(level * style.indent->size() / 64);
  out += '\n';
  for (uint64_t i = 0; i < level; ++i) out += *style.indent;
}

void append_key(Run& run, Text& out, const Value& key, const JsonStyle& style) {
  Text text;
  if (key.is_string()) {
    text = key.string();
  } else if (!append_scalar(run, text, key, false)) {
    fail("'tojson' can't write a key of type '" + std::string(type_name(key)) + "'");
  }
  append_string(out, text, style.ensure_ascii);
  out += style.key_separator;
}

void append_object(Run& run, Text& out, const Dict& dict, const JsonStyle& style, uint64_t level) {
  std::vector<uint64_t> places(dict.entries.size());
  std::iota(places.begin(), places.end(), uint64_t{0});
  if (style.sort_keys) {
    const Work work = run.work();
    std::stable_sort(places.begin(), places.end(), [&](uint64_t a, uint64_t b) {
      return less(dict.entries[a].first, dict.entries[b].first, work);
    });
  }
  out += '{';
  for (uint64_t i = 0; i < places.size(); ++i) {
    if (i > 0) out += style.item_separator;
    run.charge(style.item_separator.size() / 64);
    new_line(run, out, style, level + 1);
    append_key(run, out, dict.entries[places[i]].first, style);
    append_json(run, out, dict.entries[places[i]].second, style, level + 1);
  }
  new_line(run, out, style, level);
  out += '}';
}

}  // namespace

void append_json(Run& run, Text& out, const Value& value, const JsonStyle& style, uint64_t level) {
  const Nesting nesting(run);
  run.charge(1);
  if (out.size() > run.limits.value_bytes) run.charge_bytes(out.size());
  if (append_scalar(run, out, value, style.ensure_ascii)) return;
  if (value.is_dict()) {
    if (value.dict().entries.empty()) {
      out += "{}";
    } else {
      append_object(run, out, value.dict(), style, level);
    }
    return;
  }
  if (!value.is_sequence() || value.sequence().kind > SequenceKind::tuple) {
    fail("'tojson' can't write a value of type '" + std::string(type_name(value)) + "'");
  }
  const std::vector<Value>& items = value.sequence().items;
  out += '[';
  for (uint64_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += style.item_separator;
    run.charge(style.item_separator.size() / 64);
    new_line(run, out, style, level + 1);
    append_json(run, out, items[i], style, level + 1);
  }
  if (!items.empty()) new_line(run, out, style, level);
  out += ']';
}

}  // namespace assay::jinja
