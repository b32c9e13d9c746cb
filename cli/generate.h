// Drawing tokens until something ends it, and where their text goes: shared by `run` and `chat`.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "run/engine.h"
#include "run/sampler.h"
#include "run/text_stream.h"
#include "text/tokenizer.h"
#include "trace/statistics.h"

class Screen;

struct OutputOptions {
  std::vector<std::string> stops;
  bool quiet = false;        ///< the text is only kept
  bool special = false;      ///< control tokens are shown, too
  Screen* screen = nullptr;  ///< a person's terminal, which is written to instead of stdout
};

/// Where generated text goes: through the stop strings to stdout, or token ids where there is no
/// tokenizer. Control tokens are not shown, but for frames (see Tokenizer::is_frame). A terminal gets
/// no control characters that a model made up.
class Output {
 public:
  Output(const assay::text::Tokenizer* tokenizer, const OutputOptions& options);

  /// True where a stop string ended the text.
  bool add(int32_t token);
  void finish();
  const std::string& text() const { return text_; }
  const std::string& raw_text() const { return raw_; }
  const std::vector<assay::text::Span>& controls() const { return controls_; }
  /// False once stdout has refused the text: nobody is left to generate for.
  bool writable() const { return writable_; }

 private:
  void emit(const assay::run::TextStream::Out& out);
  void print(const std::string& text);

  std::optional<assay::run::TextStream> stream_;  // none: token ids
  OutputOptions options_;
  std::string text_, raw_;
  std::vector<assay::text::Span> controls_;  // in the raw text
  bool terminal_, writable_ = true;
};

/// A line end on the terminal, or on stderr where a pipe gets the text, if `text` has none: what
/// follows begins on a line of its own, and a pipe gets the generated text and nothing else.
void end_line_after(const std::string& text);

struct Generated {
  std::vector<int32_t> tokens;
  std::string text;                         ///< what is shown
  std::string raw_text;                     ///< with control tokens as they are spelled
  std::vector<assay::text::Span> controls;  ///< where these stand in the raw text
  std::string finish_reason = "length";     ///< stop, length, interrupted
  bool context_full = false;
  std::string logits_hash;  ///< of the logits each token was drawn from, in order, if wanted
  std::vector<std::string> logits_chain;  ///< the hash after each `chain` tokens
  double seconds = 0;                     ///< from the first draw to the last
  double rate() const {
    return tokens.size() > 1 && seconds > 0 ? double(tokens.size() - 1) / seconds : 0;
  }
};

/// Whether the logits are hashed, which brings all of them to the host.
struct Hashing {
  bool wanted = false;
  uint64_t chain = 0;  ///< keeps the hash so far after every so many tokens; 0: never
};

/// Draws from `logits` (vocabulary), those of the sequence's last token, until the end of
/// generation, a stop string, `most` tokens (< 0: no limit), a full context or Ctrl-C. Errors: no
/// logit to draw from; what the engine refuses.
assay::Result<Generated> generate(assay::run::Engine& engine, assay::run::Sequence& sequence,
                                  const assay::text::Tokenizer* tokenizer,
                                  assay::run::Sampler& sampler, std::span<const float> logits,
                                  int64_t most, Output& output, const Hashing& hashing = {});
