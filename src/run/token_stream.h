// The tokens of a text, one by one: each drawn from the logits after the one before it.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/result.h"
#include "run/engine.h"
#include "run/sampler.h"

namespace assay::run {

/// Continues a sequence. A device that draws by itself runs some tokens ahead, so while a stream
/// lives the sequence may hold more than was given; what ran after the last token that was given is
/// taken back in the end. Until then nobody else steps, truncates or forks the sequence.
class TokenStream {
 public:
  using See = std::function<void(std::span<const float>)>;

  /// `logits`: of the sequence's last token; they must live until the first next(). `see` gets all
  /// the logits that each token is drawn from. As many tokens run ahead as take `patience` seconds:
  /// the text comes evenly, and little is thrown away.
  TokenStream(Engine& engine, Sequence& sequence, const Sampler& sampler,
              std::span<const float> logits, See see = {}, double patience = 0.02);
  ~TokenStream();
  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  /// The next token; −1 where no logit may be drawn from. `most`: so many are wanted, this one
  /// among them. Errors: what the engine refuses.
  Result<int32_t> next(uint64_t most);
  /// Whether the context has no room for the token that was given last, so that none can follow.
  bool full() const;

 private:
  Result<int32_t> draw(uint64_t most);
  Result<int32_t> draw_ahead(const Part& part, uint64_t most);

  Engine& engine_;
  Sequence& sequence_;
  const Sampler& sampler_;
  std::span<const float> logits_;
  See see_;
  double patience_;
  uint32_t best_;  // logits that are wanted; 0: all
  uint32_t most_ahead_, ahead_ = 1;
  bool begun_ = false;
  int32_t last_ = 0;
  std::vector<int32_t> drawn_;  // by the device, `taken_` of them given already
  size_t taken_ = 0;
  uint32_t begin_ = 0;  // where the token stands that they were drawn after
};

}  // namespace assay::run
