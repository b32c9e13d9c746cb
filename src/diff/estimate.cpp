#include "diff/estimate.h"

#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/mix64.h"
#include "judge/product.h"
#include "op/kinds.h"

namespace assay::diff {

using judge::Family, judge::Judged, judge::Table;

namespace {

constexpr uint64_t number_of_moved_runs = 16;
/// Bounds are for errors that all add up. Those of correct engines reach a tenth of them (a fifth in
/// the worst of some 10^6 elements), so that a quarter is generous.
constexpr double share_of_bound = 0.25;
/// How many times their root mean square the runs may be off.
constexpr double reach = 8;
/// The same beside what tipped over.
constexpr double beside_tips = 2;
/// Runs in which each value of a coarse type lies at one end of where it is rounded from, in pairs of
/// both ends: what one value does that falls to the other neighbour, sixteen runs may never show.
constexpr uint64_t number_of_tipped_runs = 4;
/// Those ends, in root mean squares of the moved runs; no farther than a neighbour.
constexpr double tip = 6;

/// In [-1, 1), by the place alone.
double at_random(uint64_t key, uint64_t i) {
  return double(mix64(key ^ mix64(i)) >> 11) * 0x1p-52 - 1;
}

/// Which end of a value a tipped run has: 1 the larger, -1 the smaller one. Runs 1 and 2 have opposite
/// ends, and so have 3 and 4. Two operations, one after the other, have the same end in the first two,
/// and opposite ends in the others.
double end_of(uint64_t run, uint64_t operation, uint64_t i) {
  const bool turned = (run % 2 == 0) != (run > 2 && operation % 2 == 1);
  return (at_random(0, i) > 0) == turned ? -1 : 1;
}

/// The judge's own run, the moved ones, and where a type is coarse the tipped ones.
uint64_t number_of_runs(const judge::Arithmetic& arithmetic, bool moved_runs) {
  const bool coarse = std::ranges::any_of(
      judge::families, [&](Family family) { return judge::is_coarse(arithmetic[family].result); });
  if (!moved_runs) return 1;
  return 1 + number_of_moved_runs + (coarse ? number_of_tipped_runs : 0);
}

double median(std::vector<double> numbers) {
  const auto middle = numbers.begin() + std::ptrdiff_t(numbers.size() / 2);
  std::ranges::nth_element(numbers, middle);
  return *middle;
}

}  // namespace

Estimate::Estimate(const op::Program& program, const judge::Arithmetic& arithmetic,
                   Lockstep::CodingOf coding_of, bool moved_runs)
    : program_(program),
      arithmetic_(arithmetic),
      runs_(program, arithmetic, std::move(coding_of), number_of_runs(arithmetic, moved_runs)),
      computed_cache_(program.caches.size(), false) {}

void Estimate::begin(const trace::TraceStep& step) {
  runs_.begin(step);
  computed_.assign(program_.values.size(), false);
  ++steps_;
}

void Estimate::know(uint32_t value, const Table& recorded) {
  runs_.give(value, recorded);
  computed_[value] = false;
}

bool Estimate::reads_computed(const op::Operation& operation) const {
  return reads_any(operation, computed_, computed_cache_);
}

Table Estimate::compute(size_t index, const Judged& judged) {
  const op::Operation& operation = program_.operations[index];
  if (reads_computed(operation))
    runs_.put(operation.output, runs_.compute(index));
  else
    runs_.give(operation.output, judged.want);
  return move(index, judged);
}

Table Estimate::replace(size_t index, const Judged& judged, const op::Program& altered) {
  const op::Operation& operation = program_.operations[index];
  // Other ids are the same in all runs.
  if (!reads_computed(operation) || operation.is<op::Route>()) {
    runs_.give(operation.output, judged.want);
    return move(index, judged);
  }
  runs_.follow(altered);
  Table all = runs_.compute(index);
  runs_.follow(program_);
  const size_t size = judged.want.data.size();
  for (size_t i = all.data.size(); i-- > 0;) {
    const double moved = all.data[i] + judged.want.data[i % size] - all.data[i % size];
    all.data[i] = std::isfinite(moved) ? moved : judged.want.data[i % size];
  }
  runs_.put(operation.output, std::move(all));
  return move(index, judged);
}

/// The operation's output is in all runs: what it may be off is added. Returns the first run's.
Table Estimate::move(size_t index, const Judged& judged) {
  const op::Operation& operation = program_.operations[index];
  const uint32_t value = operation.output;
  const bool moves = op::row_of(operation).moves;
  const judge::NumberType result = arithmetic_[judge::family_of(operation)].result;
  const auto kept = [result](double y) {
    return judge::is_coarse(result) ? judge::round_to(y, result) : double(float(y));
  };
  computed_[value] = reads_computed(operation) || !moves;
  if (moves) return judged.want;
  // As the engine keeps it: f32's own rounding is left to the moved runs.
  Table own = judged.want, all = runs_.at(value);
  if (judge::is_coarse(result))
    for (double& y : own.data) y = kept(y);
  const auto set_own = [&](uint64_t run) {
    std::ranges::copy(own.data, all.data.begin() + std::ptrdiff_t(run * own.data.size()));
  };
  set_own(0);
  const bool routes = operation.is<op::Route>();
  const bool tips = judge::is_coarse(result) && !routes;
  // What is chosen by values that were tipped is no nearer to a tie.
  for (uint64_t run = 1 + number_of_moved_runs; routes && run < runs_.runs(); ++run) set_own(run);
  // The ids of a routing are exact.
  const uint64_t exact = routes ? own.width / 2 : 0;
  const uint64_t key = mix64(mix64(steps_) ^ index);
  for (uint64_t row = 0; row < own.rows; ++row)
    for (uint64_t column = exact; column < own.width; ++column) {
      const double bound =
          judged.limit_at(row, column) * judge::unit * judged.scale.row(row)[column] +
          judged.slack_at(row, column);
      if (!std::isfinite(bound)) continue;
      const uint64_t size = own.data.size(), first = row * own.width + column;
      const double want = judged.want.data[first];
      double squares = 0;
      for (uint64_t run = 1; run < runs_.runs(); ++run) {
        const uint64_t i = run * size + first;
        if (run <= number_of_moved_runs) {
          const double moved = all.data[i] + share_of_bound * bound * at_random(key, i);
          squares += (moved - want) * (moved - want);
          all.data[i] = kept(moved);
        } else if (tips) {
          const double away = std::min(tip * std::sqrt(squares / double(number_of_moved_runs)),
                                       2 * judge::half_ulp(result) * std::fabs(want));
          const double end = end_of(run - number_of_moved_runs, index, first);
          all.data[i] = kept(all.data[i] + end * std::copysign(away, want));
        }
      }
    }
  runs_.put(value, std::move(all));
  return own;
}

Table Estimate::spread(size_t index) const {
  if (runs_.runs() == 1) return {};
  const Table own = runs_.compute(index, 0);
  Table squares(own.rows, own.width), most = squares, tipped = squares;
  std::mutex adding;
  judge::in_parallel(
      runs_.runs() - 1,
      [&](uint64_t first, uint64_t last) {
        for (; first < last; ++first) {
          const Table moved = runs_.compute(index, 1 + first);
          const bool is_tipped = first >= number_of_moved_runs;
          const std::lock_guard lock(adding);
          for (size_t i = 0; i < own.data.size(); ++i) {
            const double away = std::fabs(moved.data[i] - own.data[i]);
            if (!is_tipped) squares.data[i] += away * away;
            double& farthest = is_tipped ? tipped.data[i] : most.data[i];
            farthest = std::max(farthest, away);
          }
        }
      },
      1);
  Table out(own.rows, own.width);
  for (uint64_t t = 0; t < out.rows; ++t) {
    for (uint64_t i = 0; i < out.width; ++i)
      out.row(t)[i] = std::max(std::sqrt(squares.row(t)[i] / double(number_of_moved_runs)),
                               most.row(t)[i] * 2 / reach);
    // Sixteen runs may happen to lie close together in one element, but not in half of a row.
    const double usual = median({out.row(t).begin(), out.row(t).end()});
    for (uint64_t i = 0; i < out.width; ++i) {
      double& away = out.row(t)[i];
      away = std::isfinite(away) ? std::max(away, usual) : 0;
      const double tips = std::isfinite(tipped.row(t)[i]) ? tipped.row(t)[i] : 0;
      away = std::max(reach * away, tips + beside_tips * away);
    }
  }
  return out;
}

void Estimate::store(size_t index) {
  const op::Operation& operation = program_.operations[index];
  computed_cache_[operation.as<op::KvStore>()->cache] =
      computed_cache_[operation.as<op::KvStore>()->cache] || reads_computed(operation);
  runs_.store(index);
}

void Estimate::store(size_t index, const Table& recorded) {
  runs_.store(index, recorded);
}

}  // namespace assay::diff
