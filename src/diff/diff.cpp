#include "diff/diff.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace assay::diff {

using trace::Trace;

namespace {

/// Where one list is the other with tokens before or after it; empty otherwise.
std::string what_was_added(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
  const bool b_lacks = a.size() > b.size();
  const auto& more = b_lacks ? a : b;
  const auto& less = b_lacks ? b : a;
  if (less.empty() || more.size() != less.size() + 1) return "";
  const char* side = b_lacks ? "a" : "b";
  if (std::equal(less.begin(), less.end(), more.begin() + 1)) {
    if (more[0] == more[1])
      return fmt::format("; {} doubles its first token {} (BOS twice?)", side, more[0]);
    return fmt::format("; {} begins with {} more (BOS missing on the other side?)", side, more[0]);
  }
  if (std::equal(less.begin(), less.end(), more.begin()))
    return fmt::format("; {} ends with {} more (EOS appended?)", side, more.back());
  return "";
}

/// What must be equal before anything is compared.
Status check_inputs(const Trace& a, const Trace& b, bool other_weights) {
  const auto ta = all_tokens(a), tb = all_tokens(b);
  if (ta != tb) {
    const auto at = std::ranges::mismatch(ta, tb).in1 - ta.begin();
    const auto shown = [](const std::vector<int32_t>& tokens) {
      const size_t count = std::min<size_t>(tokens.size(), 32);
      return fmt::format("[{}{}]",
                         fmt::join(tokens.begin(), tokens.begin() + std::ptrdiff_t(count), ","),
                         count < tokens.size() ? ",…" : "");
    };
    return Error{
        fmt::format("the tokens differ from index {} on: {} has {} and {} has {}{}; nothing "
                    "else can be compared",
                    at, a.path(), shown(ta), b.path(), shown(tb), what_was_added(ta, tb))};
  }
  const std::string ha = a.metadata("model_sha256"), hb = b.metadata("model_sha256");
  if (!other_weights && !ha.empty() && !hb.empty() && ha != hb)
    return Error{
        fmt::format("the weights differ: {} was made with a model of SHA-256 {:.12}… and {} "
                    "with {:.12}…",
                    a.path(), ha, b.path(), hb)};
  return ok();
}

}  // namespace

std::vector<int32_t> all_tokens(const Trace& trace) {
  std::vector<int32_t> tokens;
  for (const auto& step : trace.steps())
    tokens.insert(tokens.end(), step.tokens.begin(), step.tokens.end());
  return tokens;
}

Result<Rows> rows_of(const op::Program& program, const Trace& trace,
                     const op::Operation& operation) {
  Rows rows;
  uint64_t before = 0;
  for (uint32_t number = 0; number < trace.steps().size(); ++number) {
    const auto& step = trace.steps()[number];
    if (const auto* tensor = trace.find(number, operation.name)) {
      const auto values = trace.values(*tensor);
      if (!values) return values.error();
      const bool selected = program.values[operation.output].selected;
      for (uint64_t r = 0; r < values->rows; ++r) {
        const uint64_t token = before + (selected ? step.selected[r] : r);
        rows[token].assign(values->row(r).begin(), values->row(r).end());
      }
    }
    before += step.tokens.size();
  }
  return rows;
}

