// A failure that closes a segment: which of its operations is wrong, and why.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "diagnose/diagnose.h"
#include "diff/segment.h"

namespace assay::diagnose {

using diff::Segment;
using judge::Table;

namespace {

/// The factor of an operation's output that brings the recorded one nearest: by secants, as what
/// follows is not linear. NaN where there is none.
double fitted_factor(const Segment& segment, size_t operation, const Table& output) {
  const Table& got = segment.closing().output;
  const auto distance = [&](double factor, Table& at) {
    at = segment.carry(operation, mapped(output, [&](double y) { return factor * y; }));
    double sum = 0;
    for (size_t i = 0; i < at.data.size(); ++i)
      sum += (at.data[i] - got.data[i]) * (at.data[i] - got.data[i]);
    return sum;
  };
  double factor = 1, least = NAN;
  for (int round = 0; round < 6; ++round) {
    Table here, beside;
    const double step = 1e-3 * std::max(std::fabs(factor), 1e-3);
    const double distant = distance(factor, here);
    distance(factor + step, beside);
    if (round > 0 && !(distant < least)) break;
    least = distant;
    double along = 0, square = 0;
    for (size_t i = 0; i < here.data.size(); ++i) {
      const double slope = (beside.data[i] - here.data[i]) / step;
      along += slope * (got.data[i] - here.data[i]);
      square += slope * slope;
    }
    if (!(square > 0)) return NAN;
    factor += along / square;
  }
  return factor;
}

void try_factor(const Segment& segment, const Case& the, Contest& contest) {
  const double factor = fitted_factor(segment, the.scene.operation, the.got());
  if (!(std::fabs(factor - 1) > 1e-6)) return;
  contest.offer_rounded(factor, [&](double by) {
    return std::pair(Cause{"scaled", "the result is scaled", fmt::format("by {:.4g}", by)},
                     with_limits(the, mapped(the.usual.want, [&](double y) { return by * y; })));
  });
}

}  // namespace

Result<Cause> diagnose_segment(const op::Program& program, const trace::Trace& trace,
                               const diff::Side& side, const diff::Failure& failure) {
  const auto segment = Segment::open(program, trace, side, failure);
  if (!segment) return segment.error();
  std::vector<size_t> operations = segment->operations();
  operations.push_back(failure.operation);
  std::optional<Cause> best;
  uint64_t left = UINT64_MAX;
  for (const size_t index : operations) {
    const op::Operation& operation = program.operations[index];
    const bool closes = index == failure.operation;
    Case the{program, operation, &trace, &side, closes ? segment->closing() : segment->scene(index),
             {},      {}};
    the.usual = diff::expect(program, the.scene);
    the.seen = judge::compare(the.got(), the.usual);
    const Contest::Carry carry{[&](const Table& want) { return segment->compare(index, want); },
                               failure.seen.failures};
    Contest contest(the, carry);
    try_kind(the, contest);
    if (!contest.decided() && !closes) try_factor(*segment, the, contest);
    if (!contest.decided() || contest.left() >= left) continue;
    left = contest.left();
    best = contest.result();
    best->operation = operation.name;
  }
  if (best) return *best;
  return Cause{"unknown", "cause unknown",
               "no hypothesis about an operation of the segment reproduces the engine's values"};
}

}  // namespace assay::diagnose
