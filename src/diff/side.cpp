#include "diff/side.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>

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

namespace {

/// Remembers which of a contract's codings fitted a weight type last.
class Chooser {
 public:
  explicit Chooser(std::string contract) : contract_(std::move(contract)) {}

  std::pair<Seen, Coding> look(const op::Program& program, const Walk::Item& item,
                               const Arithmetic& arithmetic) {
    if (!op::multiplies(item.operation)) {
      const Judged judged =
          item.within(expect(program, item.operation, item.inputs, {}, arithmetic));
      return {compare(*item.got, judged), {}};
    }
    const uint32_t type = program.weights[item.operation.weight].type;
    const std::vector<Coding> list = judge::codings(contract_, type);
    size_t& preferred = preferred_[type];
    std::pair<Seen, Coding> best;
    for (size_t tried = 0; tried < list.size(); ++tried) {
      const size_t index = (preferred + tried) % list.size();
      const Judged judged =
          item.within(expect(program, item.operation, item.inputs, list[index], arithmetic));
      const Seen seen = compare(*item.got, judged);
      if (tried == 0 || seen.failures < best.first.failures) best = {seen, list[index]};
      if (seen.failures > 0) continue;
      preferred = index;
      break;
    }
    return best;
  }

 private:
  std::string contract_;
  std::map<uint32_t, size_t> preferred_;
};

}  // namespace

Lockstep::CodingOf first_codings(const op::Program& program, const std::string& contract) {
  return [&program, contract](size_t operation) {
    const op::Operation& one = program.operations[operation];
    return op::multiplies(one) ? judge::codings(contract, program.weights[one.weight].type)[0]
                               : Coding();
  };
}

/// Those that read what an operation gives, or keeps in a cache.
static std::vector<size_t> readers_of(const op::Program& program, size_t index) {
  const op::Operation& operation = program.operations[index];
  const auto* store = operation.as<op::KvStore>();
  std::vector<size_t> out;
  for (size_t i = index + 1; i < program.operations.size(); ++i) {
    const auto* attend = program.operations[i].as<op::Attend>();
    if (store ? attend && attend->cache == store->cache
              : std::ranges::find(program.operations[i].inputs, operation.output) !=
                    program.operations[i].inputs.end())
      out.push_back(i);
  }
  return out;
}

bool was_recorded(const op::Program& program, const Side& side, size_t operation) {
  return side.operations[operation].seen.elements > 0 &&
         !op::row_of(program.operations[operation]).moves;
}

std::vector<size_t> segment_of(const op::Program& program, const Side& side, size_t operation) {
  std::vector<bool> inside(program.operations.size(), false);
  inside[operation] = true;
  std::vector<size_t> out;
  for (size_t i = operation; i-- > 0;) {
    const op::Operation& one = program.operations[i];
    if (was_recorded(program, side, i)) continue;
    inside[i] = std::ranges::any_of(readers_of(program, i), [&](size_t r) { return inside[r]; });
    if (inside[i] && !one.is<op::KvStore>() && !op::row_of(one).moves) out.push_back(i);
  }
  std::ranges::reverse(out);
  return out;
}

size_t opened_by(const op::Program& program, const Side& side, size_t operation) {
  std::vector<bool> inside(program.operations.size(), false);
  inside[operation] = true;
  for (size_t i = operation; i-- > 0;) {
    inside[i] = std::ranges::any_of(readers_of(program, i), [&](size_t r) { return inside[r]; });
    if (inside[i] && was_recorded(program, side, i)) return i;
  }
  return op::none;
}

size_t next_to_record(const op::Program& program, const std::vector<size_t>& segment) {
  size_t best = segment.front(), least = SIZE_MAX;
  for (const size_t middle : segment) {
    std::vector<bool> before(program.operations.size(), false);
    before[middle] = true;
    size_t count = 0;
    for (size_t i = middle; i-- > segment.front();) {
      before[i] = std::ranges::any_of(readers_of(program, i), [&](size_t r) { return before[r]; });
      count += before[i] && std::ranges::find(segment, i) != segment.end();
    }
    // With it recorded, those before it close there, and the others close as they do now.
    const size_t larger = std::max(count, segment.size() - count - 1);
    if (larger >= least) continue;
    least = larger;
    best = middle;
  }
  return best;
}

