// Attention: rows 10, 14 to 18, 24 and 26 of the catalogue.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>

#include "diagnose/case.h"

namespace assay::diagnose {

using judge::Cache;
using judge::Table;

namespace {

/// What may be altered of a head.
struct Altered {
  std::function<uint32_t(uint32_t head)> kv_head;
  std::function<uint32_t(uint64_t token)> first, last;  ///< keys, both inclusive
  double scale = 1, softcap = 0;                        ///< scale: beside the model's own
  uint32_t zeros = 0;                                   ///< keys and values of zeros after the last
};

Altered usual(const Case& the) {
  const op::AttentionShape shape = the.program.attention_of(the.operation);
  const uint32_t group = shape.heads / shape.kv_heads;
  Altered a;
  a.kv_head = [group](uint32_t head) { return head / group; };
  a.first = [](uint64_t) { return 0u; };
  a.last = [&the](uint64_t t) { return the.positions()[t]; };
  return a;
}

/// One head under an alteration.
std::vector<double> head_of(std::span<const double> query, const Cache& cache, uint32_t kv_head,
                            uint32_t first, uint32_t last, const Altered& altered,
                            const op::AttentionShape& a) {
  std::vector<double> scores;
  for (uint32_t j = first; j <= last && j < cache.keys.size(); ++j) {
    double s = 0;
    for (uint32_t d = 0; d < a.key_dim; ++d)
      s += query[d] * cache.keys[j][size_t(kv_head) * a.key_dim + d];
    s *= double(a.scale) * altered.scale;
    scores.push_back(altered.softcap > 0 ? altered.softcap * std::tanh(s / altered.softcap) : s);
  }
  const size_t keys = scores.size();
  scores.resize(keys + altered.zeros, 0.0);
  std::vector<double> y(a.value_dim, 0.0);
  if (scores.empty()) return y;
  const auto p = judge::softmax(scores);
  for (size_t j = 0; j < keys; ++j)
    for (uint32_t i = 0; i < a.value_dim; ++i)
      y[i] += p[j] * cache.values[first + j][size_t(kv_head) * a.value_dim + i];
  return y;
}

Table attended(const Case& the, const Altered& altered) {
  const op::AttentionShape a = the.program.attention_of(the.operation);
  const Cache& cache = the.scene.caches[the.operation.as<op::Attend>()->cache];
  Table y(the.got().rows, the.got().width);
  for (uint64_t t = 0; t < y.rows; ++t)
    for (uint32_t h = 0; h < a.heads; ++h) {
      const auto query = the.input(0).row(t).subspan(size_t(h) * a.key_dim, a.key_dim);
      std::ranges::copy(
          head_of(query, cache, altered.kv_head(h), altered.first(t), altered.last(t), altered, a),
          y.row(t).begin() + std::ptrdiff_t(h * a.value_dim));
    }
  return y;
}

/// As many keys as an earlier step of decoding had: that step was right.
void try_stale_graph(const Case& the, Contest& contest) {
  for (uint32_t step = the.trace ? the.scene.step : 0; step-- > 1 && !contest.decided();) {
    const uint32_t last = the.steps()[step].positions.back();
    Altered altered = usual(the);
    altered.last = [last](uint64_t) { return last; };
    contest.offer({"stale-graph", "the number of keys is an earlier step's",
                   fmt::format("that of step {}", step)},
                  attended(the, altered));
  }
}

/// The newest key lies in the slot of the one before it.
void try_overwritten(const Case& the, Contest& contest) {
  Case moved = the;
  Cache& cache = moved.scene.caches[the.operation.as<op::Attend>()->cache];
  const uint32_t position = the.positions()[0];
  if (the.tokens() != 1 || position >= cache.keys.size()) return;
  cache.keys.erase(cache.keys.begin() + position - 1);
  cache.values.erase(cache.values.begin() + position - 1);
  Altered altered = usual(the);
  altered.last = [position](uint64_t) { return position - 1; };
  contest.offer({"kv-slot", "the newest key and value are stored a slot too early", ""},
                attended(moved, altered));
}

void try_keys(const Case& the, Contest& contest) {
  const auto& positions = the.positions();
  const uint32_t held =
      uint32_t(the.scene.caches[the.operation.as<op::Attend>()->cache].keys.size());
  const auto seeing = [&](const char* id, const char* name, std::string evidence, auto last) {
    Altered altered = usual(the);
    altered.last = last;
    return contest.offer({id, name, std::move(evidence)}, attended(the, altered));
  };
  seeing("mask-missing", "the causal mask is missing", "every token sees all keys",
         [&](uint64_t) { return held - 1; });
  seeing("mask-off-by-one", "the causal mask is off by one", "a token sees the next one's key",
         [&](uint64_t t) { return std::min(positions[t] + 1, held - 1); });
  if (positions[0] > 0) {
    try_stale_graph(the, contest);
    seeing("newest-key-dropped", "the newest key is left out", "a token does not see itself",
           [&](uint64_t t) { return positions[t] - 1; });
    try_overwritten(the, contest);
  }
  const uint32_t longest = *std::ranges::max_element(positions);
  for (uint32_t window = 1; window <= longest && !contest.decided(); ++window) {
    Altered altered = usual(the);
    altered.first = [&](uint64_t t) {
      return positions[t] + 1 > window ? positions[t] + 1 - window : 0;
    };
    contest.offer(
        {"sliding-window", "only the last keys are seen", fmt::format("a window of {}", window)},
        attended(the, altered));
  }
}

/// The tokens that see most keys, at most four: enough to fit a number.
Case few_tokens(const Case& the) {
  Case few = the;
  const uint64_t count = std::min<uint64_t>(4, the.tokens()), first = the.tokens() - count;
  const auto last_rows = [&](Table& table) {
    table.data.erase(table.data.begin(), table.data.begin() + std::ptrdiff_t(first * table.width));
    table.rows = count;
  };
  last_rows(few.scene.inputs[0]);
  last_rows(few.scene.output);
  auto& tokens = few.scene.tokens;
  tokens.tokens.erase(tokens.tokens.begin(), tokens.tokens.begin() + std::ptrdiff_t(first));
  tokens.positions.erase(tokens.positions.begin(),
                         tokens.positions.begin() + std::ptrdiff_t(first));
  return few;
}

/// The number between the bounds with which attention comes nearest to what the engine gave: by a
/// grid of 24, then golden section, both on its logarithm.
double fitted(const Case& few, double low, double high, double Altered::*number) {
  const auto distance = [&](double logarithm) {
    Altered altered = usual(few);
    altered.*number = std::exp(logarithm);
    const Table y = attended(few, altered);
    double sum = 0;
    for (size_t i = 0; i < y.data.size(); ++i)
      sum += (y.data[i] - few.got().data[i]) * (y.data[i] - few.got().data[i]);
    return sum;
  };
  const double from = std::log(low), step = (std::log(high) - from) / 23;
  double best = from, least = INFINITY;
  for (int i = 0; i < 24; ++i)
    if (const double d = distance(from + i * step); d < least) {
      least = d;
      best = from + i * step;
    }
  double a = best - step, b = best + step;
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  for (int i = 0; i < 48; ++i) {
    const double c = b - ratio * (b - a), d = a + ratio * (b - a);
    if (distance(c) < distance(d))
      b = d;
    else
      a = c;
  }
  return std::exp((a + b) / 2);
}

void try_scores(const Case& the, Contest& contest) {
  const auto scaled = [&](const char* id, const char* name, double scale) {
    Altered altered = usual(the);
    altered.scale = scale;
    contest.offer({id, name, ""}, attended(the, altered));
  };
  const double own = double(the.operation.as<op::Attend>()->scale);
  scaled("score-scale-missing", "the scores are not scaled by 1/√d", 1 / own);
  scaled("score-scale-twice", "the scores are scaled by 1/√d twice", own);
  if (contest.decided()) return;
  const Case few = few_tokens(the);
  contest.offer_rounded(fitted(few, 0.5, 200, &Altered::softcap), [&](double cap) {
    Altered altered = usual(the);
    altered.softcap = cap;
    return std::pair(
        Cause{"score-softcap", "the scores are capped", fmt::format("cap {:.7g}", cap)},
        with_limits(the, attended(the, altered)));
  });
  if (contest.decided()) return;
  contest.offer_rounded(fitted(few, 0.02, 50, &Altered::scale), [&](double scale) {
    Altered altered = usual(the);
    altered.scale = scale;
    Cause cause{"score-scale", "the scores' scale is another",
                fmt::format("{:.7g} of the model's", scale)};
    if (std::fabs(scale / std::numbers::ln2 - 1) < 1e-4)
      cause = {"softmax-base-two", "the softmax takes powers of 2 in e's place", ""};
    return std::pair(cause, with_limits(the, attended(the, altered)));
  });
  if (contest.decided()) return;
  const uint32_t held =
      uint32_t(the.scene.caches[the.operation.as<op::Attend>()->cache].keys.size());
  for (uint32_t multiple = 8; multiple <= 1024 && !contest.decided(); multiple *= 2) {
    Altered altered = usual(the);
    altered.zeros = (held + multiple - 1) / multiple * multiple - held;
    contest.offer({"softmax-padding", "the softmax counts padding",
                   fmt::format("keys of zeros up to a multiple of {}", multiple)},
                  attended(the, altered));
  }
}

}  // namespace

void try_attention(const Case& the, Contest& contest) {
  if (the.seen.not_finite > 0) {
    contest.note({"softmax-not-finite", "the softmax meets what is not finite",
                  fmt::format("{} of {} results are NaN or infinite, from finite inputs",
                              the.seen.not_finite, the.seen.elements)});
    return;
  }
  const op::AttentionShape a = the.program.attention_of(the.operation);
  if (a.kv_heads > 1 && a.kv_heads < a.heads) {
    Altered altered = usual(the);
    altered.kv_head = [&](uint32_t head) { return head % a.kv_heads; };
    contest.offer({"gqa-modulo", "heads read the wrong KV head", "head h reads h mod kv_heads"},
                  attended(the, altered));
  }
  try_keys(the, contest);
  if (!contest.decided()) try_scores(the, contest);
  if (contest.decided()) return;
  // A path for long contexts: every token that sees more keys fails, none that sees fewer does.
  uint32_t least_failing = UINT32_MAX, most_passing = 0;
  for (uint64_t t = 0; t < the.tokens(); ++t) {
    bool fails = false;
    for (uint64_t i = 0; i < the.got().width && !fails; ++i) fails = the.fails(t, i);
    const uint32_t keys = the.positions()[t] + 1;
    if (fails)
      least_failing = std::min(least_failing, keys);
    else
      most_passing = std::max(most_passing, keys);
  }
  if (most_passing > 1 && most_passing < least_failing)
    contest.note(
        {"attention-path", "a path of the kernel for many keys is wrong",
         fmt::format("right up to {} keys, wrong from {} on", most_passing, least_failing)});
}

}  // namespace assay::diagnose
