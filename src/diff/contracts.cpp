#include "diff/contracts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <utility>

#include "op/kinds.h"

namespace assay::diff {

using judge::Contract, judge::Family, judge::NumberType, judge::Roundings;
using trace::Trace;

Judged widened(Judged judged, const Allowance& by) {
  const bool adds = by.rounding > 0 || by.terms;
  if (adds && judged.slack.data.empty()) judged.slack = Table(judged.want.rows, judged.want.width);
  for (size_t i = 0; by.terms && i < judged.want.data.size(); ++i)
    judged.slack.data[i] += by.terms->size.data[i] * by.terms->additions * judge::half_ulp(by.type);
  const double least = by.rounding == 0x1p-11 ? 0x1p-25 : 0;  // f16's fixed unit below 2^-14
  for (size_t i = 0; by.rounding > 0 && i < judged.want.data.size(); ++i)
    judged.slack.data[i] += std::max(std::fabs(judged.want.data[i]) * by.rounding, least);
  if (!by.spread) return judged;
  const Judged own = judged;
  judged.limit = Table(own.want.rows, own.want.width);
  for (uint64_t t = 0; t < own.want.rows; ++t)
    for (uint64_t i = 0; i < own.want.width; ++i) {
      // A term of 0 has no u: the spread counts as one.
      double& scale = judged.scale.row(t)[i];
      const double away = by.spread->row(t)[i];
      if (scale == 0) scale = away;
      judged.limit.row(t)[i] = own.limit_at(t, i) + (scale == 0 ? 0 : away / (judge::unit * scale));
    }
  return judged;
}

Lockstep::CodingOf hidden_codings(const op::Program& program, const std::string& contract,
                                  size_t n) {
  return [&program, contract, n](size_t operation) {
    const op::Operation& one = program.operations[operation];
    if (!op::multiplies(one)) return Coding();
    const auto list = judge::codings(contract, program.weights[one.weight].type);
    return list[n < list.size() ? n : 0];
  };
}

namespace {

/// The RMS of the limits over that of the values.
double hidden_of(const Judged& judged) {
  double off = 0, size = 0;
  for (uint64_t t = 0; t < judged.want.rows; ++t)
    for (uint64_t i = 0; i < judged.want.width; ++i) {
      const double limit = judged.limit_at(t, i) * judge::unit * judged.scale.row(t)[i];
      off += limit * limit;
      size += judged.want.row(t)[i] * judged.want.row(t)[i];
    }
  return size > 0 && std::isfinite(off / size) ? std::sqrt(off / size) : 0;
}

}  // namespace

Looked Chooser::look(const op::Program& program, const Walk::Item& item,
                     const Arithmetic& arithmetic) {
  const auto under = [&](const Coding& coding) {
    const Roundings& roundings = arithmetic[judge::family_of(item.operation)];
    const Judged judged = widened(expect(program, item.operation, item.inputs, coding, arithmetic),
                                  {.rounding = item.rounding,
                                   .terms = item.terms,
                                   .type = roundings.result,
                                   .spread = item.spread});
    return Looked{compare(*item.got, judged), coding, roundings.is_coarse() ? hidden_of(judged) : 0,
                  nmse(*item.got, judged.want)};
  };
  if (!op::multiplies(item.operation)) return under({});
  const uint32_t type = program.weights[item.operation.weight].type;
  const std::vector<Coding> list = judge::codings(contract_, type);
  const auto known = preferred_.find(type);
  const size_t preferred = known == preferred_.end() ? 0 : known->second;
  Looked best, usual;
  for (size_t tried = 0; tried < list.size(); ++tried) {
    const size_t index = (preferred + tried) % list.size();
    Looked looked = under(list[index]);
    if (looked.seen.failures == 0) {
      preferred_[type] = index;
      return looked;
    }
    if (tried == 0) usual = looked;
    if (tried == 0 || looked.seen.failures < best.seen.failures) best = std::move(looked);
  }
  // Where nearly all is wrong under any, it is wrong under the one that other products fitted.
  const bool as_wrong = usual.seen.failures * 10 <= best.seen.failures * 11;
  return known != preferred_.end() && as_wrong ? usual : best;
}

void Chooser::prefer(uint32_t weight_type, const Coding& coding) {
  const std::vector<Coding> list = judge::codings(contract_, weight_type);
  const auto found = std::ranges::find(list, coding);
  if (found != list.end()) preferred_[weight_type] = size_t(found - list.begin());
}

namespace {

/// How many operations of a family need not fit its contract: those are wrong.
uint64_t may_be_wrong(uint64_t count) {
  return count < 3 ? 0 : std::max<uint64_t>(1, count / 10);
}
/// Multiplications that are tried, under each coding, and attentions.
constexpr uint64_t enough_work = 300'000'000, enough_attentions = 256;

/// The coarsest type that holds the values of a result; f32 where there is none, or nothing to tell.
NumberType type_of_values(const Table& values, uint64_t first_column) {
  const bool nothing =
      std::ranges::all_of(values.data, [](double x) { return x == 0 || !std::isfinite(x); });
  if (nothing) return NumberType::f32;
  for (const NumberType type :
       {NumberType::e5m2, NumberType::e4m3, NumberType::bf16, NumberType::f16})
    if (judge::holds(type, values, first_column)) return type;
  return NumberType::f32;
}

/// The inner arithmetic that a family of this result type may have, finest first; each has the
/// roundings of the one before, and more.
std::vector<Roundings> ladder(Family family, NumberType result) {
  std::vector<Roundings> out(1);
  out[0].result = result;
  const auto add = [&](std::initializer_list<NumberType Roundings::*> coarser, NumberType type) {
    Roundings next = out.back();
    for (const auto field : coarser) next.*field = type;
    out.push_back(next);
  };
  if (family == Family::attention && !judge::is_coarse(result)) {
    for (const NumberType type : {NumberType::f16, NumberType::bf16}) {
      add({&Roundings::weights}, type);
      add({&Roundings::inputs}, type);
    }
    return out;
  }
  if (!judge::is_coarse(result)) return out;
  switch (family) {
    case Family::attention:
      add({&Roundings::inputs, &Roundings::weights}, result);
      add({&Roundings::products}, result);
      add({&Roundings::sums}, result);
      break;
    case Family::norm:
      add({&Roundings::weights}, result);
      add({&Roundings::products}, result);
      add({&Roundings::sums}, result);
      break;
    case Family::rope:
      add({&Roundings::weights, &Roundings::products}, result);
      break;
    case Family::residual:
      add({&Roundings::products, &Roundings::sums}, result);
      break;
    case Family::elementwise:
      add({&Roundings::products}, result);
      add({&Roundings::sums}, result);
      break;
    case Family::matmul:
      break;
  }
  return out;
}

/// What matmuls may read and sum up, beside the codings of the bases: the arithmetic of the family,
/// and how activations are coded.
struct Products {
  Roundings roundings;
  std::optional<Coding> activations = {};
};
std::vector<Products> written_products(NumberType result) {
  constexpr NumberType f32 = NumberType::f32, f16 = NumberType::f16, bf16 = NumberType::bf16,
                       tf32 = NumberType::tf32;
  std::vector<Products> out;
  const auto add = [&](NumberType inputs, NumberType weights, const char* coded = nullptr,
                       NumberType sums = NumberType::f32) {
    Roundings r{.inputs = inputs, .weights = weights};
    r.sums = sums;
    r.result = result;
    out.push_back({r, coded ? judge::coding_named(coded) : std::optional<Coding>()});
  };
  for (const NumberType type : {bf16, f16}) {
    if (type == result) add(type, type);  // what is read is of the type that results are
    add(f32, type);
    add(type, f32);
    if (type != result) add(type, type);
  }
  add(tf32, tf32);
  for (const char* coded : {"int8/32", "int8/row", "int8/tensor", "int8/64", "int8/128", "int8/256",
                            "e4m3/row", "e4m3/tensor", "e4m3/128", "e5m2/row", "e5m2/tensor"})
    for (const NumberType weights : {f32, bf16, f16}) add(f32, weights, coded);
  for (const NumberType type : {NumberType::e4m3, NumberType::e5m2}) {
    for (const NumberType weights : {f32, bf16, f16}) add(type, weights);
    add(type, type);
  }
  if (!judge::is_coarse(result)) return out;
  // Results are no finer than the sums. The worst order proves little: these come last.
  for (const NumberType weights : {result, f32}) add(result, weights, nullptr, result);
  return out;
}

/// How the operations of one family fit the steps of its ladder.
struct Votes {
  std::vector<std::pair<NumberType, size_t>> of;  ///< result type, the finest step that fits
  static constexpr size_t none = SIZE_MAX;

