#include "trace/replay.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "reference/executor.h"
#include "trace/bounds.h"

namespace assay::trace {

using reference::Table;

void Tally::element(uint64_t token, uint64_t row, float got, double want, double scale,
                    double limit_u) {
  double error_u = 0;
  if (!(double(got) == want)) {
    const double error = std::fabs(double(got) - want);
    const bool tiny = limit_u > 0 && error <= absolute_floor;
    const double beyond = limit_u > 0 ? error - absolute_floor : error;
    error_u = tiny ? 0.0 : beyond / (unit * scale);
    if (std::isnan(error_u)) error_u = std::numeric_limits<double>::infinity();
  }
  const bool inside = error_u <= limit_u;
  const bool worse =
      error_.elements == 0 || badness(error_u, limit_u) > badness(error_.max_u, error_.limit_u);
  if (worse) {
    error_.max_u = error_u;
    error_.limit_u = limit_u;
    error_.worst_step = step_;
    error_.worst_token = token;
    error_.worst_row = row;
  }
  ++error_.elements;
  if (!inside) ++error_.failures;
}

Replay::Replay(const op::Program& program, const op::ExecutorOptions& options,
               std::function<bool(const op::Operation&)> wanted)
    : program_(program),
      cache_type_(options.cache),
      contract_(options.contract),
      wanted_(std::move(wanted)),
      values_(program.values.size()),
      last_use_(reference::last_uses(program)),
      caches_(options.sequences, std::vector<reference::Cache>(program.layers)) {
  for (const op::Operation& operation : program.operations)
    errors_.push_back({operation.name, operation.kind});
}

void Replay::begin_step(const op::Step& step) {
  tokens_.assign(step.tokens.begin(), step.tokens.end());
  positions_.assign(step.positions.begin(), step.positions.end());
  sequences_.assign(step.sequences.begin(), step.sequences.end());
  selected_.assign(step.selected.begin(), step.selected.end());
  for (Table& value : values_) value = {};
  ++steps_;
}

uint64_t Replay::failures() const {
  uint64_t sum = 0;
  for (const OperationError& error : errors_) sum += error.failures;
  return sum;
}

void Replay::operator()(const op::Operation& operation, std::span<const float> output) {
  const size_t index = size_t(&operation - program_.operations.data());
  assert(index < program_.operations.size() && steps_ > 0);
  const uint64_t width =
      operation.output == op::none
          ? input(operation, 0).width  // kv_store: checked below by its own shape
          : program_.values[operation.output].width;
  Table got;
  got.width = width;
  got.rows = output.size() / width;
  got.data.assign(output.begin(), output.end());
  // kv_store is always judged: that is what fills the caches
  if (!wanted_ || wanted_(operation) || operation.kind == op::Kind::kv_store)
    check(operation, got, Tally(errors_[index], steps_ - 1));
  if (operation.output != op::none) values_[operation.output] = std::move(got);
  for (uint32_t v : operation.inputs)
    if (last_use_[v] == index) values_[v] = {};
}

void Replay::check(const op::Operation& operation, const Table& got, Tally tally) {
  switch (operation.kind) {
    case op::Kind::embed:
      return check_embed(operation, got, tally);
    case op::Kind::rms_norm:
      return check_rms_norm(operation, got, tally);
    case op::Kind::matmul:
      return check_matmul(operation, got, tally);
    case op::Kind::rope:
      return check_rope(operation, got, tally);
    case op::Kind::kv_store:
      return check_kv_store(operation, got, tally);
    case op::Kind::attention:
      return check_attention(operation, got, tally);
    case op::Kind::swiglu:
      return check_swiglu(operation, got, tally);
    case op::Kind::add:
      return check_add(operation, got, tally);
    case op::Kind::scale:
      return check_scale(operation, got, tally);
    case op::Kind::select_rows:
      return check_select_rows(operation, got, tally);
  }
}

namespace {

/// A row against the judge's, each element measured against its own magnitude.
void check_row(uint64_t t, std::span<const double> got, std::span<const double> want,
               double limit_u, Tally& tally) {
  for (size_t i = 0; i < want.size(); ++i)
    tally.element(t, i, float(got[i]), want[i], std::fabs(want[i]), limit_u);
}

}  // namespace

void Replay::check_embed(const op::Operation& operation, const Table& got, Tally& tally) {
  const op::Weight& weight = program_.weights[operation.weight];
  for (uint64_t t = 0; t < got.rows; ++t)
    check_row(t, got.row(t), reference::decode_row(weight, uint64_t(tokens_[t])), copy_limit,
              tally);
}

void Replay::check_rms_norm(const op::Operation& operation, const Table& got, Tally& tally) {
  const Table& x = input(operation, 0);
  const std::vector<double> w = reference::decode_row(program_.weights[operation.weight], 0);
  for (uint64_t t = 0; t < got.rows; ++t)
    check_row(t, got.row(t), reference::rms_norm(x.row(t), w, double(operation.eps)),
              rms_norm_limit(x.width), tally);
}

void Replay::check_matmul(const op::Operation& operation, const Table& got, Tally& tally) {
  const op::Weight& weight = program_.weights[operation.weight];
  const op::Weight* bias = program_.bias_of(operation);
  Table x = input(operation, 0);
  const bool quantised = contract_ == op::Contract::assay1 && reference::meets_quantised(weight);
  for (uint64_t t = 0; t < x.rows && quantised; ++t) {
    const std::vector<double> coded = reference::quantise(x.row(t));
    std::copy(coded.begin(), coded.end(), x.row(t).begin());
  }
  const double limit = quantised ? quantised_matmul_limit(x.width, chain_steps(weight.type))
                                 : float_matmul_limit(x.width, bias != nullptr);
  const Table want = reference::matmul(weight, bias, x);
  const Table scale = reference::matmul_magnitude(
      weight, bias, x, quantised ? reference::Terms::parts : reference::Terms::weights);
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t r = 0; r < got.width; ++r)
      tally.element(t, r, float(got.row(t)[r]), want.row(t)[r], scale.row(t)[r], limit);
}

