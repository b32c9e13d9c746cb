// The filter wordwrap, as Python's textwrap.wrap but with a simpler rule for hyphens: a line may
// end behind one that stands between letters.
#include <algorithm>

#include "jinja/registry.h"
#include "jinja/unicode.h"

namespace assay::jinja {

namespace {

struct WrapStyle {
  uint64_t width = 79;
  bool cut_words = true;  ///< words longer than a line are cut
  bool at_hyphens = true;
};

/// Words and the white space between them, alternating; a word may be in pieces after hyphens.
std::vector<std::string_view> chunks_of(std::string_view line, bool at_hyphens) {
  std::vector<std::string_view> chunks;
  uint64_t begin = 0;
  bool blank = false;
  const auto end_chunk = [&](uint64_t end) {
    if (end > begin) chunks.push_back(line.substr(begin, end - begin));
    begin = end;
  };
  for (uint64_t i = 0; i < line.size();) {
    const uint64_t start = i;
    const char32_t code = next_code_point(line, i);
    const bool space = code == ' ' || (code >= 9 && code <= 13);
    if (space != blank) end_chunk(start);
    blank = space;
    if (!at_hyphens || code != '-' || i - begin <= 2 || i == line.size()) continue;
    uint64_t after = i;
    if (is_alpha(next_code_point(line, after))) end_chunk(i);
  }
  end_chunk(line.size());
  return chunks;
}

struct Wrapper {
  Run& run;
  const WrapStyle& style;
  std::vector<std::string> lines;
  std::string current;
  uint64_t length = 0;  // of `current`, in code points

  void flush() {
    run.charge(1 + current.size() / 64);
    if (!current.empty()) lines.push_back(std::exchange(current, {}));
    length = 0;
  }
  void append(std::string_view text, uint64_t size) {
    current += text;
    length += size;
  }

  void word(std::string_view text, std::string_view space) {
    uint64_t size = count_code_points(text);
    if (!current.empty() && length + space.size() + size > style.width) {
      // A word that no line holds begins on this one, where any of it fits.
      const bool cut_here =
          style.cut_words && size > style.width && length + space.size() < style.width;
      if (!cut_here) {
        flush();
        space = {};
      }
    }
    append(space, space.size());
    while (style.cut_words && size > style.width) {
      const uint64_t room = std::max<uint64_t>(style.width - std::min(length, style.width), 1);
      const uint64_t cut = byte_offset(text, room);
      append(text.substr(0, cut), room);
      flush();
      text.remove_prefix(cut);
      size -= room;
    }
    append(text, size);
  }
};

std::vector<std::string> wrapped(Run& run, std::string_view line, const WrapStyle& style) {
  Wrapper wrapper{run, style, {}, {}, 0};
  std::string_view space;
  for (const std::string_view chunk : chunks_of(line, style.at_hyphens)) {
    run.charge(1);
    if (strip_left(chunk).empty()) {
      // White space goes at the ends of lines, but not where the text begins.
      if (!wrapper.current.empty() || wrapper.lines.empty()) space = chunk;
    } else {
      wrapper.word(chunk, std::exchange(space, {}));
    }
  }
  wrapper.flush();
  return std::move(wrapper.lines);
}

}  // namespace

Value filter_wordwrap(Call& call) {
  call.bind({"width", "break_long_words", "wrapstring", "break_on_hyphens"});
  const int64_t width = call.integer(0, 79);
  if (call.self.is_undefined()) fail_undefined(call.self);
  if (!call.self.is_string()) fail("'wordwrap' needs a string");
  if (width <= 0) fail("'wordwrap' needs a width above 0");
  const WrapStyle style{static_cast<uint64_t>(width), call.truth(1, true), call.truth(3, true)};
  const std::string joint = call.has(2) && !call.at(2).is_none() ? call.text(2, "") : "\n";
  Call split{call.run, "splitlines", call.self, {}, {}, {}};
  std::string out;
  bool first_line = true;
  for (const Value& line : iterate(call.run, find_method(split.self, "splitlines")(split))) {
    if (!first_line) out += joint;
    first_line = false;
    bool first = true;
    for (const std::string& part : wrapped(call.run, line.text(), style)) {
      if (!first) out += joint;
      first = false;
      out += part;
      call.run.charge(1 + (joint.size() + part.size()) / 64);
      if (out.size() > call.run.limits.value_bytes) call.run.charge_bytes(out.size());
    }
  }
  return call.run.string(std::move(out));
}

}  // namespace assay::jinja
