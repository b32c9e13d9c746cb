// What of a generated answer is said, what are thoughts, and what only sets these apart.
#pragma once

#include <cstdint>
#include <deque>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "run/stop_strings.h"
#include "run/text_stream.h"
#include "text/special.h"

namespace assay::run {

/// Whether a prompt that ends like this has the model begin with its thoughts: "…<think>\n".
bool opens_thoughts(std::string_view end_of_prompt);

enum class Voice { answer, thought, mark };
struct Said {
  TextPart part;
  Voice voice = Voice::answer;
};

/// Takes an answer part by part. Two ways of setting thoughts apart are known:
///   - A pair of marks around them, `<think>` and `</think>` for example. A mark of ordinary letters
///     counts as thought, one of control tokens as mark.
///   - Frames, as in harmony: `<|channel|>analysis<|message|>…<|end|><|start|>assistant<|channel|>final
///     <|message|>…`. Everything is thought but what the channel "final" says. Frames are control
///     tokens, and letters that spell one are none.
/// What may yet become a mark is held back.
class AnswerReader {
 public:
  explicit AnswerReader(bool begins_with_thoughts);

  std::vector<Said> add(const TextPart& part);
  std::vector<Said> finish();
  /// The member of a message under which the template of these frames wants the thoughts; empty
  /// while there was no frame. Templates of the other way find the thoughts in the content.
  const std::string& thoughts_key() const { return thoughts_key_; }

 private:
  struct Letter {
    char byte;
    bool control, shown;
  };
  void release(uint64_t bytes, Voice voice, std::vector<Said>& out);
  void pass_mark(std::vector<Said>& out);
  void pass_frame(std::string_view mark);
  void seek();

  bool thinking_;
  bool in_header_ = false;  // between <|start|> or <|channel|> and <|message|>
  std::string header_;
  std::string thoughts_key_;
  StopStrings marks_;  // those that count where the answer is now
  std::deque<Letter> held_;
};

/// The message that a conversation keeps of an answer, given as raw text with its control tokens: its
/// content as it is, with these under "control_tokens" ([[first byte, end], …]); or, where it has
/// frames, what is said as the content and the thoughts apart.
nlohmann::ordered_json answer_message(std::string_view raw, std::span<const text::Span> controls,
                                      bool begins_with_thoughts);

}  // namespace assay::run
