// The contract of what a trace lacks: the finest under which most recorded outputs fit what leads to
// them.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>

#include "diff/contracts.h"
#include "judge/contract.h"

namespace assay::diff {

using judge::Contract, judge::Family, judge::NumberType;
using trace::Trace;

namespace {

/// How many recorded outputs of a family each coarse type holds.
struct Held {
  uint64_t all = 0;
  std::map<NumberType, uint64_t> of = {};
  bool mostly(NumberType type) const {
    return all > 0 && of.contains(type) && 10 * of.at(type) > 6 * all;
  }
};
constexpr std::array coarse_types = {NumberType::bf16, NumberType::f16};

std::map<Family, Held> held_results(const op::Program& program, const Trace& trace) {
  std::map<Family, Held> out;
  for (const op::Operation& operation : program.operations) {
    const trace::TraceTensor* tensor = trace.find(0, operation);
    if (!tensor) continue;
    const auto values = trace.values(*tensor);
    if (!values) continue;
    Held& held = out[judge::family_of(operation)];
    ++held.all;
    for (const NumberType type : coarse_types) held.of[type] += judge::holds(type, *values, 0);
  }
  return out;
}

/// Of the weights' type that has most.
size_t most_codings(const op::Program& program, const Contract& contract) {
  size_t most = 0;
  for (const op::Operation& operation : program.operations)
    if (op::multiplies(operation))
      most =
          std::max(most, judge::codings(contract, program.weights[operation.weight].type).size());
  return most;
}

class Candidates {
 public:
  Candidates(const op::Program& program, const Trace& trace)
      : held_(held_results(program, trace)) {}

  void add(const std::optional<Contract>& contract) {
    if (contract && std::ranges::find(all, *contract) == all.end()) all.push_back(*contract);
  }
  /// `contract` with coarse results in the families that show them, and in more and more of those of
  /// which nothing was recorded. Those that are `known` stay.
  void add_mixed(const Contract& contract, const std::set<Family>& known) {
    for (const NumberType type : coarse_types) {
      const Contract coarse = *judge::contract_of(judge::name_of(type));
      const auto shows = [&](Family family) { return held_[family].mostly(type); };
      const bool another = std::ranges::any_of(judge::families, [&](Family family) {
        return std::ranges::any_of(coarse_types, [&](NumberType other) {
          return other != type && held_[family].mostly(other);
        });
      });
      if (another) continue;
      Contract mixed = contract;
      for (const Family family : judge::families)
        if (!known.contains(family) && shows(family)) mixed[family] = coarse[family];
      add(mixed);
      for (const Family family : {Family::matmul, Family::attention, Family::elementwise,
                                  Family::rope, Family::norm, Family::residual})
        if (!known.contains(family) && held_[family].all == 0) {
          mixed[family] = coarse[family];
          add(mixed);
        }
    }
  }

  std::vector<Contract> all;

 private:
  std::map<Family, Held> held_;
};

}  // namespace

FoundContract settle_hidden(const op::Program& program, const Trace& trace,
                            const std::optional<FoundContract>& found,
                            const std::set<Family>& known) {
  struct Fits {
    FoundContract found;
    uint64_t passed = 0, all = 0;
    double distance = 0;  ///< Σ(got − want)²/Σ want² of each, added up
    double share() const { return all > 0 ? double(passed) / double(all) : 1; }
    bool fits_better_than(const Fits& other) const {
      return share() > other.share() || (share() == other.share() && distance < other.distance);
    }
  };
  const auto most = uint64_t(std::ranges::count_if(program.operations, [&](const auto& operation) {
    return trace.find(0, operation) != nullptr;
  }));
  const std::string engine = trace.metadata("engine");
  const std::string kv = found ? judge::name_of(found->arithmetic.kv) : trace.metadata("kv");
  const auto declared = judge::contract_of(trace.metadata("contract"));
  const auto fits_of = [&](Fits fits) {
    const FoundContract& one = fits.found;
    Chooser chooser(one.contract);
    Walk walk(program, trace, one.arithmetic);
    walk.compute_missing(hidden_codings(program, one.text, one.hidden_coding));
    const Status walked = walk.run([&](const Walk::Item& item) {
      if (item.step > 0) return false;
      if (!item.spread || !item.got || item.lacks || !Walk::is_finite(item)) return true;
      const Looked looked = chooser.look(program, item, one.arithmetic);
      fits.passed += looked.seen.failures == 0;
      ++fits.all;
      const Judged judged =
          expect(program, item.operation, item.inputs, looked.coding, one.arithmetic);
      fits.distance += nmse(*item.got, judged.want);
      // Until what follows changes nothing.
      return !fits_most(fits.passed, most) && fits_most(most - (fits.all - fits.passed), most);
    });
    (void)walked;  // what is wrong with the trace, judge_trace says
    return fits;
  };
  Candidates candidates(program, trace);
  candidates.add(found ? found->contract : declared);
  if (!found)
    for (const char* name : {"f32", "assay/1", "tf32", "ggml-cuda", "ggml-cpu", "bf16", "f16"})
      candidates.add(judge::contract_of(name));
  if (!found || !declared) candidates.add_mixed(found ? found->contract : Contract{}, known);
  std::vector<Fits> tried;
  for (const Contract& contract : candidates.all) {
    Fits fits{found && contract == found->contract
                  ? *found
                  : FoundContract{contract, judge::text_of(contract), contract != declared,
                                  judge::arithmetic_of(contract, engine, kv)}};
    // Engines of our own keep what they declare.
    if (engine.starts_with("assay") && !fits.found.found) return fits.found;
    const size_t codings = most_codings(program, contract);
    Fits best = fits_of(fits);
    while (++fits.found.hidden_coding < codings)
      if (Fits other = fits_of(fits); other.fits_better_than(best)) best = std::move(other);
    // From the finest on: one that most fit holds, and what does not fit it is wrong.
    if (best.share() >= 0.6) return best.found;
    tried.push_back(std::move(best));
  }
  return std::ranges::max_element(tried, {}, &Fits::share)->found;
}

}  // namespace assay::diff
