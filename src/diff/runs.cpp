#include "diff/runs.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/mix64.h"
#include "judge/product.h"
#include "op/kinds.h"

namespace assay::diff {

Runs::Runs(const op::Program& program, const Side& side, std::span<const int32_t> tokens,
           std::vector<uint32_t> selected, uint64_t runs, Alter alter)
    : program_(program),
      side_(side),
      runs_(runs),
      alter_(std::move(alter)),
      values_(program.values.size()),
      caches_(runs, Caches(program.caches.size())) {
  step_.tokens.assign(tokens.begin(), tokens.end());
  for (uint32_t t = 0; t < tokens.size(); ++t) step_.positions.push_back(t);
  step_.selected = std::move(selected);
}

const Table& Runs::run(size_t index) {
  const op::Operation& operation = program_.operations[index];
  if (operation.is<op::KvStore>()) {
    for (uint64_t run = 0; run < runs_; ++run) store(operation, run);
    return nothing_;
  }
  Table& out = values_[operation.output];
  const judge::Coding& coding = side_.operations[index].coding;
  out = operation.is<op::Matmul>()
            ? judge::multiply_only(program_.weights[operation.weight], program_.bias_of(operation),
                                   values_[operation.inputs[0]], coding)
            : by_run(operation, coding);
  alter_(index, out);
  return out;
}

Table Runs::run_all() {
  const std::vector<size_t> last_use = op::last_uses(program_);
  for (size_t i = 0; i < program_.operations.size(); ++i) {
    run(i);
    for (const uint32_t value : program_.operations[i].inputs)
      if (last_use[value] == i) forget(value);
  }
  return std::move(values_[program_.operations.back().output]);
}

/// The rows of one run.
Table Runs::part(uint32_t value, uint64_t run) const {
  const Table& all = values_[value];
  Table out(all.rows / runs_, all.width);
  std::copy_n(all.data.begin() + std::ptrdiff_t(run * out.data.size()), out.data.size(),
              out.data.begin());
  return out;
}

Table Runs::by_run(const op::Operation& operation, const judge::Coding& coding) const {
  const op::Value& value = program_.values[operation.output];
  const uint64_t rows = value.selected ? step_.selected.size() : step_.tokens.size();
  Table out(runs_ * rows, value.width);
  const auto one_run = [&](uint64_t run) {
    std::vector<Table> parts;
    for (const uint32_t input : operation.inputs) parts.push_back(part(input, run));
    Inputs inputs{{}, step_.view(), {&caches_[run], 1}};
    for (const Table& table : parts) inputs.values.push_back(&table);
    const Table one = expect(program_, operation, inputs, coding, side_.arithmetic).want;
    std::ranges::copy(one.data, out.data.begin() + std::ptrdiff_t(run * one.data.size()));
  };
  judge::in_parallel(
      runs_,
      [&](uint64_t first, uint64_t last) {
        for (; first < last; ++first) one_run(first);
      },
      1);
  return out;
}

void Runs::store(const op::Operation& operation, uint64_t run) {
  const Table keys = part(operation.inputs[0], run), values = part(operation.inputs[1], run);
  const Inputs inputs{{&keys, &values}, step_.view()};
  const Table both = expect(program_, operation, inputs, {}, side_.arithmetic).want;
  for (uint32_t t = 0; t < step_.tokens.size(); ++t)
    caches_[run][operation.as<op::KvStore>()->cache].store(t, both.row(t).first(keys.width),
                                                           both.row(t).subspan(keys.width));
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
