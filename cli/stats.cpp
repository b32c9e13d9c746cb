#include "stats.h"

#include <fmt/format.h>

#include "common.h"

void LayerStats::see(const assay::op::Operation& operation, std::span<const float> output) {
  if (operation.role != assay::op::Role::block_output) return;
  if (!layers_.empty() && !layers_.contains(int32_t(operation.layer))) return;
  auto& values = outputs_[operation.layer];
  values.insert(values.end(), output.begin(), output.end());
}

void LayerStats::print(std::span<const float> logits,
                       const assay::text::Tokenizer* tokenizer) const {
  fmt::print(stderr, "layer        RMS      max|x|         min         max        mean  NaN\n");
  for (const auto& [layer, values] : outputs_) {
    const auto s = assay::trace::statistics(values);
    fmt::print(stderr, "{:>5} {:>10.4f} {:>11.4f} {:>11.4f} {:>11.4f} {:>11.5f} {:>4}\n", layer,
               s.rms, s.max_abs, s.min, s.max, s.mean, s.nan);
  }
  const auto s = assay::trace::statistics(logits);
  fmt::print(stderr, "logits: max {:.4f}, min {:.4f}, mean {:.4f}, NaN {}\n", s.max, s.min, s.mean,
             s.nan);
  for (const auto& best : assay::trace::top(logits, 5))
    fmt::print(stderr, "  {:>7}  {:>9.4f}  {}\n", best.id, best.logit,
               tokenizer ? fmt::format("'{}'", escaped(tokenizer->piece(best.id))) : "");
}

nlohmann::ordered_json LayerStats::json(std::span<const float> logits) const {
  nlohmann::ordered_json json = {{"layers", nlohmann::ordered_json::array()}};
  for (const auto& [layer, values] : outputs_) {
    const auto s = assay::trace::statistics(values);
    json["layers"].push_back({{"layer", layer},
                              {"rms", s.rms},
                              {"max_abs", s.max_abs},
                              {"min", s.min},
                              {"max", s.max},
                              {"mean", s.mean},
                              {"nan", s.nan}});
  }
  const auto s = assay::trace::statistics(logits);
  json["logits"] = {{"max", s.max}, {"min", s.min}, {"mean", s.mean}, {"nan", s.nan}};
  for (const auto& best : assay::trace::top(logits, 5))
    json["logits"]["top"].push_back({{"id", best.id}, {"logit", best.logit}});
  return json;
}
