#include "diff/noise.h"

#include <algorithm>
#include <cmath>

#include "diff/runs.h"
#include "judge/product.h"

namespace assay::diff {

namespace {

/// Rows (runs, tokens) of one run.
struct View {
  std::span<const double> values;
  std::span<const double> log_sums;
  uint64_t width;
};

double relative_of(const View& a, const View& b) {
  double error = 0, size = 0;
  for (size_t i = 0; i < a.values.size(); ++i) {
    error += (a.values[i] - b.values[i]) * (a.values[i] - b.values[i]);
    size += b.values[i] * b.values[i];
  }
  return error == 0 ? 0 : std::sqrt(error / size);
}

double mean_divergence(const View& a, const View& b) {
  double sum = 0;
  for (uint64_t t = 0; t < a.log_sums.size(); ++t)
    sum += divergence(a.values.subspan(t * a.width, a.width),
                      b.values.subspan(t * b.width, b.width), a.log_sums[t], b.log_sums[t]);
  return sum / double(a.log_sums.size());
}

std::vector<double> log_sums(const Table& rows) {
  std::vector<double> sums(rows.rows);
  judge::in_parallel(rows.rows, [&](uint64_t first, uint64_t last) {
    for (uint64_t t = first; t < last; ++t) sums[t] = log_sum(rows.row(t));
  });
  return sums;
}

/// The runs of a group's output; `sums` are needed for divergences only.
std::vector<View> views(const Table& all, uint64_t runs, std::span<const double> sums = {}) {
  std::vector<View> out;
  const uint64_t tokens = all.rows / runs, size = tokens * all.width;
  for (uint64_t run = 0; run < runs && !all.data.empty(); ++run)
    out.push_back({std::span(all.data).subspan(run * size, size),
                   sums.empty() ? sums : sums.subspan(run * tokens, tokens), all.width});
  return out;
}

/// `distance` of every run of a from every run of b, ascending.
std::vector<double> pairs(const std::vector<View>& a, const std::vector<View>& b,
                          double (*distance)(const View&, const View&)) {
  std::vector<double> out(a.size() * b.size());
  judge::in_parallel(out.size(), [&](uint64_t first, uint64_t last) {
    for (uint64_t i = first; i < last; ++i) out[i] = distance(a[i / b.size()], b[i % b.size()]);
  });
  std::ranges::sort(out);
  return out;
}

}  // namespace

double log_sum(std::span<const double> logits) {
  const double most = *std::ranges::max_element(logits);
  double sum = 0;
  for (const double x : logits) sum += std::exp(x - most);
  return most + std::log(sum);
}

double divergence(std::span<const double> a, std::span<const double> b, double log_sum_a,
                  double log_sum_b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_b = b[i] - log_sum_b;
    if (log_b > -60) sum += std::exp(log_b) * (log_b - (a[i] - log_sum_a));  // e^−60 adds nothing
  }
  return sum;
}

double Noise::percentile(const std::vector<double>& sorted, double distance) {
  if (sorted.empty()) return -1;
  const auto nearer = std::ranges::lower_bound(sorted, distance) - sorted.begin();
  return 100.0 * double(nearer) / double(sorted.size());
}

Noise correct_runs(const op::Program& program, const Side& a, const Side& b,
                   std::span<const int32_t> tokens, uint64_t runs, uint64_t seed) {
  const uint64_t half = runs / 2;
  Noise noise{2 * half, tokens.size(), {}, {}};
  Runs of_a = correct(program, a, tokens, half, seed);
  Runs of_b = correct(program, b, tokens, half, seed + 1);
  const std::vector<size_t> last_use = op::last_uses(program);
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    const Table& ya = of_a.run(i);
    const Table& yb = of_b.run(i);
    noise.relative.push_back(pairs(views(ya, half), views(yb, half), relative_of));
    if (i + 1 == program.operations.size()) {
      const std::vector<double> sums_a = log_sums(ya), sums_b = log_sums(yb);
      noise.divergence = pairs(views(ya, half, sums_a), views(yb, half, sums_b), mean_divergence);
    }
    for (const uint32_t value : operation.inputs)
      if (last_use[value] == i) {
        of_a.forget(value);
        of_b.forget(value);
      }
  }
  return noise;
}

}  // namespace assay::diff
