// The text of generated tokens, returned as soon as it is certain.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "run/stop_strings.h"
#include "text/tokenizer.h"

namespace assay::run {

/// Tokens go in one by one; whole characters come out, up to the first stop string. Control tokens
/// have no text.
class TextStream {
 public:
  /// The tokenizer must outlive the stream.
  TextStream(const text::Tokenizer& tokenizer, std::vector<std::string> stops)
      : tokenizer_(tokenizer), stops_(std::move(stops)) {}

  StopStrings::Out add(int32_t token);
  /// What was held back, when no further token comes; empty after a stop.
  std::string finish();

 private:
  const text::Tokenizer& tokenizer_;
  text::Detokenizer detokenizer_;
  StopStrings stops_;
};

}  // namespace assay::run
