#include "text/chat_prompt.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>

namespace assay::text {
namespace {

using Json = nlohmann::ordered_json;

// How a special token's spelling in a message is told from the template's own: a mark before it,
// which goes through the template like any letter and is taken out again before encoding. Unicode
// guarantees that the 32 noncharacters U+FDD0 … U+FDEF mean nothing to others. A template that
// prints a message as Python or ASCII JSON spells the mark `\ufdd0`: that is taken out, too.
constexpr uint32_t first_mark = 0xFDD0, last_mark = 0xFDEF;

struct Mark {
  std::string letter, escaped;
};

Mark mark_of(uint32_t code) {
  return {{char(0xE0 | code >> 12), char(0x80 | (code >> 6 & 0x3F)), char(0x80 | (code & 0x3F))},
          fmt::format("\\u{:04x}", code)};
}

/// Every text of the messages but roles and types.
template <class Visitor>
void visit_texts(Json& json, const Visitor& visitor) {
  if (json.is_string()) {
    visitor(json.get_ref<std::string&>());
  } else if (json.is_array()) {
    for (Json& element : json) visit_texts(element, visitor);
  } else if (json.is_object()) {
    for (auto& [key, value] : json.items())
      if (key != "role" && key != "type") visit_texts(value, visitor);
  }
}

/// A mark that no text holds.
Result<Mark> choose_mark(Json& messages) {
  for (uint32_t code = first_mark; code <= last_mark; ++code) {
    Mark mark = mark_of(code);
    bool used = false;
    visit_texts(messages, [&](const std::string& text) {
      used |= text.find(mark.letter) != text.npos || text.find(mark.escaped) != text.npos;
    });
    if (!used) return mark;
  }
  return Error{"the messages hold every one of Unicode's noncharacters U+FDD0 to U+FDEF"};
}

/// `text` without its marks, and the offsets before which they stood.
struct Unmarked {
  std::string text;
  std::vector<uint64_t> offsets;
};
Unmarked unmark(std::string_view text, const Mark& mark) {
  Unmarked out;
  // Each spelling is looked for again only once it was passed: text without one is searched once.
  size_t letter = text.find(mark.letter), escaped = text.find(mark.escaped);
  for (size_t at = 0; at < text.size();) {
    if (letter < at) letter = text.find(mark.letter, at);
    if (escaped < at) escaped = text.find(mark.escaped, at);
    const size_t found = std::min(letter, escaped);
    out.text += text.substr(at, found - at);
    if (found == text.npos) break;
    out.offsets.push_back(out.text.size());
    at = found + (found == letter ? mark.letter : mark.escaped).size();
  }
  return out;
}

}  // namespace

Result<std::vector<Token>> encode_chat(const Tokenizer& tokenizer, const ChatTemplate& chat,
                                       const Json& messages, const ChatOptions& options) {
  Json marked = messages;
  const auto mark = choose_mark(marked);
  if (!mark) return mark.error();
  visit_texts(marked, [&](std::string& text) {
    std::string with_marks;
    size_t at = 0;
    for (const uint64_t start : tokenizer.special_starts(text)) {
      with_marks.append(text, at, start - at).append(mark->letter);
      at = start;
    }
    text = with_marks.append(text, at);
  });
  const auto rendered = chat.render(marked, options);
  if (!rendered) return Error{"the chat template can't be used: " + rendered.error().message};
  const Unmarked prompt = unmark(*rendered, *mark);
  const bool begins_plain = !prompt.offsets.empty() && prompt.offsets[0] == 0;
  return tokenizer.encode(prompt.text,
                          {.parse_special = true,
                           .add_bos = begins_plain || !chat.begins_with_bos(prompt.text),
                           .add_eos = false,
                           .plain_at = prompt.offsets});
}

}  // namespace assay::text