  /// The type of most results.
  NumberType type() const {
    std::map<NumberType, uint64_t> count;
    for (const auto& [type, step] : of) ++count[type];
    NumberType best = NumberType::f32;
    for (const auto& [type, n] : count)
      if (n > count[best]) best = type;
    return best;
  }
  /// The finest step that all of those fit which fit any; 0 where few fit any. A few that need
  /// another type than their results are of, or coarse sums, are wrong instead: such steps are wide.
  size_t step(Family family, NumberType type) const {
    const std::vector<Roundings> steps = ladder(family, type);
    std::map<size_t, uint64_t> count;
    uint64_t all = 0, fitting = 0;
    for (const auto& [one, step] : of) {
      if (one != type) continue;
      ++all;
      if (step == none) continue;
      ++fitting;
      ++count[step];
    }
    if (!fits_most(fitting, all)) return 0;
    uint64_t coarser = 0;
    while (!count.empty()) {
      const auto [step, n] = *count.rbegin();
      coarser += n;
      const bool wide = !judge::is_coarse(type) || judge::is_coarse(steps[step].sums);
      if (!wide || coarser > may_be_wrong(fitting)) return step;
      count.erase(step);
    }
    return 0;
  }
  bool any() const {
    return std::ranges::any_of(of, [](const auto& vote) { return vote.second != none; });
  }
  /// How many results of this type fit this step or a finer one.
  uint64_t fitting(NumberType type, size_t at_most) const {
    return uint64_t(std::ranges::count_if(of, [&](const auto& vote) {
      return vote.first == type && vote.second != none && vote.second <= at_most;
    }));
  }
};

/// An attention of the trace with the keys and values that its cache was given, or shows.
struct AttentionSample {
  const op::Operation* operation;
  trace::TraceStep step;
  Table queries, got, keys, values;
  bool shown = false;  ///< the trace shows what the cache holds
};

/// A product with what it read.
struct ProductSample {
  const op::Operation* operation;
  trace::TraceStep step;
  std::vector<Table> inputs;
  Table got;
  NumberType result;
};

class Finder {
 public:
  Finder(const op::Program& program, const Trace& trace)
      : program_(program), trace_(trace), engine_(trace.metadata("engine")) {
    if (const auto declared = judge::contract_of(trace.metadata("contract"))) declared_ = declared;
    if (declared_) bases_.push_back(*declared_);
    for (const std::string_view name : judge::contracts())
      if (name != "exact" && (!declared_ || *judge::contract_of(name) != *declared_))
        bases_.push_back(*judge::contract_of(name));
    passes_.resize(bases_.size());
    for (auto& fits : base_fits_) fits.resize(bases_.size());
    own_ = engine_.starts_with("assay");
  }

