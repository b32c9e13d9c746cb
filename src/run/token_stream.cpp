#include "run/token_stream.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace assay::run {

TokenStream::TokenStream(Engine& engine, Sequence& sequence, const Sampler& sampler,
                         std::span<const float> logits, See see, double patience)
    : engine_(engine),
      sequence_(sequence),
      sampler_(sampler),
      logits_(logits),
      see_(std::move(see)),
      patience_(patience),
      best_(see_ ? 0 : sampler.wanted()),
      most_ahead_(best_ ? engine.executor().most_ahead(sampler.drawing()) : 0) {}

TokenStream::~TokenStream() {
  if (!drawn_.empty()) sequence_.truncate(begin_ + uint32_t(taken_));
}

bool TokenStream::full() const {
  return taken_ == drawn_.size() && sequence_.position() == sequence_.context();
}

Result<int32_t> TokenStream::next(uint64_t most) {
  auto token = draw(most);
  if (token) last_ = *token;
  return token;
}

Result<int32_t> TokenStream::draw(uint64_t most) {
  if (taken_ < drawn_.size()) return drawn_[taken_++];
  if (!std::exchange(begun_, true)) {
    if (see_) see_(logits_);
    return sampler_.sample(logits_, sequence_.position());
  }
  const Part part{sequence_, {&last_, 1}};
  if (most_ahead_) return draw_ahead(part, most);
  if (best_) {
    const auto best = engine_.step_best({&part, 1}, best_);
    if (!best) return best.error();
    return sampler_.sample((*best)[0], sequence_.position());
  }
  const auto logits = engine_.step({&part, 1}, Wanted::last);
  if (!logits) return logits.error();
  if (see_) see_(*logits);
  return sampler_.sample(*logits, sequence_.position());
}

Result<int32_t> TokenStream::draw_ahead(const Part& part, uint64_t most) {
  const uint64_t room = sequence_.context() - sequence_.position();
  const auto count = uint32_t(std::max<uint64_t>(1, std::min({uint64_t(ahead_), most, room})));
  const op::Drawing drawing = sampler_.drawing();
  const auto start = std::chrono::steady_clock::now();
  const uint32_t begin = sequence_.position();
  auto drawn = engine_.run_ahead({&part, 1}, {&drawing, 1}, count);
  if (!drawn) return drawn.error();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  ahead_ = took.count() < patience_ ? std::min(2 * ahead_, most_ahead_) : (ahead_ + 1) / 2;
  begin_ = begin;
  drawn_ = std::move(*drawn);
  taken_ = 1;
  return drawn_[0];
}

}  // namespace assay::run
