// `run --stats`: the table of a debugging log, with one line per layer, and the best tokens of the
// logits.
#pragma once

#include <nlohmann/json.hpp>
#include <set>
#include <string>

#include "op/executor.h"
#include "text/tokenizer.h"
#include "trace/statistics.h"

class LayerStats {
 public:
  /// Layers to show; empty: all.
  explicit LayerStats(std::set<int32_t> layers) : layers_(std::move(layers)) {}

  /// Sees each operation of the prompt's steps.
  void see(const assay::op::Operation& operation, std::span<const float> output);
  /// Prints the table and the top five of these logits to stderr. The tokenizer may be null.
  void print(std::span<const float> logits, const assay::text::Tokenizer* tokenizer) const;
  nlohmann::ordered_json json(std::span<const float> logits) const;

 private:
  std::set<int32_t> layers_;
  std::map<uint32_t, std::vector<float>> outputs_;  // a layer's output over all tokens so far
};