  bool saw_products() const { return !products_.empty(); }
  /// The families of which the trace has operations together with what they read.
  std::set<Family> known() const {
    std::set<Family> out;
    for (const Family family : judge::families)
      if (!votes_[size_t(family)].of.empty()) out.insert(family);
    if (!products_.empty()) out.insert(Family::matmul);
    if (!attentions_.empty()) out.insert(Family::attention);
    return out;
  }
  FoundContract find() {
    look();
    settle_cache();
    if (narrow_ && !fits_most(sums_.passed, sums_.all)) {
      contract_ = declared_.value_or(Contract{});
      if (!kv_known_) kv_ = arithmetic(contract_).kv;
      return found();
    }
    settle_base();
    settle_matmul();
    settle_attention();
    for (const Family family : {Family::norm, Family::rope, Family::residual, Family::elementwise})
      settle(family);
    // What is of a type already is kept in it.
    const NumberType kept = contract_[Family::matmul].result;
    if (kv_ == Coding{} && judge::is_coarse(kept) && contract_[Family::rope].result == kept)
      kv_.type = kept;
    return found();
  }

 private:
  FoundContract found() const {
    FoundContract out{contract_, "", true, {}};
    name_cache(out.contract);
    out.text = judge::text_of(out.contract);
    out.arithmetic = judge::arithmetic_of(out.contract, engine_, judge::name_of(kv_));
    if (declared_) {
      Contract said = *declared_;
      said.kv = out.contract.kv;
      out.found = said != out.contract;
    }
    return out;
  }

