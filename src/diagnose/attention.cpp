// Attention: rows 10, 14 to 19, 24 and 26 of the catalogue.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numbers>
#include <optional>
#include <string_view>

#include "diagnose/case.h"
#include "judge/product.h"

namespace assay::diagnose {

using judge::Cache;
using judge::Table;

namespace {

/// What may be altered of a head.
struct Altered {
  std::function<uint32_t(uint32_t head)> kv_head;
  std::function<uint32_t(uint64_t token)> first, last;  ///< keys, both inclusive
  std::function<double(uint32_t head)> slope;           ///< ALiBi's
  std::function<uint32_t(uint32_t key)> value_of;       ///< whose value a key meets
  std::function<bool(uint64_t token, uint32_t key)>
      unseen;                     ///< a key that is left out; empty: none
  const Cache* cache = nullptr;   ///< in the place of the model's
  double scale = 1, softcap = 0;  ///< scale: beside the model's own
  double softcap_before = 0;      ///< on the product, before its scale
  bool sinks = true;
  uint32_t zeros = 0;                         ///< keys and values of zeros after the last
  bool dots_f16 = false, scores_f16 = false;  ///< a product is kept as f16 before, after its scale
  /// What sums of values, and the factors that chunks are rescaled by, are rounded to.
  std::function<double(double)> sums, factors;
};

Altered usual(const Case& the) {
  const op::AttentionShape shape = the.program.attention_of(the.operation);
  const uint32_t group = shape.heads / shape.kv_heads;
  Altered a;
  a.kv_head = [group](uint32_t head) { return head / group; };
  a.first = [shape, &the](uint64_t t) { return shape.first_key(the.positions()[t]); };
  a.last = [&the](uint64_t t) { return the.positions()[t]; };
  a.slope = [shape](uint32_t head) {
    return double(op::alibi_slope(shape.alibi, head, shape.heads));
  };
  a.value_of = [](uint32_t key) { return key; };
  a.softcap = double(shape.soft_cap);
  a.sums = a.factors = [](double x) { return x; };
  return a;
}

double as_f16(double x) {
  return judge::round_to_f16(x);
}

/// A head of a token, and what it reads.
struct Head {
  std::span<const double> query;
  const Cache& cache;
  const op::AttentionShape& shape;
  const Altered& altered;
  uint32_t position, first, last, head, kv_head;
  uint64_t token;
  std::optional<double> sink;

