#include "generate.h"

#include <fmt/format.h>
#include <unistd.h>

#include "common.h"
#include "not_finite.h"
#include "run/token_stream.h"
#include "screen.h"

using assay::Error;
using assay::Result;

Output::Output(const assay::text::Tokenizer* tokenizer, const OutputOptions& options)
    : options_(options), terminal_(isatty(STDOUT_FILENO)) {
  if (tokenizer) stream_.emplace(*tokenizer, options_.stops);
}

bool Output::add(int32_t token) {
  if (!stream_) {
    const std::string id = fmt::format("{}{}", text_.empty() ? "" : ",", token);
    text_ += id;
    raw_ += id;
    print(id);
    return false;
  }
  const auto out = stream_->add(token);
  emit(out);
  return out.stopped;
}

void Output::finish() {
  if (stream_) emit(stream_->finish());
}

void Output::emit(const assay::run::TextStream::Out& out) {
  const std::string text = out.text(options_.special);
  text_ += text;
  raw_ += out.raw;
  controls_.insert(controls_.end(), out.controls.begin(), out.controls.end());
  if (options_.screen) {
    options_.screen->write(out.parts, options_.special);
    writable_ = bool(flush_output());
  } else {
    print(text);
  }
}

void Output::print(const std::string& text) {
  if (options_.quiet || text.empty() || !writable_) return;
  fmt::print("{}", terminal_ ? printable(text) : text);
  writable_ = bool(flush_output());
}

void end_line_after(const std::string& text) {
  if (text.empty() || text.ends_with('\n')) return;
  fmt::print(isatty(STDOUT_FILENO) ? stdout : stderr, "\n");
  std::fflush(stdout);
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
  output.finish();
  out.text = output.text();
  out.raw_text = output.raw_text();
  out.controls = output.controls();
  out.seconds = seconds() - start;
  if (hashing.wanted) out.logits_hash = hash.hex();
  return out;
}