  Arithmetic arithmetic(const Contract& contract) const {
    return judge::arithmetic_of(contract, engine_, trace_.metadata("kv"));
  }
  bool fits(const op::Operation& operation, const Inputs& inputs, const Contract& contract,
            const Coding& coding = {}, const Terms* terms = nullptr) const {
    Judged judged = expect(program_, operation, inputs, coding, arithmetic(contract));
    if (terms)
      judged = widened(std::move(judged),
                       {.terms = terms, .type = contract[judge::family_of(operation)].result});
    return compare(*inputs.got, judged).failures == 0;
  }

  /// Tries every operation but products and attentions, which are remembered.
  void look() {
    Walk walk(program_, trace_, arithmetic(bases_[0]));
    const Status walked = walk.run([&](const Walk::Item& item) {
      if (item.operation.is<op::KvStore>()) remember_cache(item);
      narrow_ = narrow_ || item.rounding > 0;
      if (!item.got || item.lacks || op::row_of(item.operation).moves) return true;
      if (!Walk::is_finite(item)) {  // it fits no arithmetic
        const bool shows = std::ranges::any_of(item.got->data,
                                               [](double x) { return x != 0 && std::isfinite(x); });
        if (shows)
          unread_[size_t(judge::family_of(item.operation))].of.push_back(
              {result_of(item), Votes::none});
        return true;
      }
      if (op::multiplies(item.operation))
        remember_product(item);
      else if (item.operation.is<op::Attend>())
        remember_attention(item);
      else if (!item.operation.is<op::KvStore>())
        look_at(item);
      return true;
    });
    (void)walked;  // what is wrong with the trace, judge_trace says
  }

  NumberType result_of(const Walk::Item& item) const {
    const auto* route = item.operation.as<op::Route>();
    return own_ ? NumberType::f32 : type_of_values(*item.got, route ? route->used : 0);
  }

  /// The first ones, those of layers before the logits.
  void remember_product(const Walk::Item& item) {
    const op::Weight& weight = program_.weights[item.operation.weight];
    const bool first = item.operation.layer != op::none && item.operation.layer < 2;
    if (item.step > 0 || item.operation.layer == op::none || (work_ > enough_work && !first))
      return;
    work_ += weight.rows * weight.columns * item.got->rows;
    ProductSample sample{
        &item.operation, trace_.steps()[item.step], {}, *item.got, result_of(item)};
    for (const Table* input : item.inputs.values) sample.inputs.push_back(*input);
    products_.push_back(std::move(sample));
  }

  bool fits_sample(const ProductSample& sample, const Contract& contract) const {
    Inputs inputs{{}, sample.step.view(), {}, &sample.got};
    for (const Table& input : sample.inputs) inputs.values.push_back(&input);
    return std::ranges::any_of(
        judge::codings(contract, program_.weights[sample.operation->weight].type),
        [&](const Coding& coding) { return fits(*sample.operation, inputs, contract, coding); });
  }

