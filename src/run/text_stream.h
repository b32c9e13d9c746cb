// The text of generated tokens, returned as soon as it is certain.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "run/stop_strings.h"
#include "text/tokenizer.h"

namespace assay::run {

/// A part of a generated text.
struct TextPart {
  std::string text;      ///< whole characters; U+FFFD for bytes that are none
  bool control = false;  ///< the spelling of a control token
  bool shown = true;     ///< to a person: all but control tokens that are no frames
};

/// Tokens go in one by one; text comes out, up to the first stop string. Stop strings are looked
/// for in the raw text, in which control tokens stand as they are spelled.
class TextStream {
 public:
  /// The tokenizer must outlive the stream.
  TextStream(const text::Tokenizer& tokenizer, const std::vector<std::string>& stops)
      : tokenizer_(tokenizer), stops_(stops) {}

  struct Out {
    std::vector<TextPart> parts;
    std::string raw;  ///< the tokens' own bytes: what a conversation keeps
    /// The control tokens that ended, by their bytes in the whole raw text.
    std::vector<text::Span> controls = {};
    bool stopped = false;  ///< a stop string has been seen; nothing comes after it
    /// What a person is shown; with all control tokens where `special`.
    std::string text(bool special = false) const;
  };
  Out add(int32_t token);
  /// What was held back, when no further token comes; after a stop U+FFFD at most, for a character
  /// that stayed unfinished.
  Out finish();

 private:
  struct Control {
    text::Span span;  // in the raw text
    bool frame;
  };
  void give(std::string raw, Out& out);

  const text::Tokenizer& tokenizer_;
  text::Detokenizer detokenizer_;  // of what is no control token
  StopStrings stops_;
  std::deque<Control> controls_;    // those not yet given out
  uint64_t taken_ = 0, given_ = 0;  // bytes of raw text
};

}  // namespace assay::run
