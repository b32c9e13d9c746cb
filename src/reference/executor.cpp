#include "reference/executor.h"

#include <algorithm>
#include <cassert>
#include <map>
#include <string>

#include "op/paging.h"
#include "reference/operations.h"

namespace assay::reference {

std::vector<size_t> last_uses(const op::Program& program) {
  std::vector<size_t> last(program.values.size(), 0);
  for (size_t i = 0; i < program.operations.size(); ++i) {
    for (uint32_t input : program.operations[i].inputs) last[input] = i;
    if (program.operations[i].output != op::none) last[program.operations[i].output] = i;
  }
  return last;
}

namespace {

class Judge final : public op::Executor {
 public:
  Judge(const op::Program& program, const op::ExecutorOptions& options, Mode mode)
      : program_(program),
        mode_(mode),
        cache_type_(options.cache),
        contract_(options.contract),
        values_(program.values.size()),
        last_use_(last_uses(program)),
        paging_(options),
        pages_(program.layers, std::vector<Cache>(op::pages_of(options))) {}

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
    switch (operation.kind) {
      case op::Kind::embed:
        return embed(operation, step);
      case op::Kind::matmul:
        return multiply(operation);
      case op::Kind::kv_store:
        return store(operation, step);
      case op::Kind::attention:
        return attend_all(operation, step);
      case op::Kind::select_rows:
        return select(input(operation, 0), step);
      default:
        return by_row(operation, step);
    }
  }

  const Table& input(const op::Operation& operation, size_t i) const {
    return values_[operation.inputs[i]];
  }

  // y[t] = W[token[t]]
  Table embed(const op::Operation& operation, const op::Step& step) const {
    const op::Weight& weight = program_.weights[operation.weight];
    Table y(step.tokens.size(), weight.columns);
    for (size_t t = 0; t < y.rows; ++t) {
      const std::vector<double> row = decode_row(weight, uint64_t(step.tokens[t]));
      std::copy(row.begin(), row.end(), y.row(t).begin());
    }
    return y;
  }

  // y = x·Wᵀ + b, with the x that the contract lets the weight meet
  Table multiply(const op::Operation& operation) const {
    const op::Weight& weight = program_.weights[operation.weight];
    const op::Weight* bias = program_.bias_of(operation);
    Table x = input(operation, 0);
    if (mode_ == Mode::contract && contract_ == op::Contract::assay1 && meets_quantised(weight)) {
      for (uint64_t t = 0; t < x.rows; ++t) {
        const std::vector<double> coded = quantise(x.row(t));
        std::copy(coded.begin(), coded.end(), x.row(t).begin());
      }
    }
    return matmul(weight, bias, x);
  }

  // The cache holds f32, and f16 by default; in exact mode it holds what it is given.
  double cached(double x) const {
    if (mode_ == Mode::exact) return x;
    return cache_type_ == op::CacheType::f16 ? round_to_f16(double(float(x))) : double(float(x));
  }

  // Returns the new keys, then the new values, as stored.
  Table store(const op::Operation& operation, const op::Step& step) {
    Table keys = input(operation, 0), values = input(operation, 1);
    for (double& value : keys.data) value = cached(value);
    for (double& value : values.data) value = cached(value);
    for (size_t t = 0; t < keys.rows; ++t)
      pages_[operation.layer][step.pages.page_of(step.sequences[t], step.positions[t])].store(
          step.positions[t] % op::page_positions, keys.row(t), values.row(t));
    Table both(1, keys.data.size() + values.data.size());
    std::copy(values.data.begin(), values.data.end(),
              std::copy(keys.data.begin(), keys.data.end(), both.data.begin()));
    return both;
  }

  // A sequence's keys and values at positions 0 … last, from the pages that its row names.
  static Cache gather(const std::vector<Cache>& pages, std::span<const uint32_t> row,
                      uint32_t last) {
    Cache cache;
    for (uint32_t position = 0; position <= last; ++position) {
      const Cache& page = pages[row[position / op::page_positions]];
      cache.keys.push_back(page.keys.at(position % op::page_positions));
      cache.values.push_back(page.values.at(position % op::page_positions));
    }
    return cache;
  }

  // y[t] = attention of token t over its sequence's keys 0 … position
  Table attend_all(const op::Operation& operation, const op::Step& step) const {
    std::map<uint32_t, uint32_t> last;  // position of each sequence in the step
    for (size_t t = 0; t < step.tokens.size(); ++t)
      last[step.sequences[t]] = std::max(last[step.sequences[t]], step.positions[t]);
    std::map<uint32_t, Cache> caches;
    for (const auto& [sequence, position] : last)
      caches[sequence] = gather(pages_[operation.layer], step.pages.row(sequence), position);
    const Table& queries = input(operation, 0);
    Table y(queries.rows, program_.values[operation.output].width);
    for (uint64_t t = 0; t < y.rows; ++t) {
      const std::vector<double> row = attention(queries.row(t), caches.at(step.sequences[t]),
                                                step.positions[t], program_.attention);
      std::copy(row.begin(), row.end(), y.row(t).begin());
    }
    return y;
  }

  static Table select(const Table& x, const op::Step& step) {
    Table y(step.selected.size(), x.width);
    for (size_t i = 0; i < y.rows; ++i)
      std::copy_n(x.row(step.selected[i]).begin(), x.width, y.row(i).begin());
    return y;
  }

  // The operations whose row t depends on row t of the inputs alone.
  Table by_row(const op::Operation& operation, const op::Step& step) const {
    const Table& x = input(operation, 0);
    const uint32_t vector = operation.kind == op::Kind::scale ? operation.bias : operation.weight;
    const std::vector<double> b =
        vector == op::none ? std::vector<double>() : decode_row(program_.weights[vector], 0);
    Table y(x.rows, program_.values[operation.output].width);
    for (uint64_t t = 0; t < x.rows; ++t) {
      const std::vector<double> row = one_row(operation, step, t, b);
      std::copy(row.begin(), row.end(), y.row(t).begin());
    }
    return y;
  }

  std::vector<double> one_row(const op::Operation& operation, const op::Step& step, uint64_t t,
                              std::span<const double> b) const {
    const std::span<const double> x = input(operation, 0).row(t);
    switch (operation.kind) {
      case op::Kind::rms_norm:
        return rms_norm(x, b, double(operation.eps));
      case op::Kind::rope:
        return rope(x, program_.rope, operation.heads, step.positions[t]);
      case op::Kind::swiglu:
        return swiglu(x, input(operation, 1).row(t));
      case op::Kind::add:
        return add(x, input(operation, 1).row(t));
      case op::Kind::scale:
        return scale(x, double(operation.factor), b);
      default:
        assert(false);
        return {};
    }
  }

  const op::Program& program_;
  const Mode mode_;
  const op::CacheType cache_type_;
  const op::Contract contract_;
  std::vector<Table> values_;  // by index of value; empty outside its life
  const std::vector<size_t> last_use_;
  const op::Paging paging_;
  std::vector<std::vector<Cache>> pages_;  // (layers, pages), each of up to 64 positions
  std::vector<float> result_;              // the last operation's output
};

}  // namespace

std::unique_ptr<op::Executor> make_executor(const op::Program& program,
                                            const op::ExecutorOptions& options, Mode mode) {
  return std::make_unique<Judge>(program, options, mode);
}

}  // namespace assay::reference
