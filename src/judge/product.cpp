#include "judge/product.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <thread>
#include <vector>

#include "base/wide.h"
#include "judge/formulas.h"
#include "lang/lang.h"
#include "quant/formats.h"

namespace assay::judge {

void in_parallel(uint64_t count, const std::function<void(uint64_t, uint64_t)>& function,
                 uint64_t piece) {
  thread_local bool inside = false;
  const unsigned threads = std::max(1u, std::thread::hardware_concurrency());
  if (inside || threads == 1 || count <= piece) return function(0, count);
  std::atomic<uint64_t> next{0};
  const auto work = [&] {
    inside = true;
    for (uint64_t at = next.fetch_add(piece); at < count; at = next.fetch_add(piece))
      function(at, std::min(count, at + piece));
    inside = false;
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < threads; ++i) others.emplace_back(work);
  work();
  for (std::thread& other : others) other.join();
}

namespace {

/// out[g] = Σ a·b over each group of N.
template <uint32_t N>
inline __attribute__((always_inline)) void group_dots(const int16_t* a, const int16_t* b,
                                                      uint64_t groups, int32_t* out) {
  for (uint64_t g = 0; g < groups; ++g) {
    int32_t sum = 0;
    for (uint32_t i = 0; i < N; ++i) sum += int32_t(a[g * N + i]) * int32_t(b[g * N + i]);
    out[g] = sum;
  }
}

/// `group` is 16 or 32: what all formats have.
ASSAY_WIDE void dots(const int16_t* a, const int16_t* b, uint32_t group, uint64_t groups,
                     int32_t* out) {
  if (group == 32) return group_dots<32>(a, b, groups, out);
  group_dots<16>(a, b, groups, out);
}

// Four lanes: compilers make no good code of loops over arrays of lanes, nor of wider vectors.
using Lanes = double __attribute__((vector_size(32)));
using Bits = uint64_t __attribute__((vector_size(32)));

/// Σ w·x and, unless `size` is null, Σ |w·x|, in eight lanes.
ASSAY_WIDE void float_dot(const double* w, const double* x, uint64_t n, double* sum, double* size) {
  Lanes s[2] = {}, m[2] = {};
  uint64_t i = 0;
  for (; i + 8 <= n; i += 8)
    for (int half = 0; half < 2; ++half) {
      Lanes a, b;
      std::memcpy(&a, w + i + 4 * half, sizeof a);
      std::memcpy(&b, x + i + 4 * half, sizeof b);
      const Lanes product = a * b;
      s[half] += product;
      if (size) m[half] += Lanes(Bits(product) & ~Bits{} >> 1);
    }
  for (; i < n; ++i) {
    s[0][0] += w[i] * x[i];
    m[0][0] += std::fabs(w[i] * x[i]);
  }
  const auto added = [](const Lanes* lanes) {
    double all = 0;
    for (int lane = 0; lane < 8; ++lane) all += lanes[lane / 4][lane % 4];
    return all;
  };
  *sum = added(s);
  if (size) *size = added(m);
}

/// The distance of f16 numbers of x's magnitude.
double f16_spacing(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - 11, -24));
}

template <class F>
void read_row(const uint8_t* bytes, uint64_t columns, bool offset_meets_sums, WeightRow& out) {
  constexpr uint32_t group = F::group_size;
  out.code.resize(columns);
  out.scale.resize(columns / group);
  out.minimum.assign(columns / group, 0.0);
  const int32_t offset = offset_meets_sums ? 0 : F::code_offset;
  for (uint64_t first = 0; first < columns; first += F::block_size) {
    const uint8_t* block = bytes + first / F::block_size * F::block_bytes;
    for (uint32_t g = 0; g < F::block_size / group; ++g) {
      const uint64_t at = first / group + g;
      out.scale[at] = double(F::scale(block, g));
      if constexpr (F::has_minimum) out.minimum[at] = double(F::minimum(block, g));
      if (offset_meets_sums) out.minimum[at] -= double(F::code_offset) * out.scale[at];
    }
    for (uint32_t i = 0; i < F::block_size; ++i)
      out.code[first + i] =
          int16_t(quant::value_of<F>(F::code(block, i)) + F::code_offset - offset);
  }
}

struct Cell {
  double want = 0, magnitude = 0, slack = 0;
};

