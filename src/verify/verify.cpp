#include "verify/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "judge/formulas.h"
#include "op/kinds.h"
#include "trace/statistics.h"
#include "verify/check.h"

namespace assay::verify {

std::string name_of_device(const Report& report) {
  return op::text_of(report.device, report.isa, report.threads);
}

namespace {

std::string name_of(const Path& path) {
  const std::string threads =
      path.threads == 0 ? ""
                        : fmt::format("{} thread{}", path.threads, path.threads > 1 ? "s" : "");
  if (path.isa.empty()) return threads.empty() ? "as it runs" : threads;
  return threads.empty() ? path.isa : path.isa + ", " + threads;
}

/// Runs cases and adds what it sees to a report.
class Verifier {
 public:
  Verifier(const Settings& settings, Report& report) : settings_(settings), report_(report) {}
  Status check(const Case& one);
  /// After all cases: the rows against the stored hashes.
  void check_stored();

 private:
  Result<std::unique_ptr<op::Executor>> open(const Factory& factory, const Case& one,
                                             const Path& path) const {
    op::ExecutorOptions options = options_for(one);
    options.isa = path.isa;
    options.threads = path.threads;
    return factory(*one.program, options);
  }
  void judge(const Case& one, op::Executor& executor, const Bits& bits);
  void compare(const Case& one, op::Executor& executor, const Bits& bits, const Schedule& schedule,
               const std::string& path);
  void compare_untraced(const Case& one, op::Executor& executor, const Bits& bits,
                        const Schedule& schedule);
  void add(const Case& one, const std::vector<Difference>& differences, const Step& step,
           const std::string& path);
  void count_compared(const Case& one, const StepOutputs& outputs);
  Row& row_of(const Case& one, const op::Operation& operation);
  /// Keeps the sentence of the first operation that no kernel can make right.
  void leave(const Case& one, const op::Operation& operation, const judge::OperationError& error);
  /// Keeps the sentence of the first failure.
  void fail(const Case& one, const op::Operation& operation, const std::string& what);

