// The contract of what a trace lacks, by how recorded outputs fit what leads to them.
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

constexpr std::array coarse_types = {NumberType::bf16, NumberType::f16};

/// How many recorded outputs of a family each coarse type holds.
struct Held {
  uint64_t all = 0;
  std::map<NumberType, uint64_t> of = {};
  /// The type that holds most; f32 where none does.
  NumberType type() const {
    for (const NumberType type : coarse_types)
      if (of.contains(type) && 10 * of.at(type) > 6 * all) return type;
    return NumberType::f32;
  }
};

std::map<Family, Held> held_results(const op::Program& program, const Trace& trace) {
  std::map<Family, Held> out;
  for (const op::Operation& operation : program.operations) {
    const trace::TraceTensor* tensor = trace.find(0, operation);
    // What is stored in few bits does not show what it was computed in.
    if (!tensor || trace.rounding(*tensor) > 0x1p-24) continue;
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
  /// Of families that are `known` the values need not be asked.
  Candidates(const op::Program& program, const Trace& trace, const std::set<Family>& known)
      : held_(held_results(program, trace)), known_(known) {}

  void add(const std::optional<Contract>& contract) {
    if (contract && std::ranges::find(all, *contract) == all.end()) all.push_back(*contract);
  }
  /// Where it keeps results in the types that the recorded values show.
  void add_shown(const Contract& contract) {
    const bool shown = std::ranges::all_of(held_, [&](const auto& one) {
      const auto& [family, held] = one;
      return known_.contains(family) || contract[family].result == held.type();
    });
    if (shown) add(contract);
  }
  /// `contract` with coarse results in the families that show them, and in more and more of those of
  /// which nothing was recorded.
  void add_mixed(const Contract& contract) {
    for (const NumberType type : coarse_types) {
      const Contract coarse = *judge::contract_of(judge::name_of(type));
      Contract mixed = contract;
      for (const auto& [family, held] : held_)
        if (!known_.contains(family) && held.type() == type) mixed[family] = coarse[family];
      add_shown(mixed);
      for (const Family family : {Family::matmul, Family::attention, Family::elementwise,
                                  Family::rope, Family::norm, Family::residual})
        if (!known_.contains(family) && !held_.contains(family)) {
          mixed[family] = coarse[family];
          add_shown(mixed);
        }
    }
  }

  std::vector<Contract> all;

 private:
  const std::map<Family, Held> held_;  // of those of which something was recorded
  const std::set<Family>& known_;
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
      fits.distance += looked.distance;
      // Until what follows changes nothing.
      return !declared ||
             (!fits_most(fits.passed, most) && fits_most(most - (fits.all - fits.passed), most));
    });
    (void)walked;  // what is wrong with the trace, judge_trace says
    return fits;
  };
  Candidates candidates(program, trace, known);
  if (declared) candidates.add(found ? found->contract : declared);
  if (found) candidates.add_shown(found->contract);
  if (!found)
    for (const char* name : {"f32", "assay/1", "tf32", "ggml-cuda", "ggml-cpu", "bf16", "f16"})
      candidates.add_shown(*judge::contract_of(name));
  if (!found || !declared) candidates.add_mixed(found ? found->contract : Contract{});
  if (candidates.all.empty()) candidates.add(found ? found->contract : Contract{});
  std::vector<Fits> tried;
  for (const Contract& contract : candidates.all) {
    Fits fits{found && contract == found->contract
                  ? *found
                  : FoundContract{contract, judge::text_of(contract), contract != declared,
                                  judge::arithmetic_of(contract, engine, kv)}};
    // Engines of our own keep what they declare.
    if (engine.starts_with("assay") && !fits.found.found) return fits.found;
    const size_t codings = most_codings(program, contract);
    if (candidates.all.size() == 1 && codings == 1) return fits.found;  // there is no choice
    Fits best = fits_of(fits);
    while (++fits.found.hidden_coding < codings)
      if (Fits other = fits_of(fits); other.fits_better_than(best)) best = std::move(other);
    // What is declared holds where most fit it, and what does not fit it is wrong. Else it is the
    // finest that all fit.
    if (best.share() >= (declared ? 0.6 : 1)) return best.found;
    tried.push_back(std::move(best));
  }
  return std::ranges::max_element(tried, {}, &Fits::share)->found;
}

}  // namespace assay::diff