  double score(uint32_t key) const {
    double s = 0;
    for (uint32_t d = 0; d < shape.key_dim; ++d)
      s += query[d] * cache.keys[key][size_t(kv_head) * shape.key_dim + d];
    if (const double cap = altered.softcap_before; cap > 0) s = cap * std::tanh(s / cap);
    if (altered.dots_f16) s = as_f16(s);
    s *= double(shape.scale) * altered.scale;
    if (altered.scores_f16) s = as_f16(s);
    if (const double cap = altered.softcap; cap > 0) s = cap * std::tanh(s / cap);
    return s - altered.slope(head) * (double(position) - double(key));
  }
  double value(uint32_t key, uint32_t i) const {
    return cache.values[altered.value_of(key)][size_t(kv_head) * shape.value_dim + i];
  }
};

/// One head under an alteration.
std::vector<double> output_of(const Head& head) {
  std::vector<double> scores;
  std::vector<uint32_t> keys;
  for (uint32_t j = head.first; j <= head.last && j < head.cache.keys.size(); ++j) {
    if (head.altered.unseen && head.altered.unseen(head.token, j)) continue;
    keys.push_back(j);
    scores.push_back(head.score(j));
  }
  scores.resize(keys.size() + head.altered.zeros, 0.0);
  std::vector<double> y(head.shape.value_dim, 0.0);
  if (scores.empty()) return y;
  if (head.sink) scores.push_back(*head.sink);
  const auto p = judge::softmax(scores);
  for (size_t j = 0; j < keys.size(); ++j)
    for (uint32_t i = 0; i < y.size(); ++i) y[i] += p[j] * head.value(keys[j], i);
  return y;
}

/// Σ e^(s − most)·v becomes the result: the sink, where there is one, is a score more without a value.
void divide_by_sum(const Head& head, double most, double sum, std::vector<double>& y) {
  double shrink = 1;
  if (head.sink) {
    const double next = std::max(most, *head.sink);
    shrink = std::exp(most - next);
    sum = sum * shrink + std::exp(*head.sink - next);
  }
  for (double& value : y) value *= shrink / sum;
}

/// The same in the contract's chunks of 64 keys, with sums and factors rounded as altered.
std::vector<double> output_by_chunks(const Head& head) {
  std::vector<double> y(head.shape.value_dim, 0.0);
  double most = -INFINITY, sum = 0;
  for (uint32_t start = head.first; start <= head.last; start = start / 64 * 64 + 64) {
    std::vector<double> scores, part(y.size(), 0.0);
    for (uint32_t j = start; j <= std::min(head.last, start / 64 * 64 + 63); ++j)
      scores.push_back(head.score(j));
    const double own = *std::ranges::max_element(scores), next = std::max(most, own);
    double weights = 0;
    for (size_t j = 0; j < scores.size(); ++j) {
      const double weight = std::exp(scores[j] - own);
      weights += weight;
      for (uint32_t i = 0; i < y.size(); ++i)
        part[i] = head.altered.sums(part[i] + weight * head.value(start + uint32_t(j), i));
    }
    const bool only = start == head.first;  // nothing is rescaled yet
    const double a = only ? 0 : head.altered.factors(std::exp(most - next));
    const double b = only ? 1 : head.altered.factors(std::exp(own - next));
    sum = sum * a + weights * b;
    for (uint32_t i = 0; i < y.size(); ++i)
      y[i] = only ? part[i] : head.altered.sums(y[i] * a + part[i] * b);
    most = next;
  }
  divide_by_sum(head, most, sum, y);
  return y;
}

const Cache& cache_of(const Case& the) {
  return the.scene.caches[the.operation.as<op::Attend>()->cache];
}

/// Calls one(head) for this head of this token.
template <class One>
std::vector<double> head_of(const Case& the, const op::AttentionShape& a, const Altered& altered,
                            uint64_t t, uint32_t h, std::optional<double> sink, const One& one) {
  return one(Head{the.input(0).row(t).subspan(size_t(h) * a.key_dim, a.key_dim),
                  altered.cache ? *altered.cache : cache_of(the), a, altered, the.positions()[t],
                  altered.first(t), altered.last(t), h, altered.kv_head(h), t, sink});
}

std::vector<double> sinks_of(const Case& the, const Altered& altered) {
  if (the.operation.weight == op::none || !altered.sinks) return {};
  return judge::decode_row(the.program.weights[the.operation.weight], 0);
}

template <class One>
Table attended_by(const Case& the, const Altered& altered, const One& one) {
  const op::AttentionShape a = the.program.attention_of(the.operation);
  const std::vector<double> sinks = sinks_of(the, altered);
  Table y(the.got().rows, the.got().width);
  judge::in_parallel(y.rows, [&](uint64_t begin, uint64_t end) {
    for (uint64_t t = begin; t < end; ++t)
      for (uint32_t h = 0; h < a.heads; ++h) {
        const auto sink = sinks.empty() ? std::optional<double>() : std::optional(sinks[h]);
        std::ranges::copy(head_of(the, a, altered, t, h, sink, one),
                          y.row(t).begin() + std::ptrdiff_t(h * a.value_dim));
      }
  });
  return y;
}

Table attended(const Case& the, const Altered& altered, bool by_chunks = false) {
  return by_chunks ? attended_by(the, altered, output_by_chunks)
                   : attended_by(the, altered, output_of);
}

/// Whether one head of one token that fails comes out as the engine has it: then the rest is worth
/// computing.
bool plausible(const Case& the, const Contest& contest, const Altered& altered) {
  if (contest.is_carried()) return true;
  const op::AttentionShape a = the.program.attention_of(the.operation);
  const uint64_t probe = contest.failing()[contest.failing().size() / 2];
  const uint64_t t = probe / the.got().width, h = probe % the.got().width / a.value_dim;
  const std::vector<double> sinks = sinks_of(the, altered);
  const auto y =
      head_of(the, a, altered, t, uint32_t(h),
              sinks.empty() ? std::optional<double>() : std::optional(sinks[h]), output_of);
  const uint64_t channel = probe % the.got().width;
  const double now = y[channel % a.value_dim];
  double allowed = 0;
  for (uint64_t other = 0; other < the.tokens(); ++other)
    allowed =
        std::max(allowed, the.usual.limit_at(other, channel) * 0x1p-22 *
                                  std::max(the.usual.scale.row(other)[channel], std::fabs(now)) +
                              4 * the.usual.slack_at(other, channel));
  return std::fabs(the.got().data[probe] - now) <= allowed + 0x1p-72;
}

/// The same operation in later steps where it fails, too, at most three: what is said of the cache must
/// hold there as well. Elements of one head follow from its scores, so where few scores fail here,
/// their number is no evidence.
std::vector<Case> later_failures(const Case& the) {
  std::vector<Case> later;
  if (!the.side) return later;
  for (const diff::Failure& failure : the.side->failures) {
    if (later.size() == 3) break;
    if (failure.operation != the.scene.operation || failure.step <= the.scene.step) continue;
    auto scene = the.scene_at(failure.step, failure.operation);
    if (!scene) continue;
    later.push_back({the.program, the.operation, the.trace, the.side, std::move(*scene), {}, {}});
    later.back().usual = diff::expect(the.program, later.back().scene);
  }
  return later;
}

/// Whether what fails comes out as the engine has it.
bool reproduces(const Case& the, const Altered& altered) {
  const judge::Judged judged = with_limits(the, attended(the, altered));
  uint64_t failing = 0, left = 0;
  for (uint64_t t = 0; t < the.got().rows; ++t)
    for (uint64_t i = 0; i < the.got().width; ++i)
      if (the.fails(t, i)) {
        ++failing;
        left += judge::compare_element(the.got(), judged, t, i).failures > 0;
      }
  return left <= failing / 200;
}

/// The same in limits that hold for what any token sees, where an alteration shows it to another one.
judge::Judged seeing_others(const Case& the, const Altered& altered) {
  judge::Judged judged = with_limits(the, attended(the, altered));
  for (Table* of : {&judged.scale, &judged.limit})
    for (uint64_t i = 0; i < of->width; ++i) {
      double most = 0;
      for (uint64_t t = 0; t < of->rows; ++t) most = std::max(most, of->row(t)[i]);
      for (uint64_t t = 0; t < of->rows; ++t) of->row(t)[i] = most;
    }
  return judged;
}

/// As many keys as an earlier step of decoding had: that step was right.
void try_stale_graph(const Case& the, Contest& contest) {
  for (uint32_t step = the.trace ? the.scene.step : 0; step-- > 1 && !contest.decided();) {
    const uint32_t last = the.steps()[step].positions.back();
    Altered altered = usual(the);
    altered.last = [last](uint64_t) { return last; };
    contest.offer({"stale-graph", "the number of keys is an earlier step's",
                   fmt::format("that of step {}", step)},
                  seeing_others(the, altered));
  }
}

/// The newest key lies in the slot of the one before it.
void try_overwritten(const Case& the, Contest& contest) {
  Cache cache = cache_of(the);
  const uint32_t position = the.positions()[0];
  if (the.tokens() != 1 || position >= cache.keys.size()) return;
  cache.keys.erase(cache.keys.begin() + position - 1);
  cache.values.erase(cache.values.begin() + position - 1);
  Altered altered = usual(the);
  altered.cache = &cache;
  altered.last = [position](uint64_t) { return position - 1; };
  contest.offer({"kv-slot", "the newest key and value are stored a slot too early", ""},
                seeing_others(the, altered), 1.5);
}

/// The last keys only, or another window than the model's.
void try_windows(const Case& the, Contest& contest) {
  const auto& positions = the.positions();
  const op::AttentionShape own = the.program.attention_of(the.operation);
  if (own.window) {
    Altered altered = usual(the);
    altered.first = [](uint64_t) { return 0u; };
    contest.offer({"window-missing", "the window is left out", "every key before it is seen"},
                  seeing_others(the, altered));
  }
  const uint32_t longest = *std::ranges::max_element(positions);
  op::AttentionShape shape = own;
  bool found = false;
  for (shape.window = 1; shape.window <= longest && !found; ++shape.window) {
    if (shape.window == own.window) continue;
    Altered altered = usual(the);
    altered.first = [&](uint64_t t) { return shape.first_key(positions[t]); };
    if (!plausible(the, contest, altered)) continue;
    found = contest.offer(
        own.window ? Cause{"window-size", "the window is of another size",
                           fmt::format("{} keys instead of {}", shape.window, own.window)}
                   : Cause{"sliding-window", "only the last keys are seen",
                           fmt::format("a window of {}", shape.window)},
        // One that hides one key from the last token alone is rather a key unseen.
        seeing_others(the, altered), (shape.window == longest ? 6 : 4) + price::of(longest));
  }
}

/// One key is left out: the first, a token's own, or another.
void try_unseen(const Case& the, Contest& contest) {
  const auto& positions = the.positions();
  const op::AttentionShape own = the.program.attention_of(the.operation);
  std::optional<std::vector<Case>> later;  // it takes long, and is seldom asked for
  const auto unseen_there = [&](const Case& there, uint32_t hidden) {
    Altered altered = usual(there);
    altered.unseen = [&](uint64_t t, uint32_t key) {
      return key == hidden && own.first_key(there.positions()[t]) < there.positions()[t];
    };
    return reproduces(there, altered);
  };
  const auto always = [] { return true; };
  const auto without = [&](std::string evidence, double price, const auto& key_of,
                           const std::function<bool()>& holds_later) {
    Altered altered = usual(the);
    // A token that sees one key only keeps it.
    altered.unseen = [&](uint64_t t, uint32_t key) {
      return key == key_of(t) && own.first_key(positions[t]) < positions[t];
    };
    if (plausible(the, contest, altered) && holds_later())
      contest.offer({"key-unseen", "a key is not seen", std::move(evidence)},
                    attended(the, altered), price);
  };
  without(
      "the first", 1, [&](uint64_t t) { return own.first_key(positions[t]); }, always);
  if (positions[0] == 0)
    without(
        "a token's own", 1, [&](uint64_t t) { return positions[t]; }, always);
  const uint32_t longest = *std::ranges::max_element(positions);
  for (uint32_t key = 1; key <= longest && !contest.decided(); ++key)
    without(
        fmt::format("key {}", key), 2 + price::of(longest), [&](uint64_t) { return key; },
        [&] {
          if (!later) later = later_failures(the);
          return std::ranges::all_of(*later,
                                     [&](const Case& there) { return unseen_there(there, key); });
        });
}

void try_keys(const Case& the, Contest& contest) {
  const auto& positions = the.positions();
  const uint32_t held = uint32_t(cache_of(the).keys.size());
  const auto seeing = [&](const char* id, const char* name, std::string evidence, auto last,
                          double price = 0) {
    Altered altered = usual(the);
    altered.last = last;
    return contest.offer({id, name, std::move(evidence)}, seeing_others(the, altered), price);
  };
  seeing("mask-missing", "the causal mask is missing", "every token sees all keys",
         [&](uint64_t) { return held - 1; });
  seeing("mask-off-by-one", "the causal mask is off by one", "a token sees the next one's key",
         [&](uint64_t t) { return std::min(positions[t] + 1, held - 1); });
  if (positions[0] > 0) {
    try_stale_graph(the, contest);
    // After a step of decoding that was right, as many keys as that had say the same.
    seeing(
        "newest-key-dropped", "the newest key is left out", "a token does not see itself",
        [&](uint64_t t) { return positions[t] - 1; }, the.scene.step > 1 ? 1 : 0);
    try_overwritten(the, contest);
  }
  try_unseen(the, contest);
}

/// Results that fail only from some number of keys on.
uint32_t least_failing(const Case& the) {
  uint32_t least = UINT32_MAX;
  for (uint64_t t = 0; t < the.tokens(); ++t)
    for (uint64_t i = 0; i < the.got().width; ++i)
      if (the.positions()[t] < least && the.fails(t, i)) least = the.positions()[t];
  return least;
}

/// Keys without a column, values of another block.
void try_lost(const Case& the, Contest& contest) {
  if (const uint32_t keys = least_failing(the); keys > 0 && keys != UINT32_MAX) {
    Altered altered = usual(the);
    altered.last = [&](uint64_t t) { return std::min(the.positions()[t], keys - 1); };
    contest.offer(
        {"keys-lost", "keys from some number on are not seen", fmt::format("from key {} on", keys)},
        attended(the, altered), 2 + price::of(double(the.tokens())));
  }
  const uint32_t longest = *std::ranges::max_element(the.positions());
  for (uint32_t block = 16; block <= 128 && block <= longest && !contest.decided(); block *= 2) {
    Altered altered = usual(the);
    altered.value_of = [block](uint32_t key) { return key % block; };
    contest.offer({"value-block", "later blocks of keys meet the first block's values",
                   fmt::format("blocks of {}", block)},
                  attended(the, altered), 2);
  }
}

/// What the model adds to plain scores, left out or put in another place.
void try_own_scores(const Case& the, Contest& contest) {
  const op::AttentionShape a = the.program.attention_of(the.operation);
  const auto with = [&](Cause cause, const auto& change) {
    Altered altered = usual(the);
    change(altered);
    contest.offer(std::move(cause), attended(the, altered));
  };
  if (the.operation.weight != op::none)
    with({"sink-missing", "the sinks are left out", ""},
         [](Altered& altered) { altered.sinks = false; });
  if (a.soft_cap > 0) {
    with({"score-cap-missing", "the scores are not capped", ""},
         [](Altered& altered) { altered.softcap = 0; });
    with({"score-cap-before-scale", "the scores are capped before their scale", ""},
         [](Altered& altered) { std::swap(altered.softcap, altered.softcap_before); });
  }
  if (a.alibi == 0) return;
  with({"alibi-missing", "ALiBi is left out", ""},
       [](Altered& altered) { altered.slope = [](uint32_t) { return 0.0; }; });
  with({"alibi-steps", "each head has the ALiBi of the one before it", ""}, [&](Altered& altered) {
    altered.slope = [&](uint32_t head) {
      return head == 0 ? 1.0 : double(op::alibi_slope(a.alibi, head - 1, a.heads));
    };
  });
}

/// Sums of values that are kept as f16, and overflow. Those that do not may be off by some of its
/// ulps: the last bit of a sum before may have been rounded the other way.
void try_value_sums(const Case& the, Contest& contest) {
  Altered altered = usual(the);
  altered.sums = as_f16;
  judge::Judged judged = with_limits(the, attended(the, altered, true));
  judged.slack = mapped(judged.want, the.usual.want, [](double y, double own) {
    return std::isfinite(y) ? 8 * std::fabs(own) * 0x1p-10 : 0.0;
  });
  for (size_t i = 0; i < judged.scale.data.size(); ++i)
    if (!std::isfinite(judged.scale.data[i])) judged.scale.data[i] = 1;
  contest.offer_overflow({"value-sums-f16", "sums of values are kept as f16 and overflow",
                          "they exceed 65504 before they are divided"},
                         judged);
}

/// The same key by key, as one rescales to the greatest score so far: sums of values are kept as f16.
std::vector<double> output_by_keys(const Head& head) {
  std::vector<double> y(head.shape.value_dim, 0.0);
  double most = -INFINITY, sum = 0;
  for (uint32_t j = head.first; j <= head.last; ++j) {
    const double score = head.score(j), next = std::max(most, score);
    const double before = std::exp(most - next), weight = std::exp(score - next);
    sum = sum * before + weight;
    for (uint32_t i = 0; i < y.size(); ++i) {
      if (before != 1) y[i] = as_f16(y[i] * before);
      y[i] = as_f16(y[i] + weight * head.value(j, i));
    }
    most = next;
  }
  divide_by_sum(head, most, sum, y);
  return y;
}

/// Scores, queries or sums as f16. That all lies within a bound as wide as theirs shows nothing: one of
/// them must bring the engine's values near, though not within limits, as its own f32 error says which
/// way a value near the middle of two neighbours falls.
void try_halves(const Case& the, Contest& contest) {
  constexpr double of_square = 1.0 / 16;  // a quarter of the RMS
  Case queries = the;
  for (double& q : queries.scene.inputs[0].data) q = as_f16(q);
  const double all = distance(the.got(), the.usual.want);
  double least = of_square * all;
  Cause cause;
  for (const bool query : {false, true})
    for (const bool dot : {false, true})
      for (const bool score : {false, true})
        for (const bool sums : {false, true}) {
          const Case& given = query ? queries : the;
          Altered altered = usual(given);
          altered.dots_f16 = dot;
          altered.scores_f16 = score;
          const Table tried =
              sums ? attended_by(given, altered, output_by_keys) : attended(given, altered);
          const double left = distance(the.got(), tried);
          if (!(left < least)) continue;
          least = left;
          std::vector<std::string_view> kept;
          if (query) kept.push_back("queries");
          if (dot || score) kept.push_back("scores");
          if (sums) kept.push_back("sums of values");
          cause = {
              "f16-attention", fmt::format("{} are kept as f16", fmt::join(kept, " and ")),
              fmt::format("so computed, {:.2g} of the difference's square is left", left / all)};
        }
  if (!cause.id.empty()) contest.adopt(cause);
}

void try_f16(const Case& the, Contest& contest) {
  Altered altered = usual(the);
  const auto rescaled = [&](double near) {
    altered.factors = [near](double x) { return as_f16(x * near); };
    return with_limits(the, attended(the, altered, true));
  };
  judge::Judged judged = rescaled(1);
  // Near a tie, an f32 error of the factor's exponent may round it the other way.
  judged.slack = Table(judged.want.rows, judged.want.width);
  for (const double near : {1 - 0x1p-18, 1 + 0x1p-18}) {
    const judge::Judged other = rescaled(near);
    for (size_t i = 0; i < judged.slack.data.size(); ++i)
      judged.slack.data[i] += std::fabs(other.want.data[i] - judged.want.data[i]);
  }
  contest.offer({"rescale-f16", "what older chunks are rescaled by is kept as f16", ""}, judged);
  Case halves = the;
  auto& roundings = halves.scene.arithmetic.of[size_t(judge::Family::attention)];
  if (contest.decided() || is_coarse(roundings.sums)) return;
  // f16 is off everywhere, but in tokens that see one key: few elements alone are something else.
  if (contest.failing().size() * 4 < the.got().data.size()) return;
  roundings.inputs = roundings.dots = roundings.sums = judge::NumberType::f16;
  if (judge::compare(the.got(), expect_as(halves, the.operation)).failures == 0)
    try_halves(the, contest);
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
  const auto off = [&](double logarithm) {
    Altered altered = usual(few);
    altered.*number = std::exp(logarithm);
    return distance(attended(few, altered), few.got());
  };
  return std::exp(least_along(std::log(low), std::log(high), 24, off));
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
  const uint32_t held = uint32_t(cache_of(the).keys.size());
  for (uint32_t multiple = 8; multiple <= 1024 && !contest.decided(); multiple *= 2) {
    Altered altered = usual(the);
    altered.zeros = (held + multiple - 1) / multiple * multiple - held;
    contest.offer({"softmax-padding", "the softmax counts padding",
                   fmt::format("keys of zeros up to a multiple of {}", multiple)},
                  attended(the, altered), 3);
  }
}

// --- pages of the cache ---

/// A page of the cache that holds something else.
struct Page {
  uint32_t begin = 0, end = 0;
  std::string words() const {
    return end - begin == 1 ? fmt::format("position {}", begin)
                            : fmt::format("positions {} to {}", begin, end - 1);
  }
};

/// Pages of usual sizes, all of it, and what lies from the first failure on.
std::vector<Page> pages_of(const Case& the) {
  const uint32_t held = uint32_t(cache_of(the).keys.size());
  std::vector<Page> pages = {{0, held}};
  if (const uint32_t first = least_failing(the); first > 0 && first < held)
    pages.push_back({first, held});
  for (const uint32_t size : {256u, 128u, 64u, 32u, 16u, 8u, 4u, 2u, 1u})
    for (uint32_t begin = 0; begin < held && held / size <= 128; begin += size)
      if (Page page{begin, std::min(begin + size, held)}; page.end - page.begin < held)
        pages.push_back(page);
  return pages;
}

/// The layer that stores into a cache.
uint32_t layer_of(const Case& the, uint32_t cache) {
  for (const op::Operation& operation : the.program.operations)
    if (const auto* store = operation.as<op::KvStore>(); store && store->cache == cache)
      return operation.layer;
  return cache;
}

/// Where the page may end when the cache holds more: after it, with a larger page, nowhere.
std::vector<uint32_t> ends_of(const Page& page, uint32_t held) {
  std::vector<uint32_t> ends = {std::min(page.end, held), held};
  for (uint32_t size = 2; size <= 256; size *= 2)
    if (const uint32_t end = page.begin / size * size + size; end > page.end && end < held)
      ends.push_back(end);
  return ends;
}

/// A step, and what its caches hold in the end.
struct Holding {
  const Case& the;
  std::optional<diff::Scene> end;
};
Holding holding(const Case& the) {
  return {the, the.scene_at(the.scene.step, the.program.operations.size() - 1)};
}

/// What position j of a page holds; nullptr where there is no such row.
using PageRow =
    std::function<const std::vector<double>*(const Holding& at, bool value, uint32_t j)>;

/// The cache with another page; of its keys and values (part 0), keys (1) or values (2).
std::optional<Cache> with_page(const Holding& at, const Page& page, int part, const PageRow& row) {
  Cache cache = cache_of(at.the);
  for (uint32_t j = page.begin; j < page.end; ++j)
    for (const bool value : {false, true}) {
      if (part == (value ? 1 : 2)) continue;
      const std::vector<double>* held = row(at, value, j);
      if (!held) return std::nullopt;
      (value ? cache.values : cache.keys)[j] = *held;
    }
  return cache;
}

/// What may lie in a page: nothing, another layer's, another page's.
void try_pages(const Case& the, Contest& contest) {
  const Cache& own = cache_of(the);
  const op::CacheShape shape = the.program.caches[the.operation.as<op::Attend>()->cache];
  const Holding now = holding(the);
  const auto& end = now.end;
  const std::vector<Page> pages = pages_of(the);
  std::optional<std::vector<Case>> failures;  // it takes long, and is seldom asked for
  std::vector<Holding> later;
  const auto shows = [&](const Holding& there, const Page& page, int part, const PageRow& row) {
    return std::ranges::any_of(ends_of(page, uint32_t(cache_of(there.the).keys.size())),
                               [&](uint32_t last) {
                                 const auto cache = with_page(there, {page.begin, last}, part, row);
                                 Altered altered = usual(there.the);
                                 altered.cache = cache ? &*cache : nullptr;
                                 return cache && reproduces(there.the, altered);
                               });
  };
  const auto offer = [&](const Page& page, const std::string& what, double price,
                         const PageRow& row) {
    for (const int part : {0, 1, 2}) {
      const std::optional<Cache> cache = with_page(now, page, part, row);
      Altered altered = usual(the);
      altered.cache = cache ? &*cache : nullptr;
      if (!cache || !plausible(the, contest, altered)) continue;
      if (!failures) {
        failures = later_failures(the);
        for (const Case& there : *failures) later.push_back(holding(there));
      }
      if (!std::ranges::all_of(later,
                               [&](const Holding& there) { return shows(there, page, part, row); }))
        continue;
      contest.offer({"kv-page", "a page of keys and values is another",
                     fmt::format("{}{} hold {}",
                                 part == 0   ? ""
                                 : part == 1 ? "keys of "
                                             : "values of ",
                                 page.words(), what)},
                    attended(the, altered),
                    price + price::of(double(pages.size())) + (part == 0 ? 0.0 : 2.0));
    }
  };
  const std::vector<double> no_keys(own.keys.empty() ? 0 : own.keys[0].size(), 0.0);
  const std::vector<double> no_values(own.values.empty() ? 0 : own.values[0].size(), 0.0);
  for (const Page& page : pages) {
    if (contest.decided()) return;
    offer(page, "zeros", 0,
          [&](const Holding&, bool value, uint32_t) { return value ? &no_values : &no_keys; });
    for (uint32_t c = 0; end && c < the.program.caches.size(); ++c) {
      const Cache& other = end->caches[c];
      if (&other == &end->caches[the.operation.as<op::Attend>()->cache] ||
          the.program.caches[c] != shape || other.keys.size() < page.end)
        continue;
      offer(page, fmt::format("those of layer {}", layer_of(the, c)),
            price::of(double(the.program.caches.size())),
            [&, c](const Holding& at, bool value, uint32_t j) {
              const Cache* held = at.end ? &at.end->caches[c] : nullptr;
              return held && j < held->keys.size() ? &(value ? held->values : held->keys)[j]
                                                   : nullptr;
            });
    }
    const uint32_t size = page.end - page.begin;
    for (uint32_t begin = 0; begin + size <= own.keys.size() && size < own.keys.size();
         begin += size)
      if (begin != page.begin && own.keys.size() / size <= 32)
        offer(page, fmt::format("those of {}", Page{begin, begin + size}.words()), 3,
              [&](const Holding& at, bool value, uint32_t j) {
                const Cache& held = cache_of(at.the);
                const uint32_t source = begin + j - page.begin;
                return source < held.keys.size() ? &(value ? held.values : held.keys)[source]
                                                 : nullptr;
              });
  }
}

// --- heads ---

/// Another number of heads that share keys.
void try_shared_heads(const Case& the, Contest& contest) {
  const op::AttentionShape a = the.program.attention_of(the.operation);
  for (uint32_t group = 1; group <= a.heads; ++group) {
    if (a.heads % group != 0 || group == a.heads / a.kv_heads) continue;
    Altered altered = usual(the);
    altered.kv_head = [&](uint32_t head) { return std::min(head / group, a.kv_heads - 1); };
    if (plausible(the, contest, altered))
      contest.offer({"head-count", "the number of heads is another",
                     fmt::format("{} heads read each KV head", group)},
                    attended(the, altered), 2);
  }
}

/// Another number of heads.
void try_head_count(const Case& the, Contest& contest) {
  const op::AttentionShape a = the.program.attention_of(the.operation);
  if (a.key_dim != a.value_dim) return;
  for (const uint32_t heads : {a.heads * 2, a.heads * 4, a.heads / 2, a.heads / 4}) {
    const uint32_t width = a.heads * a.key_dim, kv_width = a.kv_heads * a.key_dim;
    if (heads == 0 || width % heads != 0) continue;
    const uint32_t dim = width / heads;
    if (kv_width % dim != 0 || heads % (kv_width / dim) != 0) continue;
    op::Program program = the.program;
    op::Operation operation = the.operation;
    auto& attend = *operation.as<op::Attend>();
    attend.heads = heads;
    program.caches[attend.cache] = {kv_width / dim, dim, dim};
    for (const float scale : {attend.scale, float(1 / std::sqrt(double(dim)))}) {
      attend.scale = scale;
      Case other{program, operation, nullptr, nullptr, the.scene, the.usual, the.seen};
      Cause cause{"head-count", "the number of heads is another",
                  fmt::format("{} of {} instead of {} of {}", heads, dim, a.heads, a.key_dim)};
      contest.offer(std::move(cause), attended(other, usual(other)), 3);
    }
  }
}

// --- another path for many keys ---

/// Parts of `size` keys, added up without what their maxima differ by: each by its own, or by the
/// greatest so far, to which the sums before it are not rescaled.
std::vector<double> output_without_maxima(const Head& head, uint32_t size, bool so_far) {
  std::vector<double> y(head.shape.value_dim, 0.0);
  double sum = 0, highest = -INFINITY;
  for (uint32_t start = head.first; start <= head.last; start += size) {
    std::vector<double> scores;
    for (uint32_t j = start; j <= head.last && j < start + size; ++j)
      scores.push_back(head.score(j));
    const double most = *std::ranges::max_element(scores);
    highest = std::max(highest, most);
    for (uint32_t j = 0; j < scores.size(); ++j) {
      const double weight = std::exp(scores[j] - (so_far ? highest : most));
      sum += weight;
      for (uint32_t i = 0; i < y.size(); ++i) y[i] += weight * head.value(start + j, i);
    }
  }
  divide_by_sum(head, highest, sum, y);
  return y;
}

void try_paths(const Case& the, Contest& contest) {
  const uint32_t least = least_failing(the);
  if (least == UINT32_MAX) return;
  for (const uint32_t size : {0u, 4u, 8u, 16u, 32u, 64u, 128u, 256u, 512u, 1024u})
    for (const bool so_far : {false, true}) {
      if (contest.decided()) return;
      const std::string parts = size == 0 ? "two halves" : fmt::format("parts of {} keys", size);
      contest.offer(
          {"attention-path", "a path of the kernel for many keys is wrong",
           fmt::format("from {} keys on {} are added without what their maxima differ by{}",
                       least + 1, parts, so_far ? ", the greatest so far" : "")},
          attended_by(the, usual(the),
                      [&](const Head& head) {
                        const uint32_t keys = head.last + 1 - head.first;
                        return output_without_maxima(head, size == 0 ? (keys + 1) / 2 : size,
                                                     so_far);
                      }),
          price::of(20));
    }
}

/// NaN made of finite numbers: a softmax gives it to whole heads of tokens, and the others are right.
void try_not_finite(const Case& the, Contest& contest) {
  const op::AttentionShape a = the.program.attention_of(the.operation);
  for (uint64_t t = 0; t < the.tokens(); ++t)
    for (uint32_t h = 0; h < a.heads; ++h) {
      const auto y = the.got().row(t).subspan(size_t(h) * a.value_dim, a.value_dim);
      const auto bad =
          uint64_t(std::ranges::count_if(y, [](double x) { return !std::isfinite(x); }));
      if (bad != 0 && bad != y.size()) return;
    }
  if (the.seen.not_finite < the.seen.failures) return;
  contest.adopt(
      {"softmax-not-finite", "the softmax meets what is not finite",
       fmt::format("{} of {} results, whole heads, are NaN or infinite, from finite inputs",
                   the.seen.not_finite, the.seen.elements)});
}

}  // namespace

void try_attention(const Case& the, Contest& contest) {
  if (the.seen.not_finite > 0) {
    try_value_sums(the, contest);
    try_not_finite(the, contest);
    return;
  }
  const op::AttentionShape a = the.program.attention_of(the.operation);
  try_shared_heads(the, contest);
  if (a.kv_heads > 1 && a.kv_heads < a.heads) {
    Altered altered = usual(the);
    altered.kv_head = [&](uint32_t head) { return head % a.kv_heads; };
    contest.offer({"gqa-modulo", "heads read the wrong KV head", "head h reads h mod kv_heads"},
                  attended(the, altered));
  }
  if (a.heads > 1 && !contest.decided())
    offer_part_of_heads(the, contest, "they are zero", Table(the.got().rows, the.got().width));
  try_own_scores(the, contest);
  try_keys(the, contest);
  if (!contest.decided()) try_lost(the, contest);
  try_windows(the, contest);
  if (!contest.decided()) try_pages(the, contest);
  if (!contest.decided()) try_head_count(the, contest);
  if (!contest.decided()) try_paths(the, contest);
  if (!contest.decided()) try_scores(the, contest);
  if (!contest.decided()) try_f16(the, contest);
}

}  // namespace assay::diagnose
