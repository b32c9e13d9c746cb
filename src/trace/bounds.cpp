#include "trace/bounds.h"

#include <algorithm>
#include <cmath>

#include "quant/formats.h"

namespace assay::trace {

double rms_norm_limit(uint64_t n) {
  return 4.0 + std::sqrt(double(n)) / 4.0;
}

double rope_limit(uint32_t position) {
  return 4.0 + double(position) * 0x1p-28;
}

double quantised_matmul_limit(uint64_t columns, uint32_t steps) {
  const double factor = std::max(1.0, double(steps) / 2.0);
  return 8.0 + 4.0 * std::sqrt(factor * double(columns) / 32.0);
}

uint32_t chain_steps(uint32_t weight_type) {
  uint32_t steps = 0;
  quant::visit(weight_type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) steps = 32 / F::group_size * (F::has_minimum ? 2 : 1);
  });
  return steps;
}

double float_matmul_limit(uint64_t columns, bool bias) {
  const double k = double(columns);
  return std::min(8.0 + 4.0 * std::sqrt(k), k / (1.0 - k * unit)) + (bias ? 1.0 : 0.0);
}

std::vector<Limit> attention_limits(const reference::Attended& head, const reference::Cache& cache,
                                    uint32_t kv_head, const op::Attention& attention) {
  constexpr size_t chunk = 64;  // keys whose softmax the contract keeps apart
  const size_t keys = head.score.size(), chunks = (keys + chunk - 1) / chunk;
  const double dot = float_matmul_limit(attention.key_dim, false);
  const double sums = float_matmul_limit(std::min(keys, chunk), false) + 4.0 * double(chunks) + 8.0;
  const double largest = *std::max_element(head.score.begin(), head.score.end());
  std::vector<double> error(keys);  // of a score, absolute: the weight is e^±error off
  for (size_t j = 0; j < keys; ++j) {
    const double exponentials = 4.0 * double(chunks - j / chunk);
    error[j] = unit * (dot * head.magnitude[j] + std::fabs(head.score[j]) +
                       (largest - head.score[j]) + exponentials);
  }
  const double worst = *std::max_element(error.begin(), error.end());
  const size_t width = attention.value_dim;
  std::vector<double> moved(width, 0.0), weighed(width, 0.0), most(width, 0.0), far(width, 0.0);
  double least_sum = 0;
  for (size_t j = 0; j < keys; ++j) {
    const double below = largest - head.score[j], weight = std::exp(-below);
    const double up = std::exp(std::min(error[j] - below, 700.0));
    const double low = below + error[j] + worst >= 49.0 ? 0.0 : std::exp(-below - error[j]);
    const double change = std::max(up - weight, weight - low);
    least_sum += low;
    const double* value = &cache.values[j][size_t(kv_head) * width];
    for (size_t i = 0; i < width; ++i) {
      const double distance = std::fabs(value[i] - head.output[i]);
      moved[i] += change * distance;
      weighed[i] += up * std::fabs(value[i]);
      far[i] = std::max(far[i], distance);
      most[i] = std::max(most[i], std::fabs(value[i]));
    }
  }
  std::vector<Limit> limits(width);
  for (size_t i = 0; i < width; ++i) {
    // an average of values is never further off than the values are
    const double scale = least_sum > 0 ? std::min(weighed[i] / least_sum, most[i]) : most[i];
    const double by_weights = least_sum > 0 ? std::min(moved[i] / least_sum, far[i]) : far[i];
    limits[i] = {scale, sums + (scale > 0 ? by_weights / (unit * scale) : 0.0)};
  }
  return limits;
}

}  // namespace assay::trace