  const Settings& settings_;
  Report& report_;
  RowHashes hashes_;
};

Row& Verifier::row_of(const Case& one, const op::Operation& operation) {
  const std::string_view format = format_of(*one.program, operation);
  for (Row& row : report_.rows)
    if (row.kind == op::name_of(operation) && row.format == format) return row;
  Row& row = report_.rows.emplace_back();
  row.kind = op::name_of(operation);
  row.format = format;
  return row;
}

void Verifier::fail(const Case& one, const op::Operation& operation, const std::string& what) {
  row_of(one, operation).pass = false;
  if (!report_.pass) return;
  report_.pass = false;
  report_.sentence = fmt::format("FAIL {}{} {} {}: {}", one.owner ? "" : operation.name + ": ",
                                 op::name_of(operation), format_of(*one.program, operation),
                                 shape_of(*one.program, operation), what);
}

void Verifier::leave(const Case& one, const op::Operation& operation,
                     const judge::OperationError& error) {
  row_of(one, operation).undefined = true;
  if (!report_.unmeasured.empty()) return;
  std::string why;
  if (operation.is<op::Attend>())
    why = ": keys and values beyond 65504 are infinite in an f16 cache, which --kv f32 avoids";
  if (operation.is<op::RmsNorm>() || operation.is<op::LayerNorm>())
    why = ": the squares of a row add up to more than f32 holds";
  report_.unmeasured =
      fmt::format("UNMEASURED {} {}: {} of {} elements have no finite exact result{}",
                  operation.name, op::name_of(operation), error.undefined, error.elements, why);
}

void Verifier::add(const Case& one, const std::vector<Difference>& differences, const Step& step,
                   const std::string& path) {
  for (const Difference& d : differences) {
    const op::Operation& operation = one.program->operations[d.operation];
    row_of(one, operation).differ += d.count;
    fail(one, operation,
         fmt::format("token {} row {} is {:.9g}, the contract's bits are {:.9g}, in a step of {} "
                     "tokens, {}",
                     d.token, d.row, d.got, d.want, step.tokens.size(), path));
  }
}

void Verifier::count_compared(const Case& one, const StepOutputs& outputs) {
  for (size_t i = 0; i < outputs.size(); ++i)
    row_of(one, one.program->operations[i]).compared += outputs[i].size();
}

void Verifier::judge(const Case& one, op::Executor& executor, const Bits& bits) {
  Judge judge(one, options_for(one), settings_.judges);
  const std::vector<Step> steps = steps_of(one, one.judged);
  std::vector<std::vector<Difference>> differences(one.judged.pieces.size());
  trace::LogitsHash logits;
  run(executor, one, one.judged, [&](size_t i, const Step& step, const StepOutputs& outputs) {
    judge.step(step, outputs);
    differences[i] = bits.compare(step, outputs);
    count_compared(one, outputs);
    logits.update(outputs.back());
    if (one.owner) hashes_.step(*one.program, outputs);
  });
  if (!one.owner) report_.logits_sha256 = logits.hex();
  const std::vector<judge::OperationError> errors = judge.results();
  for (size_t i = 0; i < errors.size(); ++i) {
    const judge::OperationError& error = errors[i];
    const op::Operation& operation = one.program->operations[i];
    Row& row = row_of(one, operation);
    row.cases += steps.size();
    row.elements += error.elements;
    report_.shapes.insert(
        fmt::format("{} {}", op::name_of(operation), shape_of(*one.program, operation)));
    if (operation.weight != op::none) report_.formats.insert(row.format);
    if (row.elements == error.elements ||
        judge::badness(error.max_u, error.limit_u) > judge::badness(row.max_u, row.limit_u)) {
      row.max_u = error.max_u;
      row.limit_u = error.limit_u;
    }
    if (error.failures && error.failures == error.undefined)
      leave(one, operation, error);
    else if (error.failures)
      fail(
          one, operation,
          fmt::format("token {} of {} in step {}, row {}: {:.3g} u (limit {:.3g} u), {} of {} "
                      "elements outside",
                      error.worst_token, steps[error.worst_step].tokens.size(), error.worst_step,
                      error.worst_row, error.max_u, error.limit_u, error.failures, error.elements));
    // in the program's order, so that the first failure is that of the first operation
    for (size_t s = 0; s < steps.size(); ++s)
      for (const Difference& d : differences[s])
        if (d.operation == i) add(one, {d}, steps[s], name_of(settings_.path));
  }
}

void Verifier::compare(const Case& one, op::Executor& executor, const Bits& bits,
                       const Schedule& schedule, const std::string& path) {
  run(executor, one, schedule, [&](size_t, const Step& step, const StepOutputs& outputs) {
    add(one, bits.compare(step, outputs), step, path);
    count_compared(one, outputs);
  });
}

void Verifier::compare_untraced(const Case& one, op::Executor& executor, const Bits& bits,
                                const Schedule& schedule) {
  run_untraced(executor, one, schedule, [&](size_t, const Step& step, const StepOutputs& outputs) {
    add(one, bits.compare(step, outputs), step, "untraced");
    count_compared(one, outputs);
  });
}

Status Verifier::check(const Case& one) {
  const auto plain = open(settings_.plain, one, {"", 1});
  if (!plain) return plain.error();
  const Bits bits(one, **plain);
  const std::string contract = (*plain)->contract();
  const Schedule whole{{uint32_t(one.tokens.size())}};
  {
    const auto executor = open(settings_.device, one, settings_.path);
    if (!executor) return executor.error();
    report_.device = (*executor)->device();
    report_.isa = (*executor)->isa();
    report_.threads = (*executor)->threads();
    report_.contract = (*executor)->contract();
    if (report_.contract != contract)
      return Error{fmt::format("the device {} runs the contract {}; verify proves {}",
                               report_.device, report_.contract, contract)};
    judge(one, **executor, bits);
    compare_untraced(one, **executor, bits, one.judged);
    for (const Schedule& schedule : one.schedules) {
      compare(one, **executor, bits, schedule, name_of(settings_.path));
      compare_untraced(one, **executor, bits, schedule);
    }
  }
  for (const Path& path : settings_.paths) {
    const auto executor = open(settings_.device, one, path);
    if (!executor) return executor.error();
    compare(one, **executor, bits, whole, name_of(path));
  }
  return ok();
}

void Verifier::check_stored() {
  for (const StoredRow& now : hashes_.rows())
    for (Row& row : report_.rows) {
      if (row.kind != now.kind || row.format != now.format) continue;
      row.sha256 = now.sha256;
      const StoredRow* stored =
          find(*settings_.stored, report_.contract, settings_.level, now.kind, now.format);
      if (!stored) continue;
      row.stored = stored->sha256;
      if (row.sha256 == row.stored) continue;
      row.pass = false;
      if (!report_.pass) continue;
      report_.pass = false;
      report_.sentence = fmt::format(
          "FAIL {} {}: the SHA-256 of its outputs is {:.16}…, the stored one of {} is {:.16}…",
          now.kind, now.format, row.sha256, settings_.stored->made_by, row.stored);
    }
}

/// A model's own weights and activations: a prompt in one step, then decode steps.
Case model_case(const Settings& settings) {
  const auto count = uint32_t(settings.tokens.size());
  const uint32_t prompt =
      settings.level == Level::full ? std::min(70u, count) : std::min(8u, count);
  Case one;
  one.name = "model";
  one.program = settings.model;
  one.tokens = settings.tokens;
  one.judged.pieces = {prompt};
  one.judged.pieces.insert(one.judged.pieces.end(), count - prompt, 1);
  one.schedules = {{{count}, 2}};
  if (count > 1) one.schedules.push_back({{1, count - 1}, 2, true});
  if (settings.level == Level::full) {
    one.schedules.push_back({std::vector<uint32_t>(count, 1)});
    one.schedules.push_back({{count}, 9});
  }
  return one;
}

}  // namespace

Result<Stored> make_stored(const Settings& settings) {
  Stored stored;
  stored.level = settings.level;
  RowHashes hashes;
  const std::vector<Case> cases = synthetic_cases(settings.level);
  for (size_t i = 0; i < cases.size(); ++i) {
    op::ExecutorOptions options = options_for(cases[i]);
    options.isa = settings.path.isa;
    options.threads = settings.path.threads;
    const auto executor = settings.device(*cases[i].program, options);
    if (!executor) return executor.error();
    stored.made_by = (*executor)->device();
    stored.contract = (*executor)->contract();
    run(**executor, cases[i], cases[i].judged,
        [&](size_t, const Step&, const StepOutputs& outputs) {
          hashes.step(*cases[i].program, outputs);
        });
    if (settings.progress) settings.progress(i + 1, cases.size());
  }
  stored.rows = hashes.rows();
  return stored;
}

Result<Report> verify(const Settings& settings) {
  Report report;
  const auto probes = probe(settings);
  if (!probes) return probes.error();
  report.probes = *probes;
  std::vector<Case> cases = synthetic_cases(settings.level);
  if (settings.model) cases.push_back(model_case(settings));
  Verifier verifier(settings, report);
  for (size_t i = 0; i < cases.size(); ++i) {
    if (const Status checked = verifier.check(cases[i]); !checked) return checked.error();
    cases[i] = {};  // its weights are not needed any more
    if (settings.progress) settings.progress(i + 1, cases.size());
  }
  verifier.check_stored();
  report.paths.push_back(name_of(Path{report.isa, report.threads}));
  for (const Path& path : settings.paths) report.paths.push_back(name_of(path));
  uint64_t compared = 0;
  for (const Row& row : report.rows) {
    report.operations += row.cases;
    report.elements += row.elements;
    compared += row.compared;
  }
  for (const Probe& p : report.probes) {
    if (p.pass || !report.pass) continue;
    report.pass = false;
    report.sentence = fmt::format("FAIL probe '{}': {}", p.name, p.found);
  }
  if (report.pass && !report.unmeasured.empty())
    report.sentence = fmt::format("{}: {}", report.unmeasured, name_of_device(report));
  else
    report.sentence =
        report.pass
            ? fmt::format(
                  "PASS: {} operations, {} elements inside their bounds, {} bit for bit those "
                  "of {}: {}",
                  report.operations, report.elements, compared, report.contract,
                  name_of_device(report))
            : fmt::format("{}: {}", report.sentence, name_of_device(report));
  return report;
}

}  // namespace assay::verify