  void remember_cache(const Walk::Item& item) {
    Stored& stored = stored_[item.operation.as<op::KvStore>()->cache];
    const bool shown = item.got != nullptr && !item.got->data.empty();
    stored.shown = shown;
    if (item.lacks && !shown) return;
    const uint64_t key_width = program_.values[item.operation.inputs[0]].width;
    const auto append = [](Table& to, std::span<const double> row) {
      to.width = row.size();
      ++to.rows;
      to.data.insert(to.data.end(), row.begin(), row.end());
    };
    const uint64_t rows = trace_.steps()[item.step].tokens.size();
    const uint64_t before = shown ? item.got->rows - rows : 0;  // a cache may be shown whole
    for (uint64_t t = 0; t < rows; ++t) {
      append(stored.keys, shown ? item.got->row(before + t).first(key_width)
                                : std::as_const(*item.inputs.values[0]).row(t));
      append(stored.values, shown ? item.got->row(before + t).subspan(key_width)
                                  : std::as_const(*item.inputs.values[1]).row(t));
    }
    if (!shown || item.lacks) return;
    for (size_t i = 0; i < caches_.size(); ++i) {
      Contract contract;
      contract.kv = caches_[i];
      const Judged judged = expect(program_, item.operation, item.inputs, {},
                                   judge::arithmetic_of(contract, engine_, ""));
      const Seen seen = compare(*item.got, judged);
      kept_[i] += seen.failures * 200 <= seen.elements;
    }
    ++shown_;
  }

  void remember_attention(const Walk::Item& item) {
    const Stored& stored = stored_[item.operation.as<op::Attend>()->cache];
    if (stored.keys.rows == 0 || attentions_.size() >= enough_attentions) return;
    attentions_.push_back({&item.operation, trace_.steps()[item.step], *item.inputs.values[0],
                           *item.got, stored.keys, stored.values, stored.shown});
  }

  void look_at(const Walk::Item& item) {
    const Family family = judge::family_of(item.operation);
    const NumberType result = result_of(item);
    Contract contract;
    const std::vector<Roundings> steps = own_ ? std::vector<Roundings>(1) : ladder(family, result);
    size_t fitting = Votes::none;
    for (size_t i = 0; i < steps.size() && fitting == Votes::none; ++i) {
      contract[family] = steps[i];
      if (fits(item.operation, item.inputs, contract, {}, item.terms)) fitting = i;
    }
    votes_[size_t(family)].of.push_back({result, fitting});
    if (item.operation.is<op::Add>()) sums_.add(fitting != Votes::none);
    // Bases differ in the activations, and in what is looked at elsewhere.
    const bool activates = item.operation.is<op::Gate>() || item.operation.is<op::Activate>();
    for (size_t i = 0; i < bases_.size(); ++i)
      if (activates || (declared_ && i == 0))
        base_fits_[size_t(family)][i].add(
            fits(item.operation, item.inputs, bases_[i], {}, item.terms));
  }

  /// Whether an attention fits under a cache's coding.
  bool attends(const AttentionSample& sample, const Coding& kv, const Contract& contract) const {
    Table keys = sample.keys, values = sample.values;
    judge::Decoded k{keys, {}}, v{values, {}};
    if (!sample.shown) {
      k = judge::decoded(keys, kv);
      v = judge::decoded(values, kv);
    }
    Caches caches(program_.caches.size());
    judge::Cache& cache = caches[sample.operation->as<op::Attend>()->cache];
    for (uint64_t p = 0; p < keys.rows; ++p) {
      cache.store(uint32_t(p), std::as_const(k.values).row(p), std::as_const(v.values).row(p));
      if (k.slack.data.empty() && v.slack.data.empty()) continue;
      const auto slack = [p](const judge::Decoded& one) {
        return one.slack.data.empty()
                   ? std::vector<double>(one.values.width, 0.0)
                   : std::vector<double>(one.slack.row(p).begin(), one.slack.row(p).end());
      };
      cache.allow(slack(k), slack(v));
    }
    const Inputs inputs{{&sample.queries}, sample.step.view(), {&caches, 1}, &sample.got};
    return fits(*sample.operation, inputs, contract);
  }

  NumberType result_of(const AttentionSample& sample) const {
    return own_ ? NumberType::f32 : type_of_values(sample.got, 0);
  }

