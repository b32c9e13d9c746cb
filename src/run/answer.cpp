#include "run/answer.h"

#include <algorithm>
#include <array>
#include <utility>

namespace assay::run {
namespace {

const std::vector<std::string> opening = {
    "<think>",    "<thinking>",   "<thought>",          "[THINK]",          "<|think|>",
    "<mm:think>", "<seed:think>", "<|START_THINKING|>", "<|inner_prefix|>", "<|channel>thought\n",
};
const std::vector<std::string> closing = {
    "</think>",    "</thinking>",   "</thought>",       "[/THINK]",         "<|/think|>",
    "</mm:think>", "</seed:think>", "<|END_THINKING|>", "<|inner_suffix|>", "<channel|>",
};

constexpr std::string_view analysis = "<|channel|>analysis<|message|>";

enum class Frame { header, message, says, ends };
struct FrameMark {
  std::string_view text;
  Frame frame;
  std::string_view thoughts_key;  // empty: another frame of the same answer tells
};
constexpr FrameMark frames[] = {
    // gpt-oss
    {"<|start|>", Frame::header, ""},
    {"<|channel|>", Frame::header, "thinking"},
    {"<|message|>", Frame::message, ""},
    {"<|end|>", Frame::ends, ""},
    // Solar Open
    {"<|begin|>", Frame::header, ""},
    {"<|content|>", Frame::says, "reasoning"},
    // Command R7B and later
    {"<|START_RESPONSE|>", Frame::says, "reasoning_content"},
    {"<|END_RESPONSE|>", Frame::ends, ""},
    {"<|START_TEXT|>", Frame::says, "reasoning_content"},
    {"<|END_TEXT|>", Frame::ends, ""},
};

const FrameMark* frame_of(std::string_view text) {
  const auto* found = std::ranges::find(frames, text, &FrameMark::text);
  return found == std::end(frames) ? nullptr : found;
}

/// The letters of a channel's name: "analysis" of "analysis to=…".
std::string_view first_word(std::string_view text) {
  return text.substr(0, text.find_first_of(" <\n"));
}

}  // namespace

bool opens_thoughts(std::string_view end_of_prompt) {
  const auto ends_with = [](std::string_view text, std::string_view mark) {
    return text.substr(0, text.find_last_not_of(" \t\r\n") + 1)
        .ends_with(mark.substr(0, mark.find_last_not_of('\n') + 1));
  };
  return ends_with(end_of_prompt, analysis) || std::ranges::any_of(opening, [&](const auto& mark) {
           return ends_with(end_of_prompt, mark);
         });
}

AnswerReader::AnswerReader(bool begins_with_thoughts)
    : thinking_(begins_with_thoughts), marks_(std::vector<std::string>()) {
  seek();
}

void AnswerReader::seek() {
  std::vector<std::string> marks = thinking_ ? closing : opening;
  for (const FrameMark& frame : frames) marks.emplace_back(frame.text);
  marks_ = StopStrings(marks);
}

std::vector<Said> AnswerReader::add(const TextPart& part) {
  std::vector<Said> out;
  for (const char byte : part.text) {
    held_.push_back({byte, part.control, part.shown});
    const auto found = marks_.add({&byte, 1});
    release(found.text.size(), thinking_ ? Voice::thought : Voice::answer, out);
    if (found.stopped) pass_mark(out);
  }
  return out;
}

std::vector<Said> AnswerReader::finish() {
  std::vector<Said> out;
  release(held_.size(), thinking_ ? Voice::thought : Voice::answer, out);
  return out;
}

/// Gives out the first letters that are held.
void AnswerReader::release(uint64_t bytes, Voice voice, std::vector<Said>& out) {
  for (; bytes > 0; --bytes) {
    const Letter letter = held_.front();
    held_.pop_front();
    if (in_header_) header_ += letter.byte;
    const Voice spoken = in_header_ ? Voice::mark : voice;
    if (out.empty() || out.back().voice != spoken || out.back().part.control != letter.control ||
        out.back().part.shown != letter.shown)
      out.push_back({{"", letter.control, letter.shown}, spoken});
    out.back().part.text += letter.byte;
  }
}

/// What is held is a mark, or letters that only spell a frame.
void AnswerReader::pass_mark(std::vector<Said>& out) {
  std::string mark;
  for (const Letter& letter : held_) mark += letter.byte;
  const auto is_control = [](const Letter& letter) { return letter.control; };
  const bool frame = frame_of(mark) && std::ranges::all_of(held_, is_control);
  if (!frame && frame_of(mark)) {
    release(held_.size(), thinking_ ? Voice::thought : Voice::answer, out);
  } else if (frame) {
    in_header_ = false;
    release(held_.size(), Voice::mark, out);
    pass_frame(mark);
  } else {
    in_header_ = false;
    release(held_.size(), std::ranges::any_of(held_, is_control) ? Voice::mark : Voice::thought,
            out);
    thinking_ = !thinking_;
  }
  seek();
}

void AnswerReader::pass_frame(std::string_view mark) {
  const FrameMark& passed = *frame_of(mark);
  if (!passed.thoughts_key.empty()) thoughts_key_ = passed.thoughts_key;
  switch (passed.frame) {
    case Frame::header:
      in_header_ = true;
      header_ = mark;
      break;
    case Frame::message:
      if (header_.starts_with("<|channel|>"))
        thinking_ = first_word(std::string_view(header_).substr(11)) != "final";
      else
        thinking_ = false;
      break;
    case Frame::says:
      thinking_ = false;
      break;
    case Frame::ends:
      break;
  }
}

nlohmann::ordered_json answer_message(std::string_view raw, std::span<const text::Span> controls,
                                      bool begins_with_thoughts) {
  AnswerReader reader(begins_with_thoughts);
  std::string said, thoughts;
  nlohmann::ordered_json tokens = nlohmann::ordered_json::array();
  const auto hear = [&](const std::vector<Said>& parts) {
    for (const auto& [part, voice] : parts) {
      if (voice == Voice::thought) thoughts += part.text;
      if (voice != Voice::answer) continue;
      if (part.control) tokens.push_back({said.size(), said.size() + part.text.size()});
      said += part.text;
    }
  };
  uint64_t begin = 0;
  for (const auto& [from, to] : controls) {
    hear(reader.add({std::string(raw.substr(begin, from - begin))}));
    hear(reader.add({std::string(raw.substr(from, to - from)), true}));
    begin = to;
  }
  hear(reader.add({std::string(raw.substr(begin))}));
  hear(reader.finish());

  nlohmann::ordered_json message = {{"role", "assistant"}};
  if (reader.thoughts_key().empty() || (said.empty() && thoughts.empty())) {
    message["content"] = std::string(raw);
    tokens.clear();
    for (const auto& [from, to] : controls) tokens.push_back({from, to});
  } else {
    message["content"] = said;
    if (!thoughts.empty()) message[reader.thoughts_key()] = thoughts;
  }
  if (!tokens.empty()) message["control_tokens"] = tokens;
  return message;
}

}  // namespace assay::run
