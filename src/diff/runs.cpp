#include "diff/runs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/mix64.h"
#include "op/kinds.h"

namespace assay::diff {

Runs::Runs(const op::Program& program, const Side& side, std::span<const int32_t> tokens,
           std::vector<uint32_t> selected, uint64_t runs, Alter alter)
    : program_(program),
      runs_(
          program, side.arithmetic,
          [&side](size_t operation) { return side.operations[operation].coding; }, runs),
      alter_(std::move(alter)) {
  trace::TraceStep step;
  step.tokens.assign(tokens.begin(), tokens.end());
  for (uint32_t t = 0; t < tokens.size(); ++t) step.positions.push_back(t);
  step.selected = std::move(selected);
  runs_.begin(step);
}

const Table& Runs::run(size_t index) {
  const op::Operation& operation = program_.operations[index];
  if (operation.is<op::KvStore>()) {
    runs_.store(index);
    return nothing_;
  }
  Table out = runs_.compute(index);
  alter_(index, out);
  runs_.put(operation.output, std::move(out));
  return runs_.at(operation.output);
}

Table Runs::run_all() {
  const std::vector<size_t> last_use = op::last_uses(program_);
  for (size_t i = 0; i < program_.operations.size(); ++i) {
    run(i);
    for (const uint32_t value : program_.operations[i].inputs)
      if (last_use[value] == i) forget(value);
  }
  return runs_.at(program_.operations.back().output);
}

/// A number that depends on nothing but x.
static uint64_t mix(uint64_t x) {
  return splitmix64(x);
}

/// The nearest number of so many significant bits, ties to even.
static double rounded(double x, int bits) {
  if (bits == 24) return double(float(x));
  int exponent = 0;
  const double mantissa = std::frexp(x, &exponent);
  return std::ldexp(std::nearbyint(std::ldexp(mantissa, bits)), exponent - bits);
}

Runs correct(const op::Program& program, const Side& side, std::span<const int32_t> tokens,
             uint64_t runs, uint64_t seed, int bits) {
  std::vector<uint32_t> all(tokens.size());
  std::iota(all.begin(), all.end(), 0u);
  const auto perturb = [&program, &side, seed, bits](size_t index, Table& out) {
    const op::Operation& operation = program.operations[index];
    if (operation.is<op::Embed>() || op::row_of(operation).moves) {
      if (bits < 24)
        for (double& x : out.data) x = rounded(x, bits);
      return;
    }
    // The ids of a routing are exact.
    const uint64_t exact = operation.is<op::Route>() ? out.width / 2 : 0;
    const judge::Roundings& r = side.arithmetic[judge::family_of(operation)];
    // Attention whose sums are coarse is off by about half of their ulp.
    const double step = std::max(judge::coarse_ulp(r.sums) / 2, std::ldexp(1.0, -bits));
    const uint64_t key = mix(mix(seed) ^ mix(index));
    for (uint64_t i = 0; i < out.data.size(); ++i) {
      if (i % out.width < exact) continue;
      const double direction = double(mix(key ^ i) % 3) - 1.0;
      const double moved = rounded(out.data[i] * (1.0 + step * direction), bits);
      out.data[i] = judge::is_coarse(r.result) ? judge::round_to(moved, r.result) : moved;
    }
  };
  return Runs(program, side, tokens, std::move(all), runs, perturb);
}

}  // namespace assay::diff
