#include "diff/side.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "diff/contracts.h"
#include "diff/recorded.h"
#include "diff/walk.h"
#include "judge/product.h"
#include "op/kinds.h"

namespace assay::diff {

using judge::Table;
using trace::Trace;

std::string_view name_of(Verdict verdict) {
  constexpr std::array<std::string_view, 3> names = {"PASS", "FAIL", "UNMEASURED"};
  return names[size_t(verdict)];
}

uint64_t Side::count(Verdict verdict) const {
  return uint64_t(std::ranges::count(operations, verdict, &JudgedOperation::verdict));
}

double nmse(const Table& got, const Table& exact) {
  double error = 0, size = 0;
  for (size_t i = 0; i < got.data.size(); ++i) {
    error += (got.data[i] - exact.data[i]) * (got.data[i] - exact.data[i]);
    size += exact.data[i] * exact.data[i];
  }
  return error / size;
}

/// Copies that a trace doesn't hold, and sums that the engine adds up in another order, are judged
/// where they are read.
static void settle_copies(const op::Program& program, const Trace& trace, Side& side) {
  for (size_t i = 0; i < side.operations.size(); ++i) {
    JudgedOperation& judged = side.operations[i];
    const op::Operation& operation = program.operations[i];
    if (!(op::row_of(operation).moves || trace.is_merged(operation)) ||
        judged.verdict != Verdict::unmeasured || judged.seen.elements > 0)
      continue;
    judged.verdict = Verdict::pass;
    judged.why = "judged with what reads it";
  }
}

/// "F16" or "BF16": the first such type of an output.
static std::string narrow_type(const Trace& trace) {
  for (const auto& tensor : trace.tensors())
    if (trace.rounding(tensor) > 0x1p-24) return trace.type_of(tensor);
  return "";
}

static Scene scene_of(const Trace& trace, const Side& side, const Walk::Item& item,
                      const Coding& coding) {
  Scene scene;
  scene.step = item.step;
  scene.operation = item.index;
  scene.tokens = trace.steps()[item.step];
  for (const Table* value : item.inputs.values) scene.inputs.push_back(*value);
  if (item.got) scene.output = *item.got;
  scene.caches = item.inputs.caches[0];
  scene.coding = coding;
  scene.arithmetic = side.arithmetic;
  scene.contract = side.contract;
  scene.rounding = item.rounding;
  if (item.spread) scene.spread = *item.spread;
  return scene;
}

Result<Side> judge_trace(const op::Program& program, const Trace& trace, const Advance& advance) {
  if (trace.holds_statistics())
    return Error{
        fmt::format("{}: the trace holds statistics, not values: it can be shown, not judged; "
                    "record it without "
                    "--stats",
                    trace.path())};
  const std::string kv = trace.metadata("kv");
  if (!kv.empty() && !judge::coding_named(kv))
    return Error{
        fmt::format("{}: its cache is of type '{}'; known are f32, f16, bf16, q8_0, q4_0 "
                    "and those that docs/diagnosis.md lists",
                    trace.path(), kv)};
  Side side;
  side.engine = trace.metadata("engine").empty() ? "unknown engine" : trace.metadata("engine");
  side.declared = trace.metadata("contract");
  const FoundContract kept = find_contract(program, trace);
  side.contract = kept.text;
  side.found = kept.found;
  side.arithmetic = kept.arithmetic;
  side.hidden_coding = kept.hidden_coding;
  side.operations.resize(program.operations.size());
  Chooser chooser(kept.contract);
  Walk walk(program, trace, side.arithmetic);
  walk.compute_missing(hidden_codings(program, kept.text, kept.hidden_coding));
  const uint64_t all = trace.steps().size() * program.operations.size();
  const Status walked = walk.run([&](const Walk::Item& item) {
    if (advance) advance(item.step * program.operations.size() + item.index, all);
    // What a cache holds and is not shown, is judged with what reads it.
    if (!item.got && item.operation.is<op::KvStore>()) return true;
    JudgedOperation& judged = side.operations[item.index];
    if (!item.got || item.lacks) {
      if (judged.verdict == Verdict::pass) judged.verdict = Verdict::unmeasured;
      judged.missing = judged.missing || !item.got;
      judged.why = !item.got ? trace.why_missing(item.step, item.operation)
                             : fmt::format("its input {} is missing", *item.lacks);
      if (item.step > 0) judged.why += fmt::format(" (step {})", item.step);
      return true;
    }
    const auto [seen, coding, hidden, distance] = chooser.look(program, item, side.arithmetic);
    judged.hidden = std::max(judged.hidden, hidden);
    judged.seen.add(seen);
    judged.coding = coding;
    if (seen.failures > 0 && item.narrow && seen.not_finite == 0) {
      if (judged.verdict == Verdict::pass) judged.verdict = Verdict::unmeasured;
      judged.why = "what it reads or gives is stored in too few bits";
      if (side.narrow.empty()) side.narrow = narrow_type(trace);
    } else if (seen.failures > 0 && seen.failures == seen.undefined) {
      if (judged.verdict != Verdict::fail) judged.verdict = Verdict::unmeasured;
      if (judged.why.empty())
        judged.why = fmt::format(
            "{} of {} elements have no finite exact result{}", seen.undefined, seen.elements,
            item.operation.is<op::Attend>() && side.arithmetic.kv.type == judge::NumberType::f16
                ? ", as keys and values beyond 65504 are infinite in an f16 "
                  "cache; --kv f32 avoids it"
                : "");
    } else if (seen.failures > 0) {
      judged.verdict = Verdict::fail;
      if (side.failures.empty() && item.spread) side.closing = scene_of(trace, side, item, coding);
      side.failures.push_back({item.step, item.index, seen});
    } else if (judged.verdict == Verdict::unmeasured && judged.why.empty()) {
      judged.verdict = Verdict::pass;
    }
    if (item.operation.is<op::Matmul>() && item.operation.layer == 0 && item.step == 0) {
      judged.exact_nmse =
          nmse(*item.got,
               judge::multiply_only(program.weights[item.operation.weight],
                                    program.bias_of(item.operation), *item.inputs.values[0], {}));
    }
    return true;
  });
  if (!walked) return walked.error();
  settle_copies(program, trace, side);
  settle_segments(program, side);
  for (Failure& failure : side.failures)
    failure.segment = segment_of(program, side, failure.operation);
  return side;
}

Result<std::vector<Table>> errors_of(const op::Program& program, const Trace& trace,
                                     const Side& side) {
  std::vector<Table> out;
  if (side.failures.empty()) return out;
  Walk walk(program, trace, side.arithmetic);
  walk.compute_missing(hidden_codings(program, side.contract, side.hidden_coding), false);
  const Status walked = walk.run([&](const Walk::Item& item) {
    const Failure& next = side.failures[out.size()];
    if (item.step != next.step || item.index != next.operation) return true;
    const Coding& coding = side.operations[item.index].coding;
    Table difference = *item.got;
    const Table want = expect(program, item.operation, item.inputs, coding, side.arithmetic).want;
    for (size_t i = 0; i < want.data.size(); ++i) difference.data[i] -= want.data[i];
    out.push_back(std::move(difference));
    return out.size() < side.failures.size();
  });
  if (!walked) return walked.error();
  return out;
}

Result<Scene> scene_at(const op::Program& program, const Trace& trace, const Side& side,
                       uint32_t step, size_t operation) {
  Scene scene;
  std::string missing;
  Chooser chooser(judge::contract_of(side.contract).value_or(judge::Contract{}));
  for (size_t i = 0; i < side.operations.size(); ++i)
    if (op::multiplies(program.operations[i]) && side.operations[i].verdict == Verdict::pass)
      chooser.prefer(program.weights[program.operations[i].weight].type, side.operations[i].coding);
  Walk walk(program, trace, side.arithmetic);
  walk.compute_missing(hidden_codings(program, side.contract, side.hidden_coding));
  const Status walked = walk.run([&](const Walk::Item& item) {
    if (item.step != step || item.index != operation) return true;
    if (item.lacks) missing = *item.lacks;
    const bool judged = item.got && !item.lacks;
    scene = scene_of(trace, side, item,
                     judged ? chooser.look(program, item, side.arithmetic).coding : Coding());
    return false;
  });
  if (!walked) return walked.error();
  if (!missing.empty()) return Error{fmt::format("{}: '{}' is missing", trace.path(), missing)};
  return scene;
}

Judged expect(const op::Program& program, const Scene& scene) {
  Inputs inputs{{}, scene.tokens.view(), {&scene.caches, 1}};
  for (const Table& value : scene.inputs) inputs.values.push_back(&value);
  inputs.got = &scene.output;
  return widened(
      expect(program, program.operations[scene.operation], inputs, scene.coding, scene.arithmetic),
      {.rounding = scene.rounding, .spread = scene.spread.data.empty() ? nullptr : &scene.spread});
}

}  // namespace assay::diff
