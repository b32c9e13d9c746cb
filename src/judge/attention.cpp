#include "judge/kind.h"

#include <cassert>

#include "judge/product.h"

namespace assay::judge {

// p[j] = e^(s[j] − max s) / Σ_k e^(s[k] − max s). A NaN score makes the sum NaN, and so every p.
std::vector<double> softmax(std::span<const double> scores) {
  double largest = scores[0], sum = 0;
  for (double score : scores) largest = std::max(largest, score);
  std::vector<double> p(scores.size());
  for (size_t j = 0; j < scores.size(); ++j) sum += p[j] = std::exp(scores[j] - largest);
  for (double& value : p) value /= sum;
  return p;
}

Attended attend(std::span<const double> query, const Cache& cache, uint32_t position, uint32_t head,
                const op::AttentionShape& attention, std::optional<double> sink) {
  assert(position < cache.keys.size());
  const uint32_t kv_head = head / (attention.heads / attention.kv_heads);
  const uint32_t first = attention.first_key(position);
  const size_t keys = size_t(position) - first + 1;
  Attended out{.first = first,
               .score = std::vector<double>(keys),
               .magnitude = std::vector<double>(keys),
               .slack = std::vector<double>(keys),
               .probability = {},
               .output = std::vector<double>(attention.value_dim),
               .slope = double(op::alibi_slope(attention.alibi, head, attention.heads)),
               .sink = sink};
  const double cap = double(attention.soft_cap);
  for (size_t j = 0; j < keys; ++j) {
    const double* key = &cache.keys[first + j][size_t(kv_head) * attention.key_dim];
    double sum = 0, magnitude = 0;
    for (size_t d = 0; d < attention.key_dim; ++d) {
      sum += query[d] * key[d];
      magnitude += std::fabs(query[d] * key[d]);
    }
    if (!cache.key_slack.empty())
      for (size_t d = 0; d < attention.key_dim; ++d)
        out.slack[j] += std::fabs(query[d] * double(attention.scale)) *
                        cache.key_slack[first + j][size_t(kv_head) * attention.key_dim + d];
    const double scaled = sum * double(attention.scale);
    out.score[j] =
        (cap > 0 ? cap * std::tanh(scaled / cap) : scaled) - out.slope * double(keys - 1 - j);
    out.magnitude[j] = magnitude * std::fabs(double(attention.scale));
  }
  std::vector<double> all = out.score;
  if (sink) all.push_back(*sink);
  out.probability = softmax(all);
  out.probability.resize(keys);
  for (size_t j = 0; j < keys; ++j) {
    const double* value = &cache.values[first + j][size_t(kv_head) * attention.value_dim];
    for (size_t i = 0; i < attention.value_dim; ++i) out.output[i] += out.probability[j] * value[i];
  }
  return out;
}

std::vector<double> attention(std::span<const double> query, const Cache& cache, uint32_t position,
                              const op::AttentionShape& attention, std::span<const double> sinks) {
  std::vector<double> y;
  for (uint32_t head = 0; head < attention.heads; ++head) {
    const auto q = query.subspan(size_t(head) * attention.key_dim, attention.key_dim);
    const Attended attended =
        attend(q, cache, position, head, attention,
               sinks.empty() ? std::optional<double>() : std::optional(sinks[head]));
    y.insert(y.end(), attended.output.begin(), attended.output.end());
  }
  return y;
}

namespace {

/// What coarse types add to the error of score j, absolute.
double coarse_score_error(const Attended& head, size_t j, double below,
                          const op::AttentionShape& attention, const Roundings& r) {
  const double kept = attention.soft_cap > 0 ? head.magnitude[j] : std::fabs(head.score[j]);
  const double dot =
      2 * coarse_ulp(r.inputs) + std::sqrt(double(attention.key_dim)) / 2 * coarse_ulp(r.dots);
  return dot * head.magnitude[j] + 2 * coarse_ulp(r.products) * kept + 2 * least_error(r.products) +
         std::min(coarse_ulp(r.products), coarse_ulp(r.sums)) * below + head.slack[j];
}

}  // namespace

std::vector<Limit> attention_limits(const Attended& head, const Cache& cache, uint32_t kv_head,
                                    const op::AttentionShape& attention,
                                    const Roundings& roundings) {
  constexpr size_t chunk = 64;  // keys whose softmax the contract keeps apart
  const size_t keys = head.score.size();
  const auto chunk_of = [&](size_t j) { return (head.first + j) / chunk - head.first / chunk; };
  const size_t chunks = chunk_of(keys - 1) + 1 + (head.sink ? 1 : 0);
  const double dot = float_matmul_limit(attention.key_dim, false);
  const double sums = float_matmul_limit(std::min(keys, chunk), false) + 4.0 * double(chunks) + 8.0;
  std::vector<double> score = head.score;
  if (head.sink) score.push_back(*head.sink);
  const double largest = *std::max_element(score.begin(), score.end());
  std::vector<double> error(score.size());  // of a score, absolute: the weight is e^±error off
  for (size_t j = 0; j < score.size(); ++j) {
    double u = (largest - score[j]) + 4.0;
    if (j < keys)
      u = dot * head.magnitude[j] + std::fabs(score[j]) + (largest - score[j]) +
          4.0 * double(chunks - chunk_of(j)) + 4.0 * double(attention.soft_cap) +
          4.0 * head.slope * double(keys - 1 - j);
    error[j] = unit * u;
    if (j < keys) error[j] += coarse_score_error(head, j, largest - score[j], attention, roundings);
  }
  const double worst = *std::max_element(error.begin(), error.end());
  const size_t width = attention.value_dim;
  const std::vector<double> nothing(width, 0.0);
  std::vector<double> moved(width, 0.0), weighed(width, 0.0), most(width, 0.0), far(width, 0.0),
      slack(width, 0.0);
  double least_sum = 0;
  for (size_t j = 0; j < score.size(); ++j) {
    const double below = largest - score[j], weight = std::exp(-below);
    const double up = std::exp(std::min(error[j] - below, 700.0));
    const double low = below + error[j] + worst >= 49.0 ? 0.0 : std::exp(-below - error[j]);
    const double change = std::max(up - weight, weight - low);
    least_sum += low;
    const double* value =
        j < keys ? &cache.values[head.first + j][size_t(kv_head) * width] : nothing.data();
    for (size_t i = 0; i < width; ++i) {
      const double distance = std::fabs(value[i] - head.output[i]);
      moved[i] += change * distance;
      weighed[i] += up * std::fabs(value[i]);
      if (j < keys && !cache.value_slack.empty())
        slack[i] += up * cache.value_slack[head.first + j][size_t(kv_head) * width + i];
      far[i] = std::max(far[i], distance);
      most[i] = std::max(most[i], std::fabs(value[i]));
    }
  }
  const double of_sums = is_coarse(roundings.sums) ? 2.0 + 4.0 * std::sqrt(double(keys)) : 0;
  const double rounded = 2 * coarse_ulp(roundings.weights) + coarse_ulp(roundings.inputs) +
                         of_sums * coarse_ulp(roundings.sums);
  std::vector<Limit> limits(width);
  for (size_t i = 0; i < width; ++i) {
    // an average of values is never further off than the values are
    const double scale = least_sum > 0 ? std::min(weighed[i] / least_sum, most[i]) : most[i];
    const double by_weights = least_sum > 0 ? std::min(moved[i] / least_sum, far[i]) : far[i];
    const double by_slack = least_sum > 0 ? slack[i] / least_sum : 0;
    const double off = by_weights + by_slack + rounded * scale + of_sums * 0x1p-22 +
                       double(keys) * least_error(roundings.weights) * most[i];
    limits[i] = {scale, sums + (scale > 0 ? off / (unit * scale) : 0.0)};
  }
  return limits;
}

static std::vector<double> sinks_of(const Subject& subject) {
  return subject.operation.weight == op::none ? std::vector<double>()
                                              : decode_row(subject.weight(), 0);
}

template <>
Table formula_of(const Subject& subject, const op::Attend& p) {
  const op::AttentionShape shape = subject.program.attention_of(subject.operation);
  const Table& queries = subject.x();
  const std::vector<double> sinks = sinks_of(subject);
  return by_row(queries.rows, uint64_t(shape.heads) * shape.value_dim, [&](uint64_t t) {
    return attention(queries.row(t), subject.cache(t, p.cache), subject.position(t), shape, sinks);
  });
}

/// Rounding to a type changes nothing where queries and keys are of it already.
static Roundings needed(const Subject& subject, const op::Attend& p, Roundings roundings) {
  const auto kept = [type = roundings.inputs](double x) {
    return !std::isfinite(x) || round_to(x, type) == x;
  };
  if (!is_coarse(roundings.inputs) || !std::ranges::all_of(subject.x().data, kept))
    return roundings;
  const auto& sequences = subject.inputs.step.sequences;
  for (uint64_t t = 0; t < subject.x().rows; ++t) {
    if (t > 0 && (sequences.empty() || sequences[t] == sequences[t - 1])) continue;
    for (const auto* rows : {&subject.cache(t, p.cache).keys, &subject.cache(t, p.cache).values})
      for (const auto& row : *rows)
        if (!std::ranges::all_of(row, kept)) return roundings;
  }
  roundings.inputs = NumberType::f32;
  return roundings;
}

template <>
Judged expect_of(const Subject& subject, const op::Attend& p, const Coding&,
                 const Arithmetic& arithmetic) {
  const Roundings roundings = needed(subject, p, arithmetic[Family::attention]);
  const op::AttentionShape a = subject.program.attention_of(subject.operation);
  const Table& queries = subject.x();
  const uint64_t width = uint64_t(a.heads) * a.value_dim;
  const std::vector<double> sinks = sinks_of(subject);
  Judged out{
      Table(queries.rows, width), Table(queries.rows, width), Table(queries.rows, width), {}};
  in_parallel(queries.rows * a.heads, [&](uint64_t first, uint64_t last) {
    for (uint64_t item = first; item < last; ++item) {
      const uint64_t t = item / a.heads;
      const Cache& cache = subject.cache(t, p.cache);
      const uint32_t h = uint32_t(item % a.heads), kv_head = h / (a.heads / a.kv_heads);
      const auto query = queries.row(t).subspan(size_t(h) * a.key_dim, a.key_dim);
      const Attended want =
          attend(query, cache, subject.position(t), h, a,
                 sinks.empty() ? std::optional<double>() : std::optional(sinks[h]));
      const auto limits = attention_limits(want, cache, kv_head, a, roundings);
      for (uint32_t i = 0; i < a.value_dim; ++i) {
        const uint64_t column = uint64_t(h) * a.value_dim + i;
        out.want.row(t)[column] = want.output[i];
        out.scale.row(t)[column] = limits[i].scale;
        out.limit.row(t)[column] = limits[i].limit_u + foreign(arithmetic);
      }
    }
  });
  return out;
}

}  // namespace assay::judge
