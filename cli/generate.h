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

/// Where generated text goes: through the detokenizer and the stop strings to stdout, or token ids
/// where there is no tokenizer. Control tokens have no text. A terminal gets no control characters
/// that a model made up.
class Output {
 public:
  /// `quiet`: the text is only kept.
  Output(const assay::text::Tokenizer* tokenizer, std::vector<std::string> stops, bool quiet);

  /// True where a stop string ended the text.
  bool add(int32_t token);
  std::string finish();
  /// False once stdout has refused the text: nobody is left to generate for.
  bool writable() const { return writable_; }

 private:
  void emit(const std::string& text);

  std::optional<assay::run::TextStream> stream_;  // none: token ids
  std::string text_;
  bool quiet_, terminal_, writable_ = true;
};

struct Generated {
  std::vector<int32_t> tokens;
  std::string text, finish_reason = "length";  ///< stop, length, interrupted
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
