#include "check/question.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "diagnose/diagnose.h"
#include "judge/formulas.h"
#include "op/kinds.h"

namespace assay::check {

using diff::Scene;
using diff::Verdict;
using judge::Judged;
using judge::Seen;

namespace {

const op::Operation& operation_of(const Question& question) {
  return question.program->operations[question.operation];
}

/// The program's caches: the attention's own is filled as the contract keeps it.
judge::Caches caches_of(const Question& question, const judge::Coding& kv) {
  judge::Caches caches(question.program->caches.size());
  const auto* attend = operation_of(question).as<op::Attend>();
  if (!attend) return caches;
  const auto kept = [&](std::span<const double> row) {
    judge::Table one(1, row.size());
    std::ranges::copy(row, one.data.begin());
    return judge::decoded(one, kv).values.data;
  };
  for (uint64_t p = 0; p < question.keys.rows; ++p)
    caches[attend->cache].store(uint32_t(p), kept(question.keys.row(p)),
                                kept(question.values.row(p)));
  return caches;
}

Scene scene_of(const Question& question, const std::string& contract, const judge::Coding& coding) {
  Scene scene;
  scene.operation = question.operation;
  scene.tokens = question.step;
  scene.inputs = question.inputs;
  scene.output = question.output;
  scene.coding = coding;
  // assay/1 fixes the bits of cos, sin and exp; other contracts leave room for other ways to them.
  scene.arithmetic =
      judge::arithmetic_of(contract, contract == "assay/1" ? "assay" : "", question.cache);
  scene.caches = caches_of(question, scene.arithmetic.kv);
  scene.contract = contract;
  return scene;
}

std::vector<judge::Coding> codings_of(const Question& question, const std::string& contract) {
  const op::Operation& operation = operation_of(question);
  if (!op::multiplies(operation)) return {{}};
  return judge::codings(contract, question.program->weights[operation.weight].type);
}

/// Half the distance of f16 numbers at x.
double half_f16_step(double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent - 12, -25));
}

Judged judged(const Question& question, const std::string& contract, const judge::Coding& coding) {
  Judged out = diff::expect(*question.program, scene_of(question, contract, coding));
  if (!question.output_is_f16) return out;
  if (out.slack.data.empty()) out.slack = Table(out.want.rows, out.want.width);
  for (size_t i = 0; i < out.want.data.size(); ++i)
    out.slack.data[i] += half_f16_step(out.want.data[i]);
  return out;
}

Trial try_contract(const Question& question, const std::string& contract) {
  Trial best;
  bool first = true;
  for (const judge::Coding& coding : codings_of(question, contract)) {
    const Seen seen = judge::compare(question.output, judged(question, contract, coding));
    if (first || seen.failures < best.seen.failures) best = {contract, coding, seen};
    first = false;
  }
  return best;
}

/// Those that can part: only products and attention round differently from contract to contract.
std::vector<std::string> contracts_of(const op::Operation& operation, const std::string& asked) {
  std::vector<std::string> out;
  if (!asked.empty()) out.push_back(asked);
  if (op::multiplies(operation) || operation.is<op::Attend>()) {
    for (const char* name : {"f32", "assay/1", "ggml-cpu", "ggml-cuda"})
      if (name != asked) out.emplace_back(name);
  } else if (out.empty()) {
    out.emplace_back("f32");
  }
  return out;
}

diff::Cause cause_under(const Question& question, const Trial& trial) {
  const diff::Cause unknown{"unknown", "cause unknown", ""};
  if (question.output_is_f16) return unknown;  // hypotheses are told apart by the bits below f16
  const auto cause =
      diagnose::diagnose(*question.program, scene_of(question, trial.contract, trial.coding));
  if (cause.id != "unknown" || trial.seen.not_finite < trial.seen.failures) return cause;
  return {"not-finite", "results are not finite",
          fmt::format("{} of {} are NaN or infinite, from finite inputs; the others are right",
                      trial.seen.not_finite, trial.seen.elements)};
}

/// The cause, and the trial that it was found under. Where no contract was asked for, those count
/// in which about as few elements fail as in the best, the stricter first; and "it keeps another
/// one" is not a cause: that one was tried.
void find_cause(const Question& question, bool asked, Answer& answer) {
  std::vector<Trial> order = answer.trials;
  if (asked) order.resize(1);
  const auto failures = [](const Trial& trial) { return trial.seen.failures; };
  const uint64_t least = failures(*std::ranges::min_element(order, {}, failures));
  std::erase_if(order, [&](const Trial& trial) { return failures(trial) > 2 * least; });
  answer.best = order[0];
  answer.cause = {"unknown", "cause unknown", ""};
  for (const Trial& trial : order) {
    diff::Cause cause = cause_under(question, trial);
    if (cause.id == "unknown" || (cause.benign && !asked)) continue;
    answer.cause = std::move(cause);
    answer.best = trial;
    return;
  }
}

