#include "reference/executor.h"

#include <algorithm>
#include <string>

#include "judge/judge.h"
#include "op/paging.h"

namespace assay::reference {

namespace {

using judge::Table;

class Judge final : public op::Executor {
 public:
  Judge(const op::Program& program, const op::ExecutorOptions& options, Mode mode)
      : program_(program),
        mode_(mode),
        cache_type_(options.cache),
        contract_(options.contract),
        values_(program.values.size()),
        last_use_(op::last_uses(program)),
        paging_(options, program.windows) {
    for (uint32_t i = 0; i < program.caches.size(); ++i)
      pages_.emplace_back(op::pages_of(options, program.window_of(i)));
  }

  std::span<const float> run(const op::Step& given, const op::Sink& sink) override {
    const op::Step step = paging_.resolve(given);
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const op::Operation& operation = program_.operations[i];
      Table result = compute(operation, step);
      result_.assign(result.data.begin(), result.data.end());
      if (sink) sink(operation, result_);
      if (operation.output != op::none) values_[operation.output] = std::move(result);
      for (size_t v = 0; v < values_.size(); ++v)
        if (last_use_[v] == i) values_[v] = {};
    }
    return result_;
  }

  void truncate(uint32_t, uint32_t) override {
  }  // a position is read only after it is written again

  bool fill_caches(float value) override {
    for (uint32_t i = 0; i < program_.caches.size(); ++i) {
      const op::CacheShape& shape = program_.caches[i];
      const std::vector<double> keys(shape.kv_heads * shape.key_dim, double(value)),
          values(shape.kv_heads * shape.value_dim, double(value));
      for (judge::Cache& page : pages_[i])
        for (uint32_t slot = 0; slot < op::page_positions; ++slot) page.store(slot, keys, values);
    }
    return true;
  }

  std::string device() const override { return "reference"; }
  std::string isa() const override { return ""; }
  uint32_t threads() const override { return 1; }
  std::string contract() const override {
    if (mode_ == Mode::exact) return "exact";
    const std::string name = contract_ == op::Contract::f32 ? "f32" : "assay/1";
    return name + (cache_type_ == op::CacheType::f32 ? " kv=f32" : "") + " f64";
  }

 private:
  Table compute(const op::Operation& operation, const op::Step& step) {
    if (const auto* store = operation.as<op::KvStore>()) return keep(operation, *store, step);
    std::vector<judge::Caches> caches;
    if (operation.is<op::Attend>()) caches = gather(operation, step);
    judge::Inputs inputs{{}, step, caches};
    for (const uint32_t value : operation.inputs) inputs.values.push_back(&values_[value]);
    Table coded;
    if (meets_codes(operation)) {
      coded = codes_of(*inputs.values[0]);
      inputs.values[0] = &coded;
    }
    return judge::formula(program_, operation, inputs);
  }

  bool meets_codes(const op::Operation& operation) const {
    return op::multiplies(operation) && mode_ == Mode::contract &&
           contract_ == op::Contract::assay1 &&
           judge::meets_quantised(program_.weights[operation.weight]);
  }

  static Table codes_of(Table x) {
    for (uint64_t t = 0; t < x.rows; ++t) {
      const std::vector<double> coded = judge::quantise(x.row(t));
      std::copy(coded.begin(), coded.end(), x.row(t).begin());
    }
    return x;
  }

  // The cache holds f32, and f16 by default; in exact mode it holds what it is given.
  double cached(double x) const {
    if (mode_ == Mode::exact) return x;
    return cache_type_ == op::CacheType::f16 ? judge::round_to_f16(double(float(x)))
                                             : double(float(x));
  }

  // Returns the new keys, then the new values, as stored.
  Table keep(const op::Operation& operation, const op::KvStore& store, const op::Step& step) {
    Table keys = values_[operation.inputs[0]], values = values_[operation.inputs[1]];
    for (double& value : keys.data) value = cached(value);
    for (double& value : values.data) value = cached(value);
    const uint32_t group = program_.group_of(store.cache);
    for (size_t t = 0; t < keys.rows; ++t)
      pages_[store.cache][step.pages.page_of(step.sequences[t], step.positions[t], group)].store(
          step.positions[t] % op::page_positions, keys.row(t), values.row(t));
    Table both(1, keys.data.size() + values.data.size());
    std::copy(values.data.begin(), values.data.end(),
              std::copy(keys.data.begin(), keys.data.end(), both.data.begin()));
    return both;
  }

  // For each sequence of the step, its keys and values from the pages that its row names; nothing
  // at positions that none of its queries sees.
  std::vector<judge::Caches> gather(const op::Operation& attend, const op::Step& step) const {
    const uint32_t cache = attend.as<op::Attend>()->cache, group = program_.group_of(cache);
    const op::AttentionShape shape = program_.attention_of(attend);
    std::vector<uint32_t> first;  // by sequence: the first key that is seen
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const uint32_t sequence = step.sequences[t];
      if (first.size() <= sequence) first.resize(sequence + 1, op::none);
      first[sequence] = std::min(first[sequence], shape.first_key(step.positions[t]));
    }
    std::vector<judge::Caches> caches(first.size(), judge::Caches(program_.caches.size()));
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const uint32_t sequence = step.sequences[t];
      judge::Cache& all = caches[sequence][cache];
      if (all.keys.empty()) {
        all.keys.resize(first[sequence]);
        all.values.resize(first[sequence]);
      }
      for (uint32_t position = uint32_t(all.keys.size()); position <= step.positions[t];
           ++position) {
        const judge::Cache& page = pages_[cache][step.pages.page_of(sequence, position, group)];
        all.keys.push_back(page.keys.at(position % op::page_positions));
        all.values.push_back(page.values.at(position % op::page_positions));
      }
    }
    return caches;
  }

  const op::Program& program_;
  const Mode mode_;
  const op::CacheType cache_type_;
  const op::Contract contract_;
  std::vector<Table> values_;  // by index of value; empty outside its life
  const std::vector<size_t> last_use_;
  const op::Paging paging_;
  std::vector<std::vector<judge::Cache>> pages_;  // (program.caches, pages)
  std::vector<float> result_;                     // the last operation's output
};

}  // namespace

std::unique_ptr<op::Executor> make_executor(const op::Program& program,
                                            const op::ExecutorOptions& options, Mode mode) {
  return std::make_unique<Judge>(program, options, mode);
}

}  // namespace assay::reference