/// What was not recorded is judged with what was and reads it.
static void settle_segments(const op::Program& program, Side& side) {
  std::vector<size_t> closed_by(side.operations.size(), op::none);
  for (size_t i = side.operations.size(); i-- > 0;) {
    if (was_recorded(program, side, i)) continue;
    for (const size_t reader : readers_of(program, i))
      closed_by[i] =
          std::min(closed_by[i], was_recorded(program, side, reader) ? reader : closed_by[reader]);
    JudgedOperation& judged = side.operations[i];
    if (judged.verdict != Verdict::unmeasured) continue;
    if (closed_by[i] == op::none) {
      judged.after_record = program.operations[i].layer == op::none;
      continue;
    }
    const std::string& name = program.operations[closed_by[i]].name;
    const Verdict verdict = side.operations[closed_by[i]].verdict;
    if (verdict == Verdict::pass) judged.verdict = Verdict::pass;
    judged.why = verdict == Verdict::pass ? fmt::format("judged with {}", name)
                 : verdict == Verdict::fail
                     ? fmt::format("not recorded; {}, which it leads to, is wrong", name)
                     : judged.why;
  }
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

/// "assay/1" of "assay/1 kv=f32".
static std::string declared_name(const Trace& trace) {
  const std::string declared = trace.metadata("contract");
  return declared.substr(0, declared.find(' '));
}

/// "f16" or "f32": as the trace says, else as the keys that it shows in its cache are (all but one in
/// 200, which may be wrong); "" unknown.
static std::string cache_type(const Trace& trace) {
  if (const std::string stated = trace.metadata("kv"); !stated.empty()) return stated;
  const auto* keys = trace.find(0, "blk.0.kv_k");
  if (!keys) return "";
  const auto values = trace.values(*keys);
  if (!values) return "";
  const auto others = std::ranges::count_if(
      values->data, [](double x) { return x != judge::round_to_f16(x) && !std::isnan(x); });
  return uint64_t(others) * 200 <= values->data.size() ? "f16" : "f32";
}

std::string find_contract(const op::Program& program, const Trace& trace) {
  const std::string declared = declared_name(trace);
  std::vector<std::string> names;
  if (std::ranges::find(judge::contracts(), declared) != judge::contracts().end())
    names.push_back(declared);
  for (const std::string_view name : judge::contracts())
    if (name != declared && name != "exact") names.emplace_back(name);
  std::map<std::string, uint64_t> passes, asked;
  const std::string engine = trace.metadata("engine"), kv = cache_type(trace);
  for (const std::string& name : names) {
    const Arithmetic arithmetic = judge::arithmetic_of(name, engine, kv);
    Chooser chooser(name);
    Walk walk(program, trace, arithmetic);
    walk.compute_missing(first_codings(program, name));
    const Status walked = walk.run([&](const Walk::Item& item) {
      if (item.step > 0 || (item.operation.layer != op::none && item.operation.layer > 1))
        return false;
      // What rounds differently from contract to contract. Weights of floats fit several.
      const bool tells =
          op::multiplies(item.operation) || item.operation.is<op::Attend>() || item.spread;
      if (tells && item.got && !item.lacks) {
        passes[name] += chooser.look(program, item, arithmetic).first.failures == 0;
        ++asked[name];
      }
      return true;
    });
    (void)walked;  // what is wrong with the trace, judge_trace says
    if (name == declared && 2 * passes[name] > asked[name]) return name;
  }
  std::string best = names[0];
  for (const std::string& name : names)
    if (passes[name] > passes[best]) best = name;
  return best;
}

/// "F16" or "BF16": the first such type of an output.
static std::string narrow_type(const Trace& trace) {
  for (const auto& tensor : trace.tensors())
    if (trace.rounding(tensor) > 0x1p-24) return trace.type_of(tensor);
  return "";
}

Result<Side> judge_trace(const op::Program& program, const Trace& trace) {
  if (trace.holds_statistics())
    return Error{
        fmt::format("{}: the trace holds statistics, not values: it can be shown, not judged; "
                    "record it without "
                    "--stats",
                    trace.path())};
  const std::string kv = cache_type(trace);
  if (!kv.empty() && kv != "f16" && kv != "f32")
    return Error{fmt::format("{}: its cache is of type '{}'; only f16 and f32 can be judged",
                             trace.path(), kv)};
  Side side;
  side.engine = trace.metadata("engine").empty() ? "unknown engine" : trace.metadata("engine");
  side.declared = trace.metadata("contract");
  side.contract = find_contract(program, trace);
  side.found = declared_name(trace) != side.contract;
  side.arithmetic = judge::arithmetic_of(side.contract, side.engine, kv);
  side.operations.resize(program.operations.size());
  Chooser chooser(side.contract);
  Walk walk(program, trace, side.arithmetic);
  walk.compute_missing(first_codings(program, side.contract));
  const Status walked = walk.run([&](const Walk::Item& item) {
    JudgedOperation& judged = side.operations[item.index];
    if (!item.got || item.lacks) {
      if (judged.verdict == Verdict::pass) judged.verdict = Verdict::unmeasured;
      judged.why = !item.got ? trace.why_missing(item.step, item.operation)
                             : fmt::format("its input {} is missing", *item.lacks);
      if (item.step > 0) judged.why += fmt::format(" (step {})", item.step);
      return true;
    }
    const auto [seen, coding] = chooser.look(program, item, side.arithmetic);
    judged.seen.add(seen);
    judged.coding = coding;
    if (seen.failures > 0 && item.narrow && seen.not_finite == 0) {
      if (judged.verdict == Verdict::pass) judged.verdict = Verdict::unmeasured;
      judged.why = "what it reads or gives is stored in too few bits";
      if (side.narrow.empty()) side.narrow = narrow_type(trace);
    } else if (seen.failures > 0 && seen.failures == seen.undefined) {
      if (judged.verdict != Verdict::fail) judged.verdict = Verdict::unmeasured;
      if (judged.why.empty())
        judged.why = fmt::format("{} of {} elements have no finite exact result{}", seen.undefined,
                                 seen.elements,
                                 item.operation.is<op::Attend>() && side.arithmetic.f16_cache
                                     ? ", as keys and values beyond 65504 are infinite in an f16 "
                                       "cache; --kv f32 avoids it"
                                     : "");
    } else if (seen.failures > 0) {
      judged.verdict = Verdict::fail;
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
  walk.compute_missing(first_codings(program, side.contract));
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
  Chooser chooser(side.contract);
  Walk walk(program, trace, side.arithmetic);
  walk.compute_missing(first_codings(program, side.contract));
  const Status walked = walk.run([&](const Walk::Item& item) {
    if (item.step != step || item.index != operation) return true;
    scene.step = step;
    scene.operation = operation;
    scene.tokens = trace.steps()[step];
    for (const Table* value : item.inputs.values) scene.inputs.push_back(*value);
    if (item.got) scene.output = *item.got;
    scene.caches = item.inputs.caches[0];
    if (item.lacks) missing = *item.lacks;
    if (item.got && !item.lacks) scene.coding = chooser.look(program, item, side.arithmetic).second;
    scene.arithmetic = side.arithmetic;
    scene.contract = side.contract;
    scene.rounding = item.rounding;
    if (item.spread) scene.spread = *item.spread;
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
  const op::Operation& operation = program.operations[scene.operation];
  const Walk::Item item{.step = scene.step,
                        .index = scene.operation,
                        .operation = operation,
                        .inputs = inputs,
                        .got = &scene.output,
                        .lacks = nullptr,
                        .rounding = scene.rounding,
                        .spread = scene.spread.data.empty() ? nullptr : &scene.spread};
  return item.within(expect(program, operation, inputs, scene.coding, scene.arithmetic));
}

}  // namespace assay::diff
