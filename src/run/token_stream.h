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

/// Continues a sequence. A device that draws tokens itself runs some tokens ahead, so while the
/// stream exists, the sequence may hold more tokens than next() has returned. The destructor
/// removes the surplus. Until then nobody else may step, truncate or fork the sequence.
class TokenStream {
 public:
  using See = std::function<void(std::span<const float>)>;

  /// `logits` are those of the sequence's last token and must live until the first next(). `see` is
  /// called with all logits that each token is drawn from. Only as many tokens run ahead as take
  /// `patience` seconds, so that the text appears evenly and little work is thrown away.
  TokenStream(Engine& engine, Sequence& sequence, const Sampler& sampler,
              std::span<const float> logits, See see = {}, double patience = 0.02);
  ~TokenStream();
  TokenStream(const TokenStream&) = delete;
  TokenStream& operator=(const TokenStream&) = delete;

  /// The next token; −1 if no token can be drawn. `most` is how many more tokens the caller wants,
  /// including this one. Errors: those of the engine.
  Result<int32_t> next(uint64_t most);
  /// True if the context has no room for the last returned token, so that no token can follow it.
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