  /// The finest step of the ladder that each attention fits.
  Votes attention_votes(const Coding& kv, size_t samples) const {
    Votes votes;
    for (size_t i = 0; i < std::min(samples, attentions_.size()); ++i) {
      const NumberType result = result_of(attentions_[i]);
      const auto steps = own_ ? std::vector<Roundings>(1) : ladder(Family::attention, result);
      size_t fitting = Votes::none;
      for (size_t step = 0; step < steps.size() && fitting == Votes::none; ++step) {
        Contract contract;
        contract[Family::attention] = steps[step];
        if (attends(attentions_[i], kv, contract)) fitting = step;
      }
      votes.of.push_back({result, fitting});
    }
    return votes;
  }

  /// How keys and values are kept: as the trace says, as what it shows of the cache is, or as
  /// attention fits best.
  void settle_cache() {
    if (const auto stated = judge::coding_named(trace_.metadata("kv"))) {
      kv_ = *stated;
      return;
    }
    if (shown_ > 0) {
      const size_t best = size_t(std::ranges::max_element(kept_) - kept_.begin());
      // The finest that holds what is shown; where nothing does, what attention reads is there.
      kv_ = kept_[best] > 0 ? caches_[best] : caches_[0];
      kv_known_ = true;
      return;
    }
    if (declared_ && declared_->kv) {
      kv_ = *declared_->kv;
      return;
    }
    kv_known_ = false;
    hint_ = cache_of_first_token();
  }

  /// The first token attends to itself alone, so its result is its value as the cache keeps it: the
  /// finest coding that most of them fit. Nothing where that is f32: so fits what is kept already.
  std::optional<Coding> cache_of_first_token() const {
    std::vector<uint64_t> fitting(caches_.size());
    uint64_t all = 0;
    for (AttentionSample sample : attentions_) {
      if (sample.shown || sample.step.positions[0] != 0) continue;
      Contract contract;
      contract[Family::attention].result = result_of(sample);
      sample.step.tokens.resize(1);
      sample.step.positions.resize(1);
      for (Table* table : {&sample.queries, &sample.got, &sample.keys, &sample.values}) {
        table->rows = 1;
        table->data.resize(table->width);
      }
      for (size_t i = 0; i < caches_.size(); ++i)
        fitting[i] += attends(sample, caches_[i], contract);
      ++all;
    }
    const auto most = std::ranges::max_element(fitting);
    if (all == 0 || !fits_most(*most, all) || most == fitting.begin()) return std::nullopt;
    return caches_[size_t(most - fitting.begin())];
  }

  /// Of the bases, the one that most products and attentions fit. The first of equals.
  void settle_base() {
    Votes types;
    for (const ProductSample& sample : products_) types.of.push_back({sample.result, 0});
    for (size_t i = 0; i < bases_.size(); ++i) {
      // Bases keep their results in f32: only f32's may have them rounded, if none is declared.
      const bool declared = declared_ && i == 0;
      uint64_t asked = products_.size();
      if (judge::is_coarse(types.type()) && !declared && bases_[i] != Contract{}) continue;
      for (const ProductSample& sample : products_) {
        Contract contract = bases_[i];
        Roundings& r = contract[Family::matmul];
        r.result = judge::coarser(r.result, sample.result);
        passes_[i].products += fits_sample(sample, contract);
      }
      const Coding kv = kv_known_ ? kv_ : hint_.value_or(arithmetic(bases_[i]).kv);
      for (const AttentionSample& sample : attentions_) {
        Contract contract = bases_[i];
        Roundings& r = contract[Family::attention];
        r.result = judge::coarser(r.result, result_of(sample));
        if (sample.operation->layer >= 2) continue;
        passes_[i].attentions += attends(sample, kv, contract);
        ++asked;
      }
      if (declared && 2 * passes_[0].sum() > asked) break;  // what is declared and fits most, holds
    }
    size_t best = 0;
    for (size_t i = 1; i < bases_.size(); ++i)
      if (passes_[i].sum() > passes_[best].sum()) best = i;
    contract_ = bases_[best];
    base_ = best;
  }

