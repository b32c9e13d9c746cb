#include "diff/diff.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "diff/recorded.h"
#include "diff/where.h"

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
    if (const auto* tensor = trace.find(number, operation)) {
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

std::vector<uint64_t> tokens_of_rows(const op::Program& program, const Trace& trace,
                                     uint32_t number, const op::Operation& operation) {
  uint64_t before = 0;
  for (uint32_t step = 0; step < number; ++step) before += trace.steps()[step].tokens.size();
  const trace::TraceStep& step = trace.steps()[number];
  const bool selected = operation.output != op::none && program.values[operation.output].selected;
  std::vector<uint64_t> out;
  // A cache may be shown whole.
  if (const auto* keys = trace.find(number, operation.name + "_k");
      keys && operation.is<op::KvStore>() && keys->rows > step.tokens.size()) {
    for (uint64_t r = 0; r < keys->rows; ++r)
      out.push_back(before + step.tokens.size() - keys->rows + r);
    return out;
  }
  for (size_t r = 0; r < (selected ? step.selected.size() : step.tokens.size()); ++r)
    out.push_back(before + (selected ? step.selected[r] : r));
  return out;
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
  First first;
  first.operation = operation.name;
  first.layer = operation.layer;
  first.step = failure.step;
  first.seen = failure.seen;
  first.a = a_first;
  first.b = !a_first || of_both;
  if (failure.segment.empty()) return first;
  const Side& side = a_first ? a : b;
  const std::vector<size_t> before = opening(program, side, failure.operation);
  const size_t next = next_to_record(program, side, failure.segment);
  first.unrecorded = failure.segment.size();
  first.after = before.empty() ? "the tokens" : program.operations[before.back()].name;
  if (next != op::none) first.record_next = program.operations[next].name;
  return first;
}

std::string engine_of(const Side& side) {
  return fmt::format("{} ({})", side.engine, side.contract);
}

void note_contracts(Report& report) {
  for (const Side* side : {&report.a, &report.b})
    if (side->found && !side->declared.empty())
      report.benign.push_back(fmt::format("{} declares the contract {} and computes {}",
                                          side->engine, side->declared, side->contract));
  if (!report.alone && report.a.contract != report.b.contract)
    report.benign.push_back(
        fmt::format("two contracts: {} and {}: the same model, rounded differently",
                    report.a.contract, report.b.contract));
}

/// "0.39 %"
std::string percent(double share) {
  return fmt::format("{:.2g} %", 100 * share);
}

/// What coarse arithmetic can hide, and where only a statistic judges.
void note_coarseness(const op::Program& program, Report& report) {
  for (const Side* side : {&report.a, &report.b}) {
    if (report.alone && side == &report.b) break;
    std::map<judge::Family, double> hidden;
    bool walks = false;
    for (size_t i = 0; i < side->operations.size(); ++i) {
      const JudgedOperation& judged = side->operations[i];
      walks = walks || judged.coding.has_coarse_sums();
      if (judged.hidden <= 0 || judged.verdict == Verdict::fail) continue;
      double& most = hidden[judge::family_of(program.operations[i])];
      most = std::max(most, judged.hidden);
    }
    if (hidden.empty()) continue;
    std::string note = fmt::format("what {} can hide: faults below ", engine_of(*side));
    for (const auto& [family, share] : hidden)
      note += fmt::format("{}{} of the result of {}", &share == &hidden.begin()->second ? "" : ", ",
                          percent(share), judge::name_of(family));
    note += " cannot be seen";
    if (walks)
      note +=
          "; the order of its coarse sums is unknown, and the worst order proves nothing beyond "
          "some "
          "500 columns: there the errors must be no larger than a random walk of roundings, "
          "together "
          "and each";
    report.benign.push_back(std::move(note));
  }
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

/// The cause's name with what was fitted; how well it reproduces is said before.
std::string cause_of(const Report& report) {
  if (!report.cause) return "";
  if (report.cause->id == "unknown") return "; cause unknown";
  const std::string& evidence = report.cause->evidence;
  const std::string fitted = evidence.substr(0, evidence.find("; "));
  return fmt::format(
      "; cause: {}{}{}",
      report.cause->operation.empty() ? "" : "in " + report.cause->operation + ", ",
      report.cause->name,
      fitted.empty() || fitted.starts_with("reproduces ") ? "" : " (" + fitted + ")");
}

/// "1.25 instead of 1.75": as many digits as tell them apart.
std::string got_and_wanted(const First& first) {
  for (const int digits : {6, 9, 17}) {
    const std::string got = fmt::format("{:.{}g}", first.got, digits);
    const std::string wanted = fmt::format("{:.{}g}", first.wanted, digits);
    if (got != wanted || digits == 17) return fmt::format("got {}, wanted {}", got, wanted);
  }
  return "";
}

std::string why_unmeasured(const Report& report, const std::string& operation,
                           const op::Program& program) {
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (program.operations[i].name == operation)
      for (const Side* side : {&report.a, &report.b})
        if (side->operations[i].verdict == Verdict::unmeasured && !side->operations[i].why.empty())
          return side->operations[i].why;
  return "";
}

std::string of_unmeasured(const op::Program& program, const Report& report) {
  const Side& narrow = report.a.narrow.empty() ? report.b : report.a;
  const size_t left = report.unmeasured.size(), all = program.operations.size();
  if (!narrow.narrow.empty())
    return fmt::format(
        "UNMEASURED: the trace of {} keeps its values as {}, and {} of {} operations cannot be "
        "judged "
        "so: what {} rounds away is more than a correct kernel may be off; record the values as "
        "F32",
        engine_of(narrow), narrow.narrow, left, all, narrow.narrow);
  const std::string why = why_unmeasured(report, report.unmeasured.front(), program);
  return fmt::format("UNMEASURED: {} of {} operations could not be judged; the first, {}{}", left,
                     all, report.unmeasured.front(), why.empty() ? "" : ": " + why);
}

/// What follows all that was recorded, and is not judged.
std::string end_of_record(const Report& report) {
  if (report.after_record.empty()) return "";
  return fmt::format("; the record ends before {}", report.after_record.front());
}

std::string sentence_of(const op::Program& program, const Report& report) {
  if (report.first) {
    const First& f = *report.first;
    const std::string of = f.a && f.b ? "both engines" : engine_of(f.a ? report.a : report.b);
    const std::string worst =
        f.seen.failures > 1 ? fmt::format("at token {}, channel {} ", f.token, f.seen.row) : "";
    const std::string what =
        f.unrecorded == 0
            ? fmt::format("{} of {} is wrong", f.operation, of)
            : fmt::format("between {} and {} of {}: the latter is wrong", f.after, f.operation, of);
    return fmt::format("FAIL {}: {}; {}{} (off by {:.3g} u, limit {:.3g} u){}", what, f.where,
                       worst, got_and_wanted(f), f.seen.max_u, f.seen.limit_u, cause_of(report));
  }
  if (report.verdict == Verdict::unmeasured) return of_unmeasured(program, report);
  if (report.alone)
    return fmt::format(
        "PASS: every operation of {} is inside its limits; {} of {} operations judged{}",
        engine_of(report.a), report.compared, program.operations.size(), end_of_record(report));
  return fmt::format(
      "PASS: every operation of {} and of {} is inside its limits; {} of {} "
      "operations compared{}",
      engine_of(report.a), engine_of(report.b), report.compared, program.operations.size(),
      report.logits.positions ? fmt::format(", mean KL {:.2e}", report.logits.kl_mean)
                              : end_of_record(report));
}

/// The first failure's values and its place in words.
void describe(const op::Program& program, const Trace& trace, const Side& side, First& first) {
  const auto index =
      size_t(std::ranges::find(program.operations, first.operation, &op::Operation::name) -
             program.operations.begin());
  const op::Operation& operation = program.operations[index];
  const auto scene = scene_at(program, trace, side, first.step, index);
  const auto tokens = tokens_of_rows(program, trace, first.step, operation);
  first.token = first.seen.token < tokens.size() ? tokens[first.seen.token] : first.seen.token;
  if (!scene || scene->output.data.empty()) return;
  const Judged judged = expect(program, *scene);
  first.got = scene->output.row(first.seen.token)[first.seen.row];
  first.wanted = judged.want.row(first.seen.token)[first.seen.row];
  first.where =
      where_wrong(program, operation, scene->output, judged, tokens) +
      how_wrong(scene->output, judged, scene->arithmetic[judge::family_of(operation)].result);
  if (trace.steps().size() > 1) first.where += fmt::format(", step {}", first.step);
}

/// Differences, logits, coverage and percentile of one operation.
Status compare_operation(const op::Program& program, const Trace& a, const Trace& b, size_t index,
                         uint64_t tokens, Report& report) {
  const op::Operation& operation = program.operations[index];
  double apart = -1, percentile = -1;
  if (!operation.is<op::KvStore>() && !report.alone) {
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
                        (report.alone || report.b.operations[index].verdict != Verdict::unmeasured);
  report.compared += measured;
  const bool after = report.a.operations[index].after_record ||
                     (!report.alone && report.b.operations[index].after_record);
  if (!measured) (after ? report.after_record : report.unmeasured).push_back(operation.name);
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
  const auto half = [&](uint64_t before) {
    return [&advance = options.advance, before](uint64_t done, uint64_t all) {
      if (advance) advance(before * all + done, 2 * all);
    };
  };
  auto side = judge_trace(program, a, half(0));
  if (!side) return side.error();
  report.a = std::move(*side);
  side = judge_trace(program, b, half(1));
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
  note_coarseness(program, report);
  note_exactness(program, report);
  if (const std::string noise = noise_of(report); !noise.empty()) report.benign.push_back(noise);
  report.unknown = unknown_names(program, a);
  for (UnknownName& name : unknown_names(program, b)) report.unknown.push_back(std::move(name));
  conclude(program, a, b, report);
  return report;
}

Result<Report> judge_alone(const op::Program& program, const Trace& trace, const Advance& advance) {
  Report report;
  report.alone = true;
  auto side = judge_trace(program, trace, advance);
  if (!side) return side.error();
  report.a = std::move(*side);
  report.b.operations.resize(program.operations.size());
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (const Status done = compare_operation(program, trace, trace, i, 0, report); !done)
      return done.error();
  note_contracts(report);
  note_coarseness(program, report);
  report.unknown = unknown_names(program, trace);
  conclude(program, trace, trace, report);
  return report;
}

std::vector<std::string> explanations(const Report& report) {
  std::vector<std::string> out;
  if (const std::string unknown = sentence_of(report.unknown); !unknown.empty())
    out.push_back(unknown);
  if (!report.first) return out;
  const First& f = *report.first;
  if (report.cause && !report.cause->evidence.empty())
    out.push_back(
        fmt::format("why: {}{}: {}",
                    report.cause->operation.empty() ? "" : "in " + report.cause->operation + ", ",
                    report.cause->name, report.cause->evidence));
  if (f.seen.failures > 0)
    out.push_back(fmt::format("where: {}; {} of the {} elements of {} are outside their limits",
                              f.where, f.seen.failures, f.seen.elements, f.operation));
  if (f.unrecorded > 0)
    out.push_back(fmt::format("which: {} operation{} between {} and {} {} not recorded{}",
                              f.unrecorded, f.unrecorded == 1 ? "" : "s", f.after, f.operation,
                              f.unrecorded == 1 ? "was" : "were",
                              f.record_next.empty() ? "" : "; record " + f.record_next + " next"));
  out.push_back(unit_explained());
  return out;
}

std::string unit_explained() {
  return "u: an error of 1 u is 2^-24 (6e-8) of the size of the terms that the operation adds up; "
         "the limit is the most that correct arithmetic can be off";
}

void conclude(const op::Program& program, const Trace& a, const Trace& b, Report& report) {
  report.first = earliest(program, a, report.a, b, report.b);
  report.verdict = report.first                ? Verdict::fail
                   : report.unmeasured.empty() ? Verdict::pass
                                               : Verdict::unmeasured;
  if (report.first)
    describe(program, report.first->a ? a : b, report.first->a ? report.a : report.b,
             *report.first);
  report.sentence = sentence_of(program, report);
}

}  // namespace assay::diff
