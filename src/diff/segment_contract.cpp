// The contract of an engine whose trace has no product together with what it read: the finest under
// which most recorded outputs fit what leads to them.
#include <algorithm>
#include <map>

#include "diff/contracts.h"
#include "judge/contract.h"

namespace assay::diff {

using judge::Contract, judge::NumberType;
using trace::Trace;

namespace {

/// The coarse type that holds most recorded values; f32 where there is none.
NumberType type_of_results(const Trace& trace) {
  std::map<NumberType, uint64_t> held;
  uint64_t all = 0;
  for (const trace::TraceTensor& tensor : trace.tensors()) {
    const auto values = trace.values(tensor);
    if (!values) continue;
    ++all;
    for (const NumberType type : {NumberType::bf16, NumberType::f16})
      held[type] += judge::holds(type, *values, 0);
  }
  for (const NumberType type : {NumberType::bf16, NumberType::f16})
    if (10 * held[type] > 6 * all) return type;
  return NumberType::f32;
}

/// The declared one first, then from the finest to the coarsest.
std::vector<Contract> candidates(const Trace& trace) {
  std::vector<Contract> out;
  const auto add = [&](const std::optional<Contract>& contract) {
    if (contract && std::ranges::find(out, *contract) == out.end()) out.push_back(*contract);
  };
  add(judge::contract_of(trace.metadata("contract")));
  for (const char* name : {"f32", "assay/1", "ggml-cuda", "ggml-cpu"})
    add(judge::contract_of(name));
  if (const NumberType type = type_of_results(trace); judge::is_coarse(type))
    add(judge::contract_of(judge::name_of(type)));
  return out;
}

}  // namespace

FoundContract find_contract_of_segments(const op::Program& program, const Trace& trace) {
  struct Fits {
    FoundContract found;
    uint64_t passed = 0, all = 0;
    double share() const { return all > 0 ? double(passed) / double(all) : 1; }
  };
  const auto most = uint64_t(std::ranges::count_if(program.operations, [&](const auto& operation) {
    return trace.find(0, operation) != nullptr;
  }));
  const std::string engine = trace.metadata("engine");
  const auto declared = judge::contract_of(trace.metadata("contract"));
  std::vector<Fits> tried;
  for (const Contract& contract : candidates(trace)) {
    Fits fits{{contract, judge::text_of(contract), contract != declared,
               judge::arithmetic_of(contract, engine, trace.metadata("kv"))}};
    // Engines of our own keep what they declare.
    if (contract == declared && engine.starts_with("assay")) return fits.found;
    Chooser chooser(contract);
    Walk walk(program, trace, fits.found.arithmetic);
    walk.compute_missing(first_codings(program, fits.found.text));
    const Status walked = walk.run([&](const Walk::Item& item) {
      if (item.step > 0) return false;
      if (!item.spread || !item.got || item.lacks) return true;
      fits.passed += chooser.look(program, item, fits.found.arithmetic).seen.failures == 0;
      ++fits.all;
      // Until what follows changes nothing.
      return 10 * fits.passed < 6 * most && 10 * (fits.all - fits.passed) <= 4 * most;
    });
    (void)walked;  // what is wrong with the trace, judge_trace says
    // From the finest on: one that most fit holds, and what does not fit it is wrong.
    if (fits.share() >= 0.6) return fits.found;
    tried.push_back(std::move(fits));
  }
  return std::ranges::max_element(tried, {}, &Fits::share)->found;
}

}  // namespace assay::diff
