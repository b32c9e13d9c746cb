#include "diagnose/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "diagnose/race.h"

namespace assay::diagnose {

using judge::Judged;
using judge::Seen;
using judge::Table;

bool Case::fails(uint64_t row, uint64_t column) const {
  return judge::compare_element(got(), usual, row, column).failures > 0;
}

std::span<const trace::TraceStep> Case::steps() const {
  return trace ? std::span<const trace::TraceStep>(trace->steps())
               : std::span<const trace::TraceStep>();
}

std::optional<diff::Scene> Case::scene_at(uint32_t step, size_t at) const {
  if (!trace) return std::nullopt;
  auto found = diff::scene_at(program, *trace, *side, step, at);
  if (!found || found->output.data.empty()) return std::nullopt;
  return std::move(*found);
}

Table Case::tensor(std::string_view name) const {
  const trace::TraceTensor* found = trace ? trace->find(scene.step, name) : nullptr;
  if (!found) return {};
  auto values = trace->values(*found);
  return values ? std::move(*values) : Table();
}

judge::NumberType result_of(const Case& the) {
  return the.scene.arithmetic[judge::family_of(the.operation)].result;
}

Judged judged(const Case& the, judge::Product product) {
  Judged out = judge::judged(std::move(product), &the.got());
  judge::round_results(result_of(the), &the.got(), 0, out);
  return out;
}

Judged with_limits(const Case& the, Table want) {
  Judged judged = the.usual;
  // Limits are of the new result where they were of the old one's size.
  for (uint64_t i = 0; i < want.data.size(); ++i)
    judged.scale.data[i] = std::max(judged.scale.data[i], std::fabs(want.data[i]));
  judged.want = std::move(want);
  // A coarse type's ulp is of the new result, too; how much of the old limit it was, is not known.
  const judge::NumberType type = result_of(the);
  if (!judge::is_coarse(type) || !judge::holds(type, the.got())) return judged;
  Table limit(judged.want.rows, judged.want.width);
  for (uint64_t t = 0; t < limit.rows; ++t)
    for (uint64_t i = 0; i < limit.width; ++i) {
      const double scale = judge::unit * judged.scale.row(t)[i];
      const double rounding = judge::rounding_error(std::fabs(judged.want.row(t)[i]), type);
      limit.row(t)[i] = judged.limit_at(t, i);
      if (scale > 0) limit.row(t)[i] = std::max(limit.row(t)[i], 1.01 * rounding / scale);
    }
  judged.limit = std::move(limit);
  return judged;
}

Judged scaled_by(const Case& the, const std::function<double(uint64_t token)>& factor) {
  Table want = the.usual.want;
  for (uint64_t t = 0; t < want.rows; ++t)
    for (double& y : want.row(t)) y *= factor(t);
  Judged judged = with_limits(the, std::move(want));
  // The product is rounded.
  const double rounding = std::max(1.0, judge::coarse_ulp(result_of(the)) / judge::unit);
  for (double& limit : judged.limit.data) limit += rounding;
  if (!judged.slack.data.empty())
    for (uint64_t t = 0; t < the.got().rows; ++t)
      for (double& slack : judged.slack.row(t)) slack *= std::fabs(factor(t));
  return judged;
}

Table twice(const Case& the, const Judged& without) {
  return mapped(the.usual.want, without.want, [](double y, double less) { return 2 * y - less; });
}

Judged expect_from(const Case& the, const op::Operation& altered,
                   std::span<const Table* const> given) {
  judge::Inputs inputs{{given.begin(), given.end()},
                       the.scene.tokens.view(),
                       {&the.scene.caches, 1},
                       &the.scene.output};
  return judge::expect(the.program, altered, inputs, the.scene.coding, the.scene.arithmetic);
}

Judged expect_as(const Case& the, const op::Operation& altered) {
  std::vector<const Table*> inputs;
  for (const Table& input : the.scene.inputs) inputs.push_back(&input);
  return expect_from(the, altered, inputs);
}

double distance(const Table& a, const Table& b) {
  double sum = 0;
  for (size_t i = 0; i < a.data.size(); ++i)
    sum += (a.data[i] - b.data[i]) * (a.data[i] - b.data[i]);
  return sum;
}

double least_along(double low, double high, int points, const std::function<double(double)>& of) {
  const double step = (high - low) / (points - 1);
  double best = low, least = INFINITY;
  for (int i = 0; i < points; ++i)
    if (const double d = of(low + i * step); d < least) {
      least = d;
      best = low + i * step;
    }
  double a = best - step, b = best + step;
  const double ratio = (std::sqrt(5.0) - 1) / 2;
  double c = b - ratio * (b - a), d = a + ratio * (b - a), of_c = of(c), of_d = of(d);
  for (int i = 0; i < 48; ++i)
    if (of_c < of_d) {
      b = d;
      d = std::exchange(c, d - ratio * (d - a));
      of_d = std::exchange(of_c, of(c));
    } else {
      a = c;
      c = std::exchange(d, c + ratio * (b - c));
      of_c = std::exchange(of_d, of(d));
    }
  return (a + b) / 2;
}

double rounded(double x, int digits) {
  if (x == 0 || !std::isfinite(x)) return x;
  const double size = std::pow(10.0, std::floor(std::log10(std::fabs(x))) - (digits - 1));
  return std::round(x / size) * size;
}

void try_kind(const Case& the, Contest& contest) {
  op::visit(
      the.operation,  //
      [&](const op::Matmul&) { try_matmul(the, contest); },
      [&](const op::Rope&) { try_rope(the, contest); },
      [&](const op::Attend&) { try_attention(the, contest); },
      [&](const op::RmsNorm&) { try_norm(the, contest); },
      [&](const op::LayerNorm&) { try_norm(the, contest); },
      [&](const op::Gate&) { try_activation(the, contest); },
      [&](const op::Activate&) { try_activation(the, contest); },
      [&](const op::Xielu&) { try_xielu(the, contest); },
      [&](const op::Add&) { try_add(the, contest); },
      [&](const op::Scale&) { try_scale(the, contest); },
      [&](const op::SoftCap&) { try_soft_cap(the, contest); },
      [&](const op::Clamp&) { try_clamp(the, contest); },
      [&](const op::PositionScale&) { try_position_scale(the, contest); },
      [&](const op::Embed&) { try_embed(the, contest); },
      [&](const op::KvStore&) { try_store(the, contest); },
      [&](const op::Route&) { try_route(the, contest); },
      [&](const op::MatmulExperts&) { try_experts(the, contest); },
      [&](const op::ScaleExperts&) { try_expert_scale(the, contest); },
      [&](const op::SpreadExperts&) { try_weights(the, contest); },
      [&](const op::MixExperts&) { try_weights(the, contest); }, [](const op::Slice&) {},
      [](const op::SelectRows&) {});  // they only move values
}

namespace {

Cause diagnose(Case the) {
  the.usual = diff::expect(the.program, the.scene);
  the.seen = judge::compare(the.got(), the.usual);
  Contest contest(the);
  try_kind(the, contest);
  // Whatever the kind makes zeros of, that nobody wrote them is as simple.
  if (!the.operation.is<op::Matmul>()) offer_zeros(the, contest);
  if (!contest.decided()) try_general(the, contest);
  if (!contest.decided()) try_patterns(the, contest);
  return contest.result();
}

}  // namespace

Result<Cause> diagnose(const op::Program& program, const trace::Trace& trace,
                       const diff::Side& side, uint32_t step, size_t operation) {
  auto scene = diff::scene_at(program, trace, side, step, operation);
  if (!scene) return scene.error();
  return diagnose(
      {program, program.operations[operation], &trace, &side, std::move(*scene), {}, {}});
}

Cause diagnose(const op::Program& program, diff::Scene scene) {
  const op::Operation& operation = program.operations[scene.operation];
  return diagnose({program, operation, nullptr, nullptr, std::move(scene), {}, {}});
}

Status explain(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
               diff::Report& report) {
  const auto race =
      report.alone ? Result<std::optional<Race>>(std::optional<Race>()) : find_race(a, b);
  if (!race) return race.error();
  while (report.first) {
    const bool of_a = report.first->a;
    diff::Side& side = of_a ? report.a : report.b;
    const diff::Failure failure = side.failures.front();
    const size_t index = failure.operation;
    auto cause = failure.segment.empty()
                     ? diagnose(program, of_a ? a : b, side, failure.step, index)
                     : diagnose_segment(program, of_a ? a : b, side, failure);
    if (!cause) return cause.error();
    // Two runs that differ, perhaps at a later draw of the same kernel, are a race only where no
    // fault reproduces the values. An engine that is not ours may have been changed between them:
    // there it is evidence, not the cause.
    const bool racing = *race && std::ranges::any_of(program.operations, [&](const auto& one) {
      return one.name == (*race)->operation && one.kind() == program.operations[index].kind();
    });
    if (racing && cause->id == "unknown") {
      if (side.engine.starts_with("assay"))
        *cause = (*race)->cause;
      else
        cause->evidence += "; " + (*race)->cause.evidence;
    }
    if (!cause->benign) {
      report.cause = std::move(*cause);
      diff::conclude(program, a, b, report);
      return ok();
    }
    report.benign.push_back(fmt::format("{} of {}: {} ({})", program.operations[index].name,
                                        side.engine, cause->name, cause->evidence));
    side.failures.erase(side.failures.begin());
    const bool more = std::ranges::any_of(
        side.failures, [at = index](const diff::Failure& f) { return f.operation == at; });
    if (!more) side.operations[index].verdict = diff::Verdict::pass;
    diff::conclude(program, a, b, report);
  }
  // Inside all limits: right, but not the one answer.
  if (*race && !report.first)
    report.benign.push_back(fmt::format("{} of {}: {} ({})", (*race)->operation, report.a.engine,
                                        (*race)->cause.name, (*race)->cause.evidence));
  return ok();
}

}  // namespace assay::diagnose