  void settle_matmul() {
    if (own_ || products_.empty()) return;
    Votes types;
    for (const ProductSample& sample : products_) types.of.push_back({sample.result, 0});
    const NumberType result = types.type();
    const uint64_t all = products_.size();
    Roundings& r = contract_[Family::matmul];
    const bool base_is_good = passes_[base_].products == all;
    uint64_t most = 0;
    const auto better = base_is_good ? std::optional<Products>() : best_written(result, most);
    // What is declared stays where most fit it.
    const bool keeps = declared_ && base_ == 0 && fits_most(passes_[0].products, all);
    if (better && !keeps && most > passes_[base_].products && fits_most(most, all)) {
      if (base_ > 0 || !declared_) contract_ = Contract{};
      contract_.base = "f32";
      contract_.activations = better->activations;
      contract_[Family::matmul] = better->roundings;
      return;
    }
    r.result = judge::coarser(r.result, result);
  }

  /// Of the written codings, the first of those that most products fit; `most` do.
  std::optional<Products> best_written(NumberType result, uint64_t& most) const {
    std::optional<Products> best;
    for (const Products& products : written_products(result)) {
      const bool last_resort = judge::is_coarse(products.roundings.sums);
      if (last_resort && fits_most(std::max(most, passes_[base_].products), products_.size()))
        break;
      Contract contract;
      contract[Family::matmul] = products.roundings;
      contract.activations = products.activations;
      uint64_t passed = 0, tried = 0;
      for (const ProductSample& sample : products_) {
        // What fits none of the first four, most will not fit.
        if (tried++ == 4 && passed == 0) break;
        passed += fits_sample(sample, contract);
      }
      if (passed <= most) continue;
      most = passed;
      best = products;
      if (passed == products_.size()) break;
    }
    return best;
  }

  void settle_attention() {
    if (attentions_.empty()) {
      if (!kv_known_) kv_ = arithmetic(contract_).kv;
      return settle_unread(Family::attention);
    }
    const uint64_t all = attentions_.size();
    const auto count = [&](const Coding& kv, const Contract& contract) {
      return uint64_t(std::ranges::count_if(attentions_, [&](const AttentionSample& sample) {
        return attends(sample, kv, contract);
      }));
    };
    Contract contract = contract_;
    Votes types;
    for (const AttentionSample& sample : attentions_)
      types.of.push_back({result_of(sample), Votes::none});
    const NumberType result = types.type();
    Roundings& r = contract[Family::attention];
    r.result = judge::coarser(r.result, result);
    if (!kv_known_) kv_ = hint_.value_or(arithmetic(contract_).kv);
    if (own_ || count(kv_, contract) + may_be_wrong(all) >= all) {
      contract_ = contract;
      return;
    }
    std::vector<Coding> tried = {kv_};
    if (!kv_known_) tried.insert(tried.end(), caches_.begin(), caches_.end());
    // Of the codings, the one under which attention is finest: what fits none counts as far off.
    double least = INFINITY;
    Votes votes;
    Coding kept = kv_;
    for (const Coding& kv : tried) {
      const Votes these = attention_votes(kv, enough_attentions);
      double sum = 0;
      for (const auto& [type, step] : these.of) sum += step == Votes::none ? 1000 : double(step);
      if (!(sum < least)) continue;
      least = sum;
      votes = these;
      kept = kv;
    }
    if (!votes.any()) {
      contract_ = contract;
      return;
    }
    kv_ = kept;
    contract_[Family::attention] = chosen(Family::attention, votes, count(kept, contract));
  }

  /// The step of the ladder that a family fits. A declared rounding that the values show is trusted,
  /// and what does not fit it is wrong, but where more fit a finer one; `passed` fit what is declared.
  Roundings chosen(Family family, const Votes& votes, uint64_t passed) const {
    const NumberType result = votes.type();
    const size_t step = votes.step(family, result);
    const Roundings fitting = ladder(family, result)[step];
    if (!declared_ || (*declared_)[family].result != result) return fitting;
    const Roundings& said = (*declared_)[family];
    const uint64_t more = votes.fitting(result, step);
    return more > passed && fits_most(more, votes.of.size()) && fitting.is_within(said) ? fitting
                                                                                        : said;
  }