void Replay::check_rope(const op::Operation& operation, const Table& got, Tally& tally) {
  const op::Rope& rope = program_.rope;
  const size_t head_dim = got.width / operation.heads, half = rope.dimensions / 2;
  for (uint64_t t = 0; t < got.rows; ++t) {
    const auto x = input(operation, 0).row(t);
    const std::vector<double> want = reference::rope(x, rope, operation.heads, positions_[t]);
    for (size_t i = 0; i < got.width; ++i) {
      const size_t lane = i % head_dim;
      double norm = 0, limit = copy_limit;  // lanes that do not turn are copies
      if (lane < rope.dimensions) {
        const size_t partner = rope.adjacent ? i ^ 1 : lane < half ? i + half : i - half;
        norm = std::hypot(x[i], x[partner]) * std::fabs(rope.magnitude);
        limit = rope_limit(positions_[t]);
      }
      tally.element(t, i, float(got.row(t)[i]), want[i], norm, limit);
    }
  }
}

void Replay::check_kv_store(const op::Operation& operation, const Table& got, Tally& tally) {
  const std::span<const double> both = got.data;  // keys, then values
  const size_t tokens = input(operation, 0).rows;
  const size_t key_count = input(operation, 0).data.size(),
               value_count = input(operation, 1).data.size();
  assert(both.size() == key_count + value_count);
  const std::span<const double> stored[2] = {both.first(key_count), both.last(value_count)};
  for (size_t side = 0; side < 2; ++side) {
    const Table& x = input(operation, side);
    for (size_t i = 0; i < x.data.size(); ++i) {
      const double want =
          cache_type_ == op::CacheType::f16 ? reference::round_to_f16(x.data[i]) : x.data[i];
      // in the report the values' rows follow the keys'
      tally.element(i / x.width + side * tokens, i % x.width, float(stored[side][i]), want,
                    std::fabs(want), copy_limit);
    }
  }
  const size_t key_width = input(operation, 0).width, value_width = input(operation, 1).width;
  for (size_t t = 0; t < tokens; ++t)
    caches_[sequences_[t]][operation.layer].store(positions_[t],
                                                  stored[0].subspan(t * key_width, key_width),
                                                  stored[1].subspan(t * value_width, value_width));
}

void Replay::check_attention(const op::Operation& operation, const Table& got, Tally& tally) {
  const op::Attention& attention = program_.attention;
  for (uint64_t t = 0; t < got.rows; ++t) {
    const reference::Cache& cache = caches_[sequences_[t]][operation.layer];
    for (uint32_t h = 0; h < attention.heads; ++h) {
      const uint32_t kv_head = h / (attention.heads / attention.kv_heads);
      const auto query =
          input(operation, 0).row(t).subspan(size_t(h) * attention.key_dim, attention.key_dim);
      const reference::Attended want =
          reference::attend(query, cache, positions_[t], kv_head, attention);
      const std::vector<Limit> limits = attention_limits(want, cache, kv_head, attention);
      for (uint32_t i = 0; i < attention.value_dim; ++i) {
        const uint64_t row = uint64_t(h) * attention.value_dim + i;
        tally.element(t, row, float(got.row(t)[row]), want.output[i], limits[i].scale,
                      limits[i].limit_u);
      }
    }
  }
}

void Replay::check_swiglu(const op::Operation& operation, const Table& got, Tally& tally) {
  for (uint64_t t = 0; t < got.rows; ++t)
    check_row(t, got.row(t),
              reference::swiglu(input(operation, 0).row(t), input(operation, 1).row(t)),
              swiglu_limit, tally);
}

void Replay::check_add(const op::Operation& operation, const Table& got, Tally& tally) {
  for (uint64_t t = 0; t < got.rows; ++t)
    check_row(t, got.row(t), reference::add(input(operation, 0).row(t), input(operation, 1).row(t)),
              add_limit, tally);
}

void Replay::check_scale(const op::Operation& operation, const Table& got, Tally& tally) {
  const std::vector<double> b = operation.bias == op::none
                                    ? std::vector<double>(got.width, 0.0)
                                    : reference::decode_row(program_.weights[operation.bias], 0);
  const double factor = double(operation.factor);
  for (uint64_t t = 0; t < got.rows; ++t) {
    const auto x = input(operation, 0).row(t);
    const auto want = reference::scale(x, factor, b);
    for (size_t i = 0; i < want.size(); ++i)
      tally.element(t, i, float(got.row(t)[i]), want[i], std::fabs(x[i] * factor) + std::fabs(b[i]),
                    scale_limit);
  }
}

void Replay::check_select_rows(const op::Operation& operation, const Table& got, Tally& tally) {
  for (uint64_t i = 0; i < got.rows; ++i)
    check_row(i, got.row(i), input(operation, 0).row(selected_[i]), copy_limit, tally);
}

std::vector<OperationError> worst_by_kind(std::span<const OperationError> errors) {
  std::vector<OperationError> worst;
  for (const OperationError& error : errors) {
    OperationError* known = nullptr;
    for (OperationError& w : worst)
      if (w.kind == error.kind) known = &w;
    if (!known) {
      worst.push_back(error);
      continue;
    }
    const uint64_t elements = known->elements + error.elements,
                   failures = known->failures + error.failures;
    if (badness(error.max_u, error.limit_u) > badness(known->max_u, known->limit_u)) *known = error;
    known->elements = elements;
    known->failures = failures;
  }
  return worst;
}

}  // namespace assay::trace