std::string sentence_of(const Question& question, const Answer& answer, bool asked) {
  const judge::Seen& seen = answer.best.seen;
  const std::string& name = operation_of(question).name;
  const std::string place = fmt::format("{} @ token {} channel {}", name, seen.token, seen.row);
  const auto fits = answer.fits();
  // Where contracts don't part none is named.
  const bool named = asked || answer.trials.size() > 1;
  if (answer.verdict == Verdict::unmeasured)
    return fmt::format("UNMEASURED {}: the operation itself gives NaN there", place);
  if (answer.verdict == Verdict::pass)
    return fmt::format("PASS {}: {} elements, the worst {:.3g} u (limit {:.3g} u){}", name,
                       seen.elements, seen.max_u, seen.limit_u,
                       !named  ? ""
                       : asked ? "; contract " + answer.best.contract
                               : fmt::format("; contract {}", fmt::join(fits, ", ")));
  std::string text = fmt::format(
      "FAIL {}: got {:.9g}, wanted {:.9g}, off by {:.3g} u (limit {:.3g} u), {} of {} "
      "elements{}",
      place, answer.got, answer.want, seen.max_u, seen.limit_u, seen.failures, seen.elements,
      named ? "; contract " + answer.best.contract : "");
  if (asked && !fits.empty()) text += fmt::format("; it fits {}", fmt::join(fits, ", "));
  if (answer.cause->id == "unknown") return text + "; cause unknown";
  return text +
         fmt::format("; cause: {}{}", answer.cause->name,
                     answer.cause->evidence.empty() ? "" : " (" + answer.cause->evidence + ")");
}

}  // namespace

std::vector<std::string> Answer::fits() const {
  std::vector<std::string> out;
  for (const Trial& trial : trials)
    if (trial.seen.failures == 0) out.push_back(trial.contract);
  return out;
}

Answer answer(const Question& question, const std::string& contract) {
  const bool asked = !contract.empty();
  Answer out;
  for (const std::string& name : contracts_of(operation_of(question), contract))
    out.trials.push_back(try_contract(question, name));
  const auto fit =
      std::ranges::find_if(out.trials, [](const Trial& trial) { return trial.seen.failures == 0; });
  const bool passes = asked ? out.trials[0].seen.failures == 0 : fit != out.trials.end();
  out.verdict = passes ? Verdict::pass : Verdict::fail;
  out.best = passes && !asked ? *fit : out.trials[0];
  // Inputs are finite: NaN comes from the weights, and no kernel is to blame for it.
  const auto want_at = [&](const Trial& trial) {
    const Table want = judged(question, trial.contract, trial.coding).want;
    return want.row(trial.seen.token)[trial.seen.row];
  };
  if (!passes && std::isnan(want_at(out.best)))
    out.verdict = Verdict::unmeasured;
  else if (!passes)
    find_cause(question, asked, out);
  out.got = question.output.row(out.best.seen.token)[out.best.seen.row];
  out.want = want_at(out.best);
  out.sentence = sentence_of(question, out, asked);
  return out;
}

Judged expected(const Question& question, const std::string& contract) {
  return judged(question, contract, codings_of(question, contract)[0]);
}

namespace {

/// What a tensor is called in a file that does not fuse it: "blk.0.attn_q.weight" of
/// "blk.0.attn_qkv.weight[q]".
std::string unfused(const std::string& tensor) {
  const size_t open = tensor.rfind('[');
  if (open == tensor.npos || !tensor.ends_with("]")) return tensor;
  const size_t stem = tensor.rfind('_', open);
  if (stem == tensor.npos) return tensor;
  return tensor.substr(0, stem + 1) + tensor.substr(open + 1, tensor.size() - open - 2) + ".weight";
}

}  // namespace

Result<size_t> find_operation(const op::Program& program, const std::string& name) {
  const auto index = [&](auto fits) -> std::optional<size_t> {
    const auto found = std::ranges::find_if(program.operations, fits);
    if (found == program.operations.end()) return std::nullopt;
    return size_t(found - program.operations.begin());
  };
  if (const auto found = index([&](const auto& operation) { return operation.name == name; }))
    return *found;
  const std::string tensor = name.ends_with(".weight") ? name : name + ".weight";
  if (const auto found = index([&](const auto& operation) {
        return operation.weight != op::none &&
               (program.weights[operation.weight].name == name ||
                unfused(program.weights[operation.weight].name) == tensor);
      }))
    return *found;
  if (tensor == "output.weight") return program.operations.size() - 1;
  std::vector<std::string> block, others;
  for (const op::Operation& operation : program.operations) {
    if (op::row_of(operation).moves) continue;
    if (operation.name.starts_with("blk.0."))
      block.push_back(operation.name.substr(6));
    else if (!operation.name.starts_with("blk."))
      others.push_back(operation.name);
  }
  return Error{
      fmt::format("no operation or tensor '{}' in the model; it has {} and, for N from 0 to {}, "
                  "blk.N. with {}",
                  name, fmt::join(others, ", "), program.layers - 1, fmt::join(block, ", "))};
}

Result<Table> to_table(const trace::Npy& array, uint64_t width, const std::string& path,
                       bool any_value) {
  const auto refuse = [&](const std::string& why) {
    return Error{fmt::format("{}: {}", path, why)};
  };
  uint64_t inner = 1;
  size_t at = array.shape.size();
  while (at > 0 && inner < width) inner *= array.shape[--at];
  const uint64_t elements = array.elements();
  if (inner != width || elements == 0) {
    std::string hint;
    if (array.shape.size() == 2 && array.shape[0] == width)
      hint = ": it is the transpose of that";
    else if (const auto outer = trace::outer_dimensions(array);
             outer && elements == array.shape[outer->second] * width)
      hint = fmt::format(": perhaps it is (heads, rows, channels); save array.swapaxes({}, {})",
                         outer->first, outer->second);
    return refuse(fmt::format("its shape is {}; wanted (rows, {}){}",
                              trace::shape_text(array.shape), width, hint));
  }
  Table table;
  table.rows = elements / width;
  table.width = width;
  table.data = array.values();
  if (any_value) return table;
  const auto bad = std::ranges::find_if_not(table.data, [](double x) { return std::isfinite(x); });
  if (bad == table.data.end()) return table;
  const uint64_t place = uint64_t(bad - table.data.begin());
  return refuse(fmt::format("{} at row {} column {}: no kernel can be judged by such an input",
                            *bad, place / width, place % width));
}

}  // namespace assay::check