  /// A family that is never finite: as products are, where its results show their type.
  void settle_unread(Family family) {
    const NumberType type = contract_[Family::matmul].result;
    if (own_ || declared_ || !judge::is_coarse(type) || unread_[size_t(family)].type() != type)
      return;
    contract_[family] = (*judge::contract_of(judge::name_of(type)))[family];
  }

  void settle(Family family) {
    const Votes& votes = votes_[size_t(family)];
    if (votes.of.empty()) return settle_unread(family);
    if (own_) return;
    const auto& fits = base_fits_[size_t(family)];
    const bool shown = declared_ && (*declared_)[family].result == votes.type();
    for (const size_t base : {size_t(0), base_}) {
      const auto [passed, all] = fits[base];
      if (all == 0 || (base == 0 && !declared_ && base_ != 0)) continue;
      if (base == 0 && shown ? passed < all : !fits_most(passed, all)) continue;
      contract_[family] = bases_[base][family];
      return;
    }
    contract_[family] = chosen(family, votes, declared_ ? fits[0].passed : 0);
  }

  /// Caches that are usual are not named, and those of an engine in one coarse type are that type's.
  void name_cache(Contract& contract) const {
    contract.kv.reset();
    if (kv_ == judge::arithmetic_of(contract, "", "").kv) return;
    const bool usual = kv_.kind == Coding::Kind::floats && !kv_.scaled &&
                       (kv_.type == NumberType::f32 || kv_.type == NumberType::f16);
    const bool plain = *judge::contract_of(contract.base) == contract;
    if (!usual || !plain) contract.kv = kv_;
  }

  struct Fits {
    uint64_t passed = 0, all = 0;
    void add(bool fits) {
      passed += fits;
      ++all;
    }
  };
  struct Passes {
    uint64_t products = 0, attentions = 0;
    uint64_t sum() const { return products + attentions; }
  };
  struct Stored {
    Table keys, values;
    bool shown = false;
  };

  static std::vector<Coding> codings_of_caches() {
    std::vector<Coding> out;
    for (const char* name : {"f32", "f16", "bf16", "q8_0", "q8_0/stored", "int8/32", "q4_0", "e4m3",
                             "e5m2", "int8/64", "int8/128", "int8/row"})
      out.push_back(*judge::coding_named(name));
    return out;
  }

  const op::Program& program_;
  const Trace& trace_;
  const std::string engine_;
  bool own_ = false;
  std::optional<Contract> declared_;
  std::vector<Contract> bases_;  // the declared one first
  std::vector<Passes> passes_;   // of each
  std::vector<ProductSample> products_;
  uint64_t work_ = 0;  // multiplications of these
  std::array<Votes, judge::families.size()> votes_, unread_;
  std::array<std::vector<Fits>, judge::families.size()> base_fits_;  // of each base
  Fits sums_;                                                        // of two values
  std::optional<Coding> hint_;                                       // of the cache
  bool narrow_ = false;  // values are kept in fewer bits than the contract's results have
  const std::vector<Coding> caches_ = codings_of_caches();
  std::vector<uint64_t> kept_ = std::vector<uint64_t>(caches_.size());
  uint64_t shown_ = 0;
  std::map<uint32_t, Stored> stored_;  // by cache
  std::vector<AttentionSample> attentions_;
  Contract contract_;
  size_t base_ = 0;
  Coding kv_;
  bool kv_known_ = true;
};

}  // namespace

FoundContract find_contract(const op::Program& program, const Trace& trace) {
  Finder finder(program, trace);
  const FoundContract found = finder.find();
  if (!lacks_any(program, trace)) return found;
  if (!finder.saw_products()) return settle_hidden(program, trace, std::nullopt, {});
  return settle_hidden(program, trace, found, finder.known());
}

}  // namespace assay::diff