namespace {

/// Over the tokens below `limit`.
double difference(const Rows& a, const Rows& b, uint64_t limit = UINT64_MAX) {
  double error = 0, size = 0;
  bool any = false;
  for (const auto& [token, row] : a) {
    const auto other = b.find(token);
    if (other == b.end() || token >= limit) continue;
    any = true;
    for (size_t i = 0; i < row.size(); ++i) {
      const double d = row[i] - other->second[i];
      error += d * d;
      size += other->second[i] * other->second[i];
    }
  }
  if (!any) return -1;
  return error == 0 ? 0 : std::sqrt(error / size);
}

/// max|δ| of the centred logits below half the gap between b's two best: a's best is the same.
bool certified(const std::vector<double>& a, const std::vector<double>& b) {
  double mean = 0, largest = 0, first = -INFINITY, second = -INFINITY;
  for (size_t i = 0; i < a.size(); ++i) mean += (a[i] - b[i]) / double(a.size());
  for (size_t i = 0; i < a.size(); ++i) {
    largest = std::max(largest, std::fabs(a[i] - b[i] - mean));
    if (b[i] > first)
      second = std::exchange(first, b[i]);
    else if (b[i] > second)
      second = b[i];
  }
  return largest < (first - second) / 2;
}

LogitsComparison compare_logits(const Rows& a, const Rows& b, uint64_t limit = UINT64_MAX) {
  LogitsComparison out;
  for (const auto& [token, row] : a) {
    const auto other = b.find(token);
    if (other == b.end() || token >= limit) continue;
    const auto best = [](const std::vector<double>& x) {
      return std::ranges::max_element(x) - x.begin();
    };
    const double kl = divergence(row, other->second, log_sum(row), log_sum(other->second));
    ++out.positions;
    out.top1_equal += best(row) == best(other->second);
    out.certified += certified(row, other->second);
    out.kl_mean += kl;
    out.kl.push_back(kl);
    out.kl_max = std::isnan(kl) ? kl : std::max(out.kl_max, kl);
  }
  if (out.positions) out.kl_mean /= double(out.positions);
  return out;
}

/// The earliest failure in execution order of both sides. Sides may cut the prompt differently, so
/// order is by token, then by operation.
std::optional<First> earliest(const op::Program& program, const Trace& ta, const Side& a,
                              const Trace& tb, const Side& b) {
  if (a.failures.empty() && b.failures.empty()) return std::nullopt;
  const auto place = [](const Trace& trace, const Side& side) {
    uint64_t tokens = 0;
    for (uint32_t s = 0; s < side.failures[0].step; ++s) tokens += trace.steps()[s].tokens.size();
    return std::pair<uint64_t, size_t>(tokens, side.failures[0].operation);
  };
  const bool a_first = !a.failures.empty() && (b.failures.empty() || place(ta, a) <= place(tb, b));
  const Failure& failure = a_first ? a.failures[0] : b.failures[0];
  const op::Operation& operation = program.operations[failure.operation];
  const bool of_both =
      a_first && !b.failures.empty() && b.failures[0].operation == failure.operation;
  return First{operation.name, operation.layer, failure.step,
               failure.seen,   a_first,         !a_first || of_both};
}

std::string engine_of(const Side& side) {
  return fmt::format("{} ({})", side.engine, side.contract);
}

void note_contracts(Report& report) {
  for (const Side* side : {&report.a, &report.b})
    if (side->found && !side->declared.empty())
      report.benign.push_back(fmt::format("{} declares the contract {} and computes {}",
                                          side->engine, side->declared, side->contract));
  if (report.a.contract != report.b.contract)
    report.benign.push_back(
        fmt::format("two contracts: {} and {}: the same model, rounded differently",
                    report.a.contract, report.b.contract));
}

/// Where one engine is far less exact than the other, and neither is wrong: the worst first.
void note_exactness(const op::Program& program, Report& report) {
  struct Far {
    std::string name;
    double a, b;
    double worse() const { return std::max(a, b); }
    double ratio() const { return std::max(a / b, b / a); }
  };
  std::vector<Far> found;
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const Far far{program.operations[i].name, report.a.operations[i].exact_nmse,
                  report.b.operations[i].exact_nmse};
    // An engine that does not quantise its activations is not a fair measure for one that does.
    if (std::min(far.a, far.b) > 1e-10 && far.ratio() > 4) found.push_back(far);
  }
  if (found.empty()) return;
  std::ranges::sort(found, std::greater{}, &Far::worse);
  const Side& side = found[0].a > found[0].b ? report.a : report.b;
  std::string note =
      fmt::format("{} of {} is {:.0f}x further from exact arithmetic (NMSE {:.1e} against {:.1e})",
                  found[0].name, side.engine, found[0].ratio(), found[0].worse(),
                  std::min(found[0].a, found[0].b));
  for (size_t i = 1; i < std::min<size_t>(found.size(), 4); ++i)
    note += fmt::format(", {} {:.0f}x", found[i].name, found[i].ratio());
  if (side.contract == "ggml-cuda")
    note +=
        ": its min term multiplies a weight's minimum by the f16 sum of the activations before "
        "they are quantised, not by the sum of their codes";
  report.benign.push_back(note);
}

std::string cause_of(const Report& report) {
  if (!report.cause) return "";
  if (report.cause->id == "unknown") return "; cause unknown";
  return fmt::format("; cause: {}{}", report.cause->name,
                     report.cause->evidence.empty() ? "" : " (" + report.cause->evidence + ")");
}

/// ": …", why the first operation that could not be judged was not.
std::string why_not(const op::Program& program, const Report& report) {
  for (size_t i = 0; i < program.operations.size(); ++i) {
    if (program.operations[i].name != report.unmeasured.front()) continue;
    for (const Side* side : {&report.a, &report.b})
      if (const JudgedOperation& one = side->operations[i]; one.verdict == Verdict::unmeasured)
        return one.why.empty() ? "" : ": " + one.why;
  }
  return "";
}