/// What the ties of a row of codes could add to a product.
double slack_of(const WeightRow& w, const CodedRow& x, const Coding& coding, uint32_t group,
                std::span<const int32_t> dot) {
  double slack = 0;
  for (const Tie& tie : x.ties)
    slack += std::fabs(x.scale[tie.column / coding.block]) *
             (std::fabs(w.scale[tie.column / group] * w.code[tie.column]) +
              std::fabs(w.minimum[tie.column / group]));
  // A product that is rounded to f16 can step by a whole ulp of its own.
  const auto step_of = [&](double factor, double step, double whole) {
    if (step == 0) return 0.0;
    return std::fabs(factor) * step + (coding.products_are_f16 ? f16_spacing(factor * whole) : 0.0);
  };
  for (uint64_t g = 0; g < w.scale.size(); ++g) {
    const uint64_t block = g * group / coding.block;
    const double by_scale = step_of(w.scale[g], x.scale_tie[block], x.scale[block]);
    if (by_scale != 0) slack += by_scale * std::abs(dot[g]);
    slack += step_of(w.minimum[g], x.sum_tie[g], x.sum[g]);
  }
  return slack;
}

/// One row of weights on one row of codes, whose scale is given for each group; `only`: no magnitude, no
/// slack.
Cell meet(const WeightRow& w, std::span<const int16_t> w_size, const CodedRow& x,
          std::span<const double> x_scale, std::span<const int16_t> x_size, const Coding& coding,
          uint32_t group, bool only) {
  Cell cell;
  const uint64_t groups = w.scale.size();
  thread_local std::vector<int32_t> dot, absolute;
  dot.resize(groups);
  dots(w.code.data(), x.code.data(), group, groups, dot.data());
  if (!only) {
    absolute.resize(groups);
    dots(w_size.data(), x_size.data(), group, groups, absolute.data());
  }
  const auto add_up = [&](const auto& kept) {
    double want = 0, magnitude = 0;  // in registers
    for (uint64_t g = 0; g < groups; ++g) {
      const double product = kept(w.scale[g] * x_scale[g]), least = kept(w.minimum[g] * x.sum[g]);
      want += product * dot[g] + least;
      if (!only) magnitude += std::fabs(product) * absolute[g] + std::fabs(least);
    }
    cell.want = want;
    cell.magnitude = magnitude;
  };
  if (coding.products_are_f16)
    add_up(round_to_f16);
  else
    add_up(std::identity());
  if (!only && x.tied) cell.slack = slack_of(w, x, coding, group, dot);
  return cell;
}

std::vector<int16_t> sizes_of(const std::vector<int16_t>& codes) {
  std::vector<int16_t> sizes(codes.size());
  std::ranges::transform(codes, sizes.begin(),
                         [](int16_t code) { return int16_t(std::abs(code)); });
  return sizes;
}

uint32_t group_of(uint32_t type) {
  uint32_t group = 1;
  quant::visit(type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) group = F::group_size;
  });
  return group;
}

void multiply_integers(const op::Weight& weight, const RowSource& source, const Table& x,
                       const Coding& coding, bool only, Product& out) {
  const uint32_t group = group_of(weight.type);
  std::vector<CodedRow> rows(x.rows);
  std::vector<std::vector<double>> scales(x.rows);  // of each group
  std::vector<std::vector<int16_t>> sizes(x.rows);
  in_parallel(
      x.rows,
      [&](uint64_t first, uint64_t last) {
        for (uint64_t t = first; t < last; ++t) {
          rows[t] = code_row(x.row(t), coding, group);
          for (uint64_t c = 0; c < x.width; c += group)
            scales[t].push_back(rows[t].scale[c / coding.block]);
          if (!only) sizes[t] = sizes_of(rows[t].code);
        }
      },
      4);
  const bool ties = std::ranges::any_of(rows, &CodedRow::tied);
  if (ties && !only) out.slack = Table(x.rows, weight.rows);
  in_parallel(weight.rows, [&](uint64_t first, uint64_t last) {
    WeightRow w;
    for (uint64_t r = first; r < last; ++r) {
      source(r, w);
      const std::vector<int16_t> w_size = only ? std::vector<int16_t>() : sizes_of(w.code);
      for (uint64_t t = 0; t < x.rows; ++t) {
        const Cell cell = meet(w, w_size, rows[t], scales[t], sizes[t], coding, group, only);
        out.want.row(t)[r] = cell.want;
        if (only) continue;
        out.magnitude.row(t)[r] = cell.magnitude;
        if (ties) out.slack.row(t)[r] = cell.slack;
      }
    }
  });
  out.limit_u = quantised_matmul_limit(weight.columns, chain_steps(weight.type));
}

/// Σ |w|·slack.
double slack_of(std::span<const double> w, std::span<const double> slack) {
  double sum = 0;
  for (size_t c = 0; c < w.size(); ++c) sum += std::fabs(w[c]) * slack[c];
  return sum;
}

