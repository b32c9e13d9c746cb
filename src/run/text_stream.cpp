#include "run/text_stream.h"

namespace assay::run {

StopStrings::Out TextStream::add(int32_t token) {
  if (tokenizer_.is_control(token)) return {};
  return stops_.add(detokenizer_.add(tokenizer_.piece(token)));
}

std::string TextStream::finish() {
  std::string text = stops_.add(detokenizer_.finish()).text;
  return text + stops_.finish();
}

}  // namespace assay::run
