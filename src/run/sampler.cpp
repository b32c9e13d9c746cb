#include "run/sampler.h"

#include <algorithm>
#include <bit>
#include <map>

namespace assay::run {
namespace {

using Candidate = Sampler::Candidate;

/// 1/k! for k = 0 … 13; the factorials are exact, each quotient is rounded once.
constexpr std::array<double, 14> inverse_factorials = [] {
  std::array<double, 14> table{};
  double factorial = 1.0;
  for (size_t k = 0; k < table.size(); ++k) {
    table[k] = 1.0 / factorial;
    factorial *= double(k + 1);
  }
  return table;
}();

/// e^x for x <= 0, relative error under 1e-15; 0 below −600. Our own, because a libm that differs
/// in the last bit could move a token across the top-p, min-p or draw border. Only +, −, × in a
/// written order.
double exponential(double x) {
  if (!(x >= -600.0)) return 0.0;
  constexpr double round = 0x1.8p+52;  // adding it rounds to an integer
  const double n = (x * 1.4426950408889634 + round) - round;
  const double r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33;  // n·high is exact
  // Taylor's series to r^13: the rest is under 0.3466^14/14! = 5e-18.
  double p = inverse_factorials[13];
  for (size_t k = 13; k-- > 0;) p = p * r + inverse_factorials[k];
  return p * std::bit_cast<double>(uint64_t(int64_t(n) + 1023) << 52);
}

/// probability_i = e^((l_i − l_max) / temperature), not yet divided by the sum. Returns the sum,
/// best first. +infinity: all weight on the infinite ones.
double set_weights(std::vector<Candidate>& sorted, double temperature) {
  const double highest = sorted.front().logit;
  double total = 0;
  for (Candidate& c : sorted) {
    c.probability = c.logit == highest ? 1.0 : exponential((c.logit - highest) / temperature);
    total += c.probability;
  }
  return total;
}

/// The fewest best candidates whose probabilities reach p together; at least one.
void keep_top_p(std::vector<Candidate>& sorted, float p) {
  if (p >= 1.0f) return;
  const double wanted = double(p) * set_weights(sorted, 1.0);
  double sum = 0;
  size_t keep = 0;
  do sum += sorted[keep++].probability;
  while (keep < sorted.size() && !(sum >= wanted));
  sorted.resize(keep);
}

/// Those at least p times as probable as the best; at least one.
void keep_min_p(std::vector<Candidate>& sorted, float p) {
  if (p <= 0.0f) return;
  set_weights(sorted, 1.0);
  size_t keep = 1;
  while (keep < sorted.size() && sorted[keep].probability >= double(p)) ++keep;
  sorted.resize(keep);
}

}  // namespace

std::array<uint32_t, 4> philox4x32_10(std::array<uint32_t, 4> c, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * c[0];
    const uint64_t b = uint64_t(0xCD9E8D57u) * c[2];
    c = {uint32_t(b >> 32) ^ c[1] ^ key[0], uint32_t(b), uint32_t(a >> 32) ^ c[3] ^ key[1],
         uint32_t(a)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return c;
}

double uniform(uint64_t seed, uint64_t position) {
  const auto bits = philox4x32_10({uint32_t(position), uint32_t(position >> 32), 0, 0},
                                  {uint32_t(seed), uint32_t(seed >> 32)});
  return double((uint64_t(bits[0]) << 32 | bits[1]) >> 11) * 0x1p-53;
}

Sampler::Sampler(SamplerOptions options) : options_(options) {}

void Sampler::accept(int32_t token) {
  history_.push_back(token);
}

bool Sampler::penalises() const {
  return options_.repeat_last_n != 0 &&
         (options_.repeat_penalty != 1.0f || options_.frequency_penalty != 0.0f ||
          options_.presence_penalty != 0.0f);
}

/// Of a token that stands `count` times in the window: l ← l·r where l <= 0, l/r where l > 0 (r =
/// repeat_penalty), then l ← l − (count·frequency_penalty + presence_penalty).
std::vector<float> Sampler::penalised(std::span<const float> logits) const {
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
  return changed;
}

uint32_t Sampler::top_k() const {
  return greedy() ? 1 : uint32_t(std::max(options_.top_k, 0));
}

uint32_t Sampler::wanted() const {
  return penalises() ? 0 : top_k();
}

std::vector<Candidate> Sampler::filtered(std::span<const op::Candidate> best) const {
  std::vector<Candidate> list;
  for (const auto& [id, logit] : best) list.push_back({id, logit, 0.0});
  if (list.empty()) return list;
  if (!greedy()) {
    keep_top_p(list, options_.top_p);
    keep_min_p(list, options_.min_p);
  }
  const double total = set_weights(list, greedy() ? 1.0 : double(options_.temperature));
  for (Candidate& c : list) c.probability /= total;
  return list;
}

std::vector<Candidate> Sampler::candidates(std::span<const float> logits) const {
  if (penalises()) return filtered(op::best_of(penalised(logits), top_k()));
  return filtered(op::best_of(logits, top_k()));
}

int32_t Sampler::draw(std::span<const Candidate> list, uint64_t position) const {
  if (list.empty()) return -1;
  const double drawn = uniform(options_.seed, position);
  double sum = 0;
  for (const Candidate& c : list) {
    sum += c.probability;
    if (drawn < sum) return c.id;
  }
  return list.front().id;  // the probabilities' sum rounded below the draw: one case in 10^15
}

int32_t Sampler::sample(std::span<const float> logits, uint64_t position) const {
  return draw(candidates(logits), position);
}

int32_t Sampler::sample(std::span<const op::Candidate> best, uint64_t position) const {
  return draw(filtered(best), position);
}

}  // namespace assay::run
