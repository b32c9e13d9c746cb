#include "generate.h"

#include <fmt/format.h>
#include <unistd.h>

#include "common.h"
#include "not_finite.h"
#include "run/token_stream.h"

using assay::Error;
using assay::Result;

namespace {

/// Control characters but line end and tab as U+FFFD: an escape sequence of a model's must not
/// reach the terminal.
std::string printable(const std::string& text) {
  std::string out;
  for (const char c : text) {
    const auto byte = uint8_t(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7F)
      out += "\xEF\xBF\xBD";
    else
      out += c;
  }
  return out;
}

}  // namespace

Output::Output(const assay::text::Tokenizer* tokenizer, std::vector<std::string> stops, bool quiet)
    : quiet_(quiet), terminal_(isatty(STDOUT_FILENO)) {
  if (tokenizer) stream_.emplace(*tokenizer, std::move(stops));
}

bool Output::add(int32_t token) {
  if (!stream_) {
    emit(fmt::format("{}{}", text_.empty() ? "" : ",", token));
    return false;
  }
  const auto out = stream_->add(token);
  emit(out.text);
  return out.stopped;
}

std::string Output::finish() {
  if (stream_) emit(stream_->finish());
  // A terminal gets a line end of its own; a pipe gets the generated text and nothing else.
  if (!quiet_ && terminal_) fmt::print("\n");
  return text_;
}

void Output::emit(const std::string& text) {
  text_ += text;
  if (quiet_ || text.empty() || !writable_) return;
  fmt::print("{}", terminal_ ? printable(text) : text);
  writable_ = bool(flush_output());
}

Result<Generated> generate(assay::run::Engine& engine, assay::run::Sequence& sequence,
                           const assay::text::Tokenizer* tokenizer, assay::run::Sampler& sampler,
                           std::span<const float> logits, int64_t most, Output& output,
                           const Hashing& hashing) {
  if (const auto good = check_logits(engine, logits); !good) return good.error();
  Generated out;
  assay::trace::LogitsHash hash;
  assay::run::TokenStream::See see;
  if (hashing.wanted) see = [&](std::span<const float> row) { hash.update(row); };
  assay::run::TokenStream stream(engine, sequence, sampler, logits, see);
  const double start = seconds();
  for (int64_t i = 0; most < 0 || i < most; ++i) {
    const auto drawn = stream.next(most < 0 ? UINT64_MAX : uint64_t(most - i));
    if (!drawn) return drawn.error();
    const int32_t token = *drawn;
    if (token < 0)
      return Error{"every logit is NaN or minus infinity, so no token can be drawn; " +
                   why_not_finite(engine)};
    if (tokenizer && tokenizer->ends_generation(token)) {
      out.finish_reason = "stop";
      break;
    }
    out.tokens.push_back(token);
    if (hashing.chain && out.tokens.size() % hashing.chain == 0)
      out.logits_chain.push_back(hash.so_far());
    sampler.accept(token);
    if (output.add(token)) {
      out.finish_reason = "stop";
      break;
    }
    if (!output.writable()) break;  // main tells why
    if (interrupted) {
      out.finish_reason = "interrupted";
      break;
    }
    if (i + 1 == most) break;
    if (stream.full()) {
      out.context_full = true;
      break;
    }
  }
  out.text = output.finish();
  out.seconds = seconds() - start;
  if (hashing.wanted) out.logits_hash = hash.hex();
  return out;
}
