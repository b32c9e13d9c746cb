#include "run/sampler.h"

#include <algorithm>
#include <limits>
#include <map>
#include <utility>

#include "kernel/sampling.h"

namespace assay::run {
namespace {

using Candidate = Sampler::Candidate;

/// Weights at a temperature; their sum.
uint64_t set_weights(std::vector<Candidate>& sorted, float temperature) {
  uint64_t total = 0;
  for (Candidate& c : sorted) {
    c.weight = weight_of_share(share_of_best(c.logit, sorted.front().logit, temperature));
    total += c.weight;
  }
  return total;
}

/// The first whose weights so far reach `wanted`; the last one where they don't.
size_t place_of(std::span<const Candidate> sorted, uint64_t wanted) {
  uint64_t sum = 0;
  for (size_t i = 0; i < sorted.size(); ++i)
    if ((sum += sorted[i].weight) >= wanted) return i;
  return sorted.size() - 1;
}

/// The fewest best candidates whose probabilities reach p together; at least one.
void keep_top_p(std::vector<Candidate>& sorted, float p) {
  if (!(p < 1.0f)) return;
  const uint64_t total = set_weights(sorted, 1.0f);
  sorted.resize(place_of(sorted, top_p_of(total, p)) + 1);
}

/// Those at least p times as probable as the best; at least one.
void keep_min_p(std::vector<Candidate>& sorted, float p) {
  if (!(p > 0.0f)) return;
  size_t keep = 1;
  while (keep < sorted.size() && share_of_best(sorted[keep].logit, sorted.front().logit, 1.0f) >= p)
    ++keep;
  sorted.resize(keep);
}

}  // namespace

Sampler::Sampler(SamplerOptions options) : options_(std::move(options)) {}

void Sampler::accept(int32_t token) {
  history_.push_back(token);
}

bool Sampler::changes_logits() const {
  const bool penalises = options_.repeat_penalty != 1.0f || options_.frequency_penalty != 0.0f ||
                         options_.presence_penalty != 0.0f;
  return (options_.repeat_last_n != 0 && penalises) || !options_.banned.empty();
}

/// Of a token that stands `count` times in the window: l ← l·r where l <= 0, l/r where l > 0 (r =
/// repeat_penalty), then l ← l − (count·frequency_penalty + presence_penalty). Of a banned one: −∞.
std::vector<float> Sampler::changed(std::span<const float> logits) const {
  const size_t window = options_.repeat_last_n < 0
                            ? history_.size()
                            : std::min(history_.size(), size_t(options_.repeat_last_n));
  std::map<int32_t, uint32_t> counts;
  for (size_t i = history_.size() - window; i < history_.size(); ++i) ++counts[history_[i]];

  std::vector<float> changed(logits.begin(), logits.end());
  for (const auto& [id, count] : counts) {
    if (id < 0 || size_t(id) >= changed.size()) continue;
    float& logit = changed[size_t(id)];
    logit = logit <= 0 ? logit * options_.repeat_penalty : logit / options_.repeat_penalty;
    logit -= float(count) * options_.frequency_penalty + options_.presence_penalty;
  }
  for (const int32_t id : options_.banned)
    if (id >= 0 && size_t(id) < changed.size())
      changed[size_t(id)] = -std::numeric_limits<float>::infinity();
  return changed;
}

uint32_t Sampler::top_k() const {
  return greedy() ? 1 : uint32_t(std::max(options_.top_k, 0));
}

uint32_t Sampler::wanted() const {
  return changes_logits() ? 0 : top_k();
}

op::Drawing Sampler::drawing() const {
  return {options_.temperature, options_.top_p, options_.min_p, top_k(), options_.seed};
}

std::vector<Candidate> Sampler::filtered(std::span<const op::Candidate> best) const {
  std::vector<Candidate> list;
  for (const auto& [id, logit] : best) list.push_back({id, logit, 0.0, 0});
  if (list.empty()) return list;
  if (!greedy()) {
    keep_top_p(list, options_.top_p);
    keep_min_p(list, options_.min_p);
  }
  const uint64_t total = set_weights(list, greedy() ? 1.0f : options_.temperature);
  for (Candidate& c : list) c.probability = double(c.weight) / double(total);
  return list;
}

std::vector<Candidate> Sampler::candidates(std::span<const float> logits) const {
  if (changes_logits()) return filtered(op::best_of(changed(logits), top_k()));
  return filtered(op::best_of(logits, top_k()));
}

int32_t Sampler::draw(std::span<const Candidate> list, uint64_t position) const {
  if (list.empty()) return -1;
  uint64_t total = 0;
  for (const Candidate& c : list) total += c.weight;
  return list[place_of(list, high_product(random_bits(options_.seed, position), total) + 1)].id;
}

int32_t Sampler::sample(std::span<const float> logits, uint64_t position) const {
  return draw(candidates(logits), position);
}

int32_t Sampler::sample(std::span<const op::Candidate> best, uint64_t position) const {
  return draw(filtered(best), position);
}

}  // namespace assay::run