/// The standard deviation of what the roundings of products and of sums in order give, each evenly
/// between plus and minus half an ulp. A partial sum of k of n terms of random signs has the square
/// k/n·Σ p², and where the sum drifts to S, (k/n)²·S² beside; added up over k, n/2·Σ p² and n/3·S².
/// No number, so infinite, where terms are so small beside the sum that they are lost in it: then
/// errors are no random walk.
double deviation_of(std::span<const double> w, std::span<const double> x, double sum, double size,
                    const Coding& coding) {
  double squares = 0;
  for (size_t c = 0; c < w.size(); ++c) squares += w[c] * w[c] * x[c] * x[c];
  const double n = double(w.size()), of_sums = half_ulp(coding.accumulated);
  if (of_sums * std::max(std::fabs(sum), std::sqrt(squares)) > size / n)
    return std::numeric_limits<double>::infinity();
  const double of_products = half_ulp(coding.products);
  return std::sqrt((of_products * of_products * squares +
                    of_sums * of_sums * (n / 2 * squares + n / 3 * sum * sum)) /
                   3);
}

/// In u of Σ |w·x|: each product's rounding, and the sums' in the worst order.
double coarse_sums_limit(uint64_t columns, const Coding& coding) {
  const double products = is_coarse(coding.products) ? half_ulp(coding.products) : 0;
  const double sums = is_coarse(coding.accumulated)
                          ? std::pow(1 + half_ulp(coding.accumulated), double(columns)) - 1
                          : 0;
  return ((1 + products) * (1 + sums) - 1) / unit;
}

void multiply_floats(const op::Weight& weight, const Table& given, const Coding& coding, bool only,
                     Product& out) {
  const Decoded x = decoded(given, coding);
  const bool slack = !only && !x.slack.data.empty();
  const bool deviates = !only && coding.has_coarse_sums();
  // The smallest numbers of a type have a fixed step.
  const double least =
      double(weight.columns) * (least_error(coding.products) + least_error(coding.accumulated));
  if (slack || (deviates && least > 0)) out.slack = Table(given.rows, weight.rows);
  if (deviates) out.deviation = Table(given.rows, weight.rows);
  in_parallel(weight.rows, [&](uint64_t first, uint64_t last) {
    for (uint64_t r = first; r < last; ++r) {
      std::vector<double> w = decode_row(weight, r);
      if (is_coarse(coding.weights))
        for (double& value : w)
          value = coding.cut ? cut_to(value, coding.weights) : round_to(value, coding.weights);
      for (uint64_t t = 0; t < given.rows; ++t) {
        double size = 0, sum = 0;
        float_dot(w.data(), x.values.row(t).data(), weight.columns, &sum, only ? nullptr : &size);
        out.want.row(t)[r] = sum;
        if (only) continue;
        out.magnitude.row(t)[r] = size;
        if (deviates && least > 0) out.slack.row(t)[r] = least;
        if (slack) out.slack.row(t)[r] += slack_of(w, x.slack.row(t));
        if (deviates) out.deviation.row(t)[r] = deviation_of(w, x.values.row(t), sum, size, coding);
      }
    }
  });
  out.limit_u =
      float_matmul_limit(weight.columns, false) + coarse_sums_limit(weight.columns, coding);
}

void add_bias(const op::Weight* bias, Product& out) {
  if (!bias) return;
  const std::vector<double> b = decode_row(*bias, 0);
  for (uint64_t t = 0; t < out.want.rows; ++t)
    for (uint64_t r = 0; r < out.want.width; ++r) {
      out.want.row(t)[r] += b[r];
      if (!out.magnitude.data.empty()) out.magnitude.row(t)[r] += std::fabs(b[r]);
    }
  out.limit_u += 1;
}

Product multiply(const op::Weight& weight, const op::Weight* bias, const Table& x,
                 const Coding& coding, bool only) {
  Product out{Table(x.rows, weight.rows), only ? Table() : Table(x.rows, weight.rows), {}, 0, {}};
  const auto source = [&](uint64_t r, WeightRow& row) { read_weight_row(weight, r, coding, row); };
  if (coding.meets_codes())
    multiply_integers(weight, source, x, coding, only, out);
  else
    multiply_floats(weight, x, coding, only, out);
  add_bias(bias, out);
  return out;
}

}  // namespace

void read_weight_row(const op::Weight& weight, uint64_t r, const Coding& coding, WeightRow& row) {
  quant::visit(weight.type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>)
      read_row<F>(weight.row(r).data(), weight.columns, coding.offset_meets_sums, row);
  });
}

Product multiply_rows(const op::Weight& weight, const RowSource& source, const op::Weight* bias,
                      const Table& x, const Coding& coding) {
  Product out{Table(x.rows, weight.rows), Table(x.rows, weight.rows), {}, 0, {}};
  multiply_integers(weight, source, x, coding, false, out);
  add_bias(bias, out);
  return out;
}

Product multiply(const op::Weight& weight, const op::Weight* bias, const Table& x,
                 const Coding& coding) {
  return multiply(weight, bias, x, coding, false);
}

Table multiply_only(const op::Weight& weight, const op::Weight* bias, const Table& x,
                    const Coding& coding) {
  return multiply(weight, bias, x, coding, true).want;
}

}  // namespace assay::judge
