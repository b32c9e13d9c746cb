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
  std::vector<double> scale(attention.value_dim, 0.0), by_weights(attention.value_dim, 0.0);
  for (size_t j = 0; j < keys; ++j) {
    const double below = largest - head.score[j];
    const double exponentials = 4.0 * double(chunks - j / chunk);
    double error = dot * head.magnitude[j] + std::fabs(head.score[j]) + below + exponentials;
    if (below >= 49.0) error = 1.0 / unit;
    const double* value = &cache.values[j][size_t(kv_head) * attention.value_dim];
    for (size_t i = 0; i < scale.size(); ++i) {
      by_weights[i] += head.probability[j] * std::fabs(value[i] - head.output[i]) * error;
      scale[i] += head.probability[j] * std::fabs(value[i]);
    }
  }
  std::vector<Limit> limits(scale.size());
  for (size_t i = 0; i < scale.size(); ++i)
    limits[i] = {scale[i], sums + (scale[i] > 0 ? by_weights[i] / scale[i] : 0.0)};
  return limits;
}

}  // namespace assay::trace