std::string sentence_of(const op::Program& program, const Report& report) {
  if (report.first) {
    const First& f = *report.first;
    const Side& side = f.a ? report.a : report.b;
    const std::string who = f.a && f.b ? "both engines" : engine_of(side);
    return fmt::format(
        "FAIL {} @ step {} token {} row {}: {:.3g} u (limit {:.3g} u), {} of {} "
        "elements; {} {} wrong; inputs equal{}",
        f.operation, f.step, f.seen.token, f.seen.row, f.seen.max_u, f.seen.limit_u,
        f.seen.failures, f.seen.elements, who, f.a && f.b ? "are" : "is", cause_of(report));
  }
  if (report.verdict == Verdict::unmeasured)
    return fmt::format("UNMEASURED: {} of {} operations could not be judged (the first: {}{})",
                       report.unmeasured.size(), program.operations.size(),
                       report.unmeasured.front(), why_not(program, report));
  return fmt::format(
      "PASS: every operation of {} and of {} is inside its limits; {} of {} "
      "operations compared, mean KL {:.2e}",
      engine_of(report.a), engine_of(report.b), report.compared, program.operations.size(),
      report.logits.kl_mean);
}

/// Differences, logits, coverage and percentile of one operation.
Status compare_operation(const op::Program& program, const Trace& a, const Trace& b, size_t index,
                         uint64_t tokens, Report& report) {
  const op::Operation& operation = program.operations[index];
  double apart = -1, percentile = -1;
  if (!operation.is<op::KvStore>()) {
    const auto ra = rows_of(program, a, operation), rb = rows_of(program, b, operation);
    if (!ra) return ra.error();
    if (!rb) return rb.error();
    apart = difference(*ra, *rb);
    if (!report.noise.relative.empty() && apart >= 0)
      percentile = Noise::percentile(report.noise.relative[index], difference(*ra, *rb, tokens));
    if (index + 1 == program.operations.size()) {
      report.logits = compare_logits(*ra, *rb);
      report.logits_percentile =
          Noise::percentile(report.noise.divergence, compare_logits(*ra, *rb, tokens).kl_mean);
    }
  }
  report.differences.push_back(apart);
  report.percentile.push_back(percentile);
  const bool measured = report.a.operations[index].verdict != Verdict::unmeasured &&
                        report.b.operations[index].verdict != Verdict::unmeasured;
  report.compared += measured;
  if (!measured) report.unmeasured.push_back(operation.name);
  return ok();
}

/// What the place among correct runs says.
std::string noise_of(const Report& report) {
  const auto& sorted = report.noise.divergence;
  if (sorted.empty()) return "";
  if (report.logits_percentile < 100)
    return fmt::format("these engines differ as two correct runs do: percentile {:.0f} of {} pairs",
                       report.logits_percentile, sorted.size());
  return fmt::format("no pair of {} correct runs lies so far apart (mean KL at most {:.1e})",
                     report.noise.runs, sorted.back());
}

}  // namespace

Result<Report> compare(const op::Program& program, const Trace& a, const Trace& b,
                       const DiffOptions& options) {
  if (const Status equal = check_inputs(a, b, options.other_weights); !equal) return equal.error();
  Report report;
  auto side = judge_trace(program, a);
  if (!side) return side.error();
  report.a = std::move(*side);
  side = judge_trace(program, b);
  if (!side) return side.error();
  report.b = std::move(*side);

  std::vector<int32_t> tokens = all_tokens(a);
  tokens.resize(std::min<size_t>(tokens.size(), options.tokens));
  const bool measured_both =
      report.a.count(Verdict::unmeasured) + report.b.count(Verdict::unmeasured) == 0;
  const bool right = report.a.failures.empty() && report.b.failures.empty();
  if (options.runs >= 2 && measured_both && right)
    report.noise = correct_runs(program, report.a, report.b, tokens, options.runs, options.seed);
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (const Status done = compare_operation(program, a, b, i, tokens.size(), report); !done)
      return done.error();
  note_contracts(report);
  note_exactness(program, report);
  if (const std::string noise = noise_of(report); !noise.empty()) report.benign.push_back(noise);
  conclude(program, a, b, report);
  return report;
}

void conclude(const op::Program& program, const Trace& a, const Trace& b, Report& report) {
  report.first = earliest(program, a, report.a, b, report.b);
  report.verdict = report.first                ? Verdict::fail
                   : report.unmeasured.empty() ? Verdict::pass
                                               : Verdict::unmeasured;
  report.sentence = sentence_of(program, report);
}

}  // namespace assay::diff
