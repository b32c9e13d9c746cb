#include "run/text_stream.h"

#include <algorithm>

namespace assay::run {

std::string TextStream::Out::text(bool special) const {
  std::string shown;
  for (const TextPart& part : parts)
    if (special || part.shown) shown += part.text;
  return shown;
}

TextStream::Out TextStream::add(int32_t token) {
  const std::string_view piece = tokenizer_.piece(token);
  if (tokenizer_.is_control(token))
    controls_.push_back({{taken_, taken_ + piece.size()}, tokenizer_.is_frame(token)});
  taken_ += piece.size();
  auto [raw, stopped] = stops_.add(piece);
  Out out;
  out.stopped = stopped;
  give(std::move(raw), out);
  return out;
}

TextStream::Out TextStream::finish() {
  Out out;
  give(stops_.finish(), out);
  out.parts.push_back({detokenizer_.finish()});
  return out;
}

/// Adds raw text, which goes on where the last one ended, cut at the borders of control tokens.
void TextStream::give(std::string raw, Out& out) {
  for (std::string_view rest = raw; !rest.empty();) {
    while (!controls_.empty() && controls_.front().span.end <= given_) controls_.pop_front();
    const bool control = !controls_.empty() && controls_.front().span.begin <= given_;
    const uint64_t end = controls_.empty() ? UINT64_MAX
                         : control         ? controls_.front().span.end
                                           : controls_.front().span.begin;
    const std::string_view part = rest.substr(0, std::min<uint64_t>(rest.size(), end - given_));
    if (control) {
      text::Detokenizer whole;
      const std::string spelling = whole.add(part);
      out.parts.push_back({detokenizer_.finish()});
      out.parts.push_back({spelling + whole.finish(), true, controls_.front().frame});
    } else {
      out.parts.push_back({detokenizer_.add(part)});
    }
    given_ += part.size();
    if (control && given_ == controls_.front().span.end)
      out.controls.push_back(controls_.front().span);
    rest.remove_prefix(part.size());
  }
  out.raw += raw;
}

}  // namespace assay::run
