#include "diff/judge.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "diff/product.h"
#include "trace/bounds.h"

namespace assay::diff {

using reference::Table;

namespace {

constexpr double half_ulp_f16 = 0x1p-11;

Table constant(double value) {
  Table table(1, 1);
  table.data[0] = value;
  return table;
}

Table magnitudes(const Table& table) {
  Table out = table;
  for (double& value : out.data) value = std::fabs(value);
  return out;
}

Judged of_rows(Table want, double limit_u) {
  Table scale = magnitudes(want);
  return {std::move(want), std::move(scale), constant(limit_u), {}};
}

/// Another engine's exp and division, its rsqrt: a few ulp more than ours.
constexpr double foreign_ulps = 8.0;

Judged embed(const op::Program& program, const op::Operation& operation, const Inputs& inputs) {
  const op::Weight& weight = program.weights[operation.weight];
  Table want(inputs.step->tokens.size(), weight.columns);
  for (uint64_t t = 0; t < want.rows; ++t)
    std::ranges::copy(reference::decode_row(weight, uint64_t(inputs.step->tokens[t])),
                      want.row(t).begin());
  // Decoding rounds once; engines that keep scale and minimum apart round the product, too.
  return of_rows(std::move(want), 2.0);
}

Judged rms_norm(const op::Program& program, const op::Operation& operation, const Table& x,
                const Arithmetic& arithmetic) {
  const auto w = reference::decode_row(program.weights[operation.weight], 0);
  Table want(x.rows, x.width);
  for (uint64_t t = 0; t < x.rows; ++t)
    std::ranges::copy(reference::rms_norm(x.row(t), w, double(operation.eps)), want.row(t).begin());
  return of_rows(std::move(want),
                 trace::rms_norm_limit(x.width) + (arithmetic.own ? 0 : foreign_ulps));
}

/// In u of the pair's norm. Others compute the angle in f32, by powers of a ratio: position·
/// frequency·(one ulp for the power, one for each of the i products, one for the angle).
double rope_limit(const op::Rope& rope, uint32_t position, size_t pair,
                  const Arithmetic& arithmetic) {
  const double own = trace::rope_limit(position);
  if (arithmetic.own) return own;
  return own + foreign_ulps + double(position) * rope.frequency[pair] * (4.0 + 2.0 * double(pair));
}

Judged rope(const op::Program& program, const op::Operation& operation, const Table& x,
            const trace::TraceStep& step, const Arithmetic& arithmetic) {
  const op::Rope& turn = program.rope;
  Judged out{Table(x.rows, x.width), Table(x.rows, x.width), Table(x.rows, x.width), {}};
  const size_t head_dim = x.width / operation.heads, half = turn.dimensions / 2;
  for (uint64_t t = 0; t < x.rows; ++t) {
    const auto row = x.row(t);
    std::ranges::copy(reference::rope(row, turn, operation.heads, step.positions[t]),
                      out.want.row(t).begin());
    for (size_t i = 0; i < x.width; ++i) {
      const size_t lane = i % head_dim;
      if (lane >= turn.dimensions) continue;  // copies
      const size_t partner = turn.adjacent ? i ^ 1 : lane < half ? i + half : i - half;
      const size_t pair = turn.adjacent ? lane / 2 : lane % half;
      out.scale.row(t)[i] = std::hypot(row[i], row[partner]) * std::fabs(turn.magnitude);
      out.limit.row(t)[i] = rope_limit(turn, step.positions[t], pair, arithmetic);
    }
  }
  return out;
}

/// What f16 arithmetic adds, in u of Σ p·|V|. Queries rounded to f16 move score j by up to 2^-11 of
/// Σ|q·K|, and a sum of scores in f16 by √key_dim/2 of that; sums of values in f16 round once a key
/// (√keys of them at random), and the output once.
double f16_attention_u(const reference::Attended& head, const reference::Cache& cache,
                       uint32_t kv_head, const op::Attention& attention, uint32_t i, double scale,
                       bool f16_scores) {
  if (scale == 0) return 0;
  double by_scores = 0;
  for (size_t j = 0; j < head.score.size(); ++j) {
    const double value = cache.values[j][size_t(kv_head) * attention.value_dim + i];
    by_scores += head.probability[j] * std::fabs(value - head.output[i]) * head.magnitude[j];
  }
  const double sums = 2.0 + 4.0 * std::sqrt(double(head.score.size()));
  const double scores = 2.0 + (f16_scores ? std::sqrt(double(attention.key_dim)) / 2.0 : 0.0);
  // Sums begin at up to 2^-3 of their value (the softmax is shifted against overflow), where f16 is
  // spaced by 2^-24: 2^-22 a rounding.
  const double tiny = sums * 0x1p-22 / scale;
  return ((by_scores / scale * scores + sums) * half_ulp_f16 + tiny) / trace::unit;
}

Judged attend(const op::Program& program, const Table& queries, const Inputs& inputs,
              uint32_t layer, const Arithmetic& arithmetic) {
  const op::Attention& a = program.attention;
  const uint64_t width = uint64_t(a.heads) * a.value_dim;
  Judged out{
      Table(queries.rows, width), Table(queries.rows, width), Table(queries.rows, width), {}};
  const reference::Cache& cache = (*inputs.caches)[layer];
  in_parallel(queries.rows * a.heads, [&](uint64_t first, uint64_t last) {
    for (uint64_t item = first; item < last; ++item) {
      const uint64_t t = item / a.heads;
      const uint32_t h = uint32_t(item % a.heads), kv_head = h / (a.heads / a.kv_heads);
      const auto query = queries.row(t).subspan(size_t(h) * a.key_dim, a.key_dim);
      const reference::Attended want =
          reference::attend(query, cache, inputs.step->positions[t], kv_head, a);
      const auto limits = trace::attention_limits(want, cache, kv_head, a);
      for (uint32_t i = 0; i < a.value_dim; ++i) {
        const uint64_t column = uint64_t(h) * a.value_dim + i;
        double limit = limits[i].limit_u;
        if (!arithmetic.own) limit += foreign_ulps;
        if (arithmetic.f16_attention)
          limit +=
              f16_attention_u(want, cache, kv_head, a, i, limits[i].scale, arithmetic.f16_scores);
        out.want.row(t)[column] = want.output[i];
        out.scale.row(t)[column] = limits[i].scale;
        out.limit.row(t)[column] = limit;
      }
    }
  });
  return out;
}

Judged scale(const op::Program& program, const op::Operation& operation, const Table& x) {
  const std::vector<double> b = operation.bias == op::none
                                    ? std::vector<double>(x.width, 0.0)
                                    : reference::decode_row(program.weights[operation.bias], 0);
  Judged out{Table(x.rows, x.width), Table(x.rows, x.width), constant(trace::scale_limit), {}};
  for (uint64_t t = 0; t < x.rows; ++t)
    for (uint64_t i = 0; i < x.width; ++i) {
      const double product = x.row(t)[i] * double(operation.factor);
      out.want.row(t)[i] = product + b[i];
      out.scale.row(t)[i] = std::fabs(product) + std::fabs(b[i]);
    }
  return out;
}

}  // namespace

Arithmetic arithmetic_of(std::string_view contract, std::string_view engine, std::string_view kv) {
  const bool ggml = contract.starts_with("ggml"), own = engine.starts_with("assay");
  const bool exact = contract == "exact", reference = own && engine.ends_with(" reference");
  const bool halves = kv.empty() ? ggml || contract == "assay/1" : kv == "f16";
  return {own, ggml, contract == "ggml-cuda", halves && !exact, exact || reference};
}

Judged judge(const op::Program& program, const op::Operation& operation, const Inputs& inputs,
             const Coding& coding, const Arithmetic& arithmetic) {
  const auto x = [&](size_t i) -> const Table& { return *inputs.values[i]; };
  switch (operation.kind) {
    case op::Kind::embed:
      return embed(program, operation, inputs);
    case op::Kind::rms_norm:
      return rms_norm(program, operation, x(0), arithmetic);
    case op::Kind::matmul: {
      Product product =
          multiply(program.weights[operation.weight], program.bias_of(operation), x(0), coding);
      return {std::move(product.want), std::move(product.magnitude), constant(product.limit_u),
              std::move(product.slack)};
    }
    case op::Kind::rope:
      return rope(program, operation, x(0), *inputs.step, arithmetic);
    case op::Kind::attention:
      return attend(program, x(0), inputs, operation.layer, arithmetic);
    case op::Kind::swiglu: {
      Table want(x(0).rows, x(0).width);
      for (uint64_t t = 0; t < want.rows; ++t)
        std::ranges::copy(reference::swiglu(x(0).row(t), x(1).row(t)), want.row(t).begin());
      Judged out =
          of_rows(std::move(want), trace::swiglu_limit + (arithmetic.own ? 0 : foreign_ulps));
      if (!arithmetic.goes_on_in_f64) return out;
      // d ln silu(g) / d ln g is at most 1 + |g|; one rounding of g, one of u.
      out.limit = Table(out.want.rows, out.want.width);
      for (size_t i = 0; i < out.limit.data.size(); ++i)
        out.limit.data[i] = trace::swiglu_limit + 2 + std::fabs(x(0).data[i]);
      return out;
    }
    case op::Kind::add: {
      Table want(x(0).rows, x(0).width);
      for (uint64_t i = 0; i < want.data.size(); ++i) want.data[i] = x(0).data[i] + x(1).data[i];
      Judged out = of_rows(std::move(want), trace::add_limit);
      if (!arithmetic.goes_on_in_f64) return out;
      // a, b and y are rounded once each: 2 u of |a| + |b|.
      out.limit = constant(2 * trace::add_limit);
      for (size_t i = 0; i < out.scale.data.size(); ++i)
        out.scale.data[i] = std::fabs(x(0).data[i]) + std::fabs(x(1).data[i]);
      return out;
    }
    case op::Kind::scale:
      return scale(program, operation, x(0));
    case op::Kind::select_rows: {
      Table want(inputs.step->selected.size(), x(0).width);
      for (uint64_t i = 0; i < want.rows; ++i)
        std::ranges::copy(x(0).row(inputs.step->selected[i]), want.row(i).begin());
      return of_rows(std::move(want), trace::copy_limit);
    }
    case op::Kind::kv_store: {
      Table want(x(0).rows, x(0).width + x(1).width);
      for (uint64_t t = 0; t < want.rows; ++t)
        std::ranges::copy(x(1).row(t), std::ranges::copy(x(0).row(t), want.row(t).begin()).out);
      if (arithmetic.f16_cache)
        for (double& value : want.data) value = reference::round_to_f16(value);
      return of_rows(std::move(want), trace::copy_limit);
    }
  }
  assert(false);
  return {};
}

void Seen::add(const Seen& other) {
  if (elements == 0 ||
      trace::badness(other.max_u, other.limit_u) > trace::badness(max_u, limit_u)) {
    max_u = other.max_u;
    limit_u = other.limit_u;
    token = other.token;
    row = other.row;
  }
  elements += other.elements;
  failures += other.failures;
  ties += other.ties;
  not_finite += other.not_finite;
}

Seen compare_element(const Table& got, const Judged& judged, uint64_t token, uint64_t row) {
  const double g = got.row(token)[row], w = judged.want.row(token)[row];
  const double scale = judged.scale.row(token)[row] * trace::unit;
  const double limit = judged.limit_at(token, row);
  Seen one{1, 0, 0, std::isfinite(g) ? 0u : 1u, 0, limit, token, row};
  if (g == w) return one;
  const double error = std::fabs(g - w);
  const double beyond = limit > 0 ? error - trace::absolute_floor : error;
  one.max_u = beyond <= 0 ? 0 : beyond / scale;
  if (std::isnan(one.max_u)) one.max_u = std::numeric_limits<double>::infinity();
  if (one.max_u <= limit) return one;
  const double slack = judged.slack_at(token, row) / scale;
  if (one.max_u - slack <= limit) {
    one.ties = 1;
    one.max_u = std::max(0.0, one.max_u - slack);
  } else {
    one.failures = 1;
  }
  return one;
}

Seen compare(const Table& got, const Judged& judged) {
  Seen all;
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t i = 0; i < got.width; ++i) all.add(compare_element(got, judged, t, i));
  return all;
}

}  // namespace assay::diff
