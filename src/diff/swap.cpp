#include "diff/swap.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "diff/diff.h"
#include "diff/noise.h"
#include "diff/runs.h"

namespace assay::diff {

using judge::Table;
using trace::Trace;

namespace {

constexpr uint64_t most_rows = 1024;  // (runs, tokens) at a time

/// −1 where there is a NaN.
int32_t best_token(std::span<const double> logits) {
  if (std::ranges::any_of(logits, [](double x) { return std::isnan(x); })) return -1;
  return int32_t(std::ranges::max_element(logits) - logits.begin());
}

double divergence_of(std::span<const double> logits, std::span<const double> wanted) {
  return divergence(logits, wanted, log_sum(logits), log_sum(wanted));
}

class Experiment {
 public:
  Experiment(const op::Program& program, const Trace& own, const Trace& other, const Side& side,
             Swap& swap)
      : program_(program), own_(own), other_(other), side_(side), swap_(swap) {}

  Status choose_position() {
    const op::Operation& last = program_.operations.back();
    const auto mine = rows_of(program_, own_, last), theirs = rows_of(program_, other_, last);
    if (!mine) return mine.error();
    if (!theirs) return theirs.error();
    bool found = false;
    for (const auto& [position, row] : *mine) {
      const auto wanted = theirs->find(position);
      if (wanted == theirs->end()) continue;
      const int32_t token = best_token(row), other = best_token(wanted->second);
      const double kl = divergence_of(row, wanted->second);
      if (found && token == other && !(kl > swap_.divergence)) continue;
      found = true;
      swap_.position = position;
      swap_.token = token;
      swap_.wanted = other;
      swap_.divergence = kl;
      wanted_ = wanted->second;
      if (token != other) break;
    }
    if (!found) return Error{"the causal swap needs logits of a position that both traces have"};
    tokens_ = all_tokens(own_);
    tokens_.resize(swap_.position + 1);
    return ok();
  }

  Status read_errors() {
    const auto found = errors_of(program_, own_, side_);
    if (!found) return found.error();
    errors_.resize(program_.operations.size());
    for (size_t i = 0; i < found->size(); ++i) {
      const Failure& failure = side_.failures[i];
      uint64_t before = 0;
      for (uint32_t s = 0; s < failure.step; ++s) before += own_.steps()[s].tokens.size();
      const op::Operation& operation = program_.operations[failure.operation];
      const bool selected =
          operation.output != op::none && program_.values[operation.output].selected;
      for (uint64_t r = 0; r < (*found)[i].rows; ++r) {
        const uint64_t token = before + (selected ? own_.steps()[failure.step].selected[r] : r);
        const auto row = (*found)[i].row(r);
        if (token <= swap_.position)
          errors_[failure.operation][token].assign(row.begin(), row.end());
      }
    }
    return ok();
  }

  /// Logits (cuts, vocabulary) of the run made again, each with the output of one operation
  /// replaced; `program.operations.size()` replaces none. Errors: a tensor that is not there.
  Result<Table> run(std::span<const size_t> cuts) {
    std::vector<Rows> replacement(cuts.size());
    for (size_t i = 0; i < cuts.size(); ++i) {
      if (cuts[i] == program_.operations.size()) continue;
      auto rows = rows_of(program_, other_, program_.operations[cuts[i]]);
      if (!rows) return rows.error();
      replacement[i] = std::move(*rows);
    }
    const auto alter = [&](size_t index, Table& out) {
      const op::Operation& operation = program_.operations[index];
      const bool selected = program_.values[operation.output].selected;
      const uint64_t rows = out.rows / cuts.size();
      for (uint64_t r = 0; r < out.rows; ++r) {
        const uint64_t token = selected ? swap_.position : r % rows;
        const auto& off = errors_[index];
        if (const auto found = off.find(token); found != off.end())
          std::ranges::transform(out.row(r), found->second, out.row(r).begin(), std::plus());
        if (cuts[r / rows] != index) continue;
        const auto& from = replacement[r / rows];
        if (const auto found = from.find(token); found != from.end())
          std::ranges::copy(found->second, out.row(r).begin());
      }
    };
    return Runs(program_, side_, tokens_, {uint32_t(swap_.position)}, cuts.size(), alter).run_all();
  }

  Status remake() {
    const size_t none = program_.operations.size();
    const auto logits = run({&none, 1});
    if (!logits) return logits.error();
    const double kl = divergence_of(logits->row(0), wanted_);
    // NaN are reproduced by NaN.
    swap_.reproduced = best_token(logits->row(0)) == swap_.token &&
                       (swap_.token == -1 || kl >= swap_.divergence / 2);
    return ok();
  }

  Status cut(const std::vector<size_t>& operations,
             const std::function<void(uint64_t, uint64_t)>& progress) {
    const size_t at_once = std::max<size_t>(1, most_rows / tokens_.size());
    for (size_t start = 0; start < operations.size(); start += at_once) {
      if (progress) progress(start, operations.size());
      const auto piece =
          std::span(operations).subspan(start, std::min(at_once, operations.size() - start));
      const auto logits = run(piece);
      if (!logits) return logits.error();
      for (size_t i = 0; i < piece.size(); ++i) {
        const int32_t token = best_token(logits->row(i));
        const double kl = divergence_of(logits->row(i), wanted_);
        const bool restores = token == swap_.wanted && token != -1 &&
                              (swap_.token != swap_.wanted || kl < swap_.divergence / 10);
        cuts_[piece[i]] = {program_.operations[piece[i]].name, token, kl, restores};
      }
    }
    return ok();
  }

  /// Each layer's last output, and what stands outside of the layers.
  std::vector<size_t> borders() const {
    std::vector<size_t> out;
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const uint32_t layer = program_.operations[i].layer;
      const bool last = i + 1 == program_.operations.size();
      if (layer == op::none || last || program_.operations[i + 1].layer != layer) out.push_back(i);
    }
    return out;
  }

  /// The layers worth a look inside: the first failure's, and those over which the answer changes.
  std::vector<size_t> inner() const {
    std::set<uint32_t> layers;
    if (!side_.failures.empty())
      layers.insert(program_.operations[side_.failures[0].operation].layer);
    bool before = false;
    for (const auto& [index, cut] : cuts_) {
      if (cut.restores != before) layers.insert(program_.operations[index].layer);
      before = cut.restores;
    }
    std::vector<size_t> out;
    for (size_t i = 0; i < program_.operations.size(); ++i) {
      const op::Operation& operation = program_.operations[i];
      if (operation.layer != op::none && layers.contains(operation.layer) && !cuts_.contains(i) &&
          operation.output != op::none)
        out.push_back(i);
    }
    return out;
  }

  std::map<size_t, Swap::Cut> cuts_;

 private:
  const op::Program& program_;
  const Trace& own_;
  const Trace& other_;
  const Side& side_;
  Swap& swap_;
  std::vector<int32_t> tokens_;
  std::vector<double> wanted_;
  std::vector<Rows> errors_;  // by operation
};

}  // namespace

Result<Swap> swap(const op::Program& program, const Trace& a, const Trace& b, const Report& report,
                  const std::function<void(uint64_t, uint64_t)>& progress) {
  Swap found;
  found.of_a = !report.first || report.first->a;
  Experiment experiment(program, found.of_a ? a : b, found.of_a ? b : a,
                        found.of_a ? report.a : report.b, found);
  Status done = experiment.choose_position();
  if (done) done = experiment.read_errors();
  if (done) done = experiment.remake();
  if (done) done = experiment.cut(experiment.borders(), progress);
  if (done) done = experiment.cut(experiment.inner(), progress);
  if (!done) return done.error();
  for (auto& [index, cut] : experiment.cuts_) found.cuts.push_back(std::move(cut));
  return found;
}

std::string sentence_of(const Swap& swap) {
  const char* own = swap.of_a ? "a" : "b";
  if (!swap.reproduced)
    return fmt::format(
        "swap: {}'s answer at position {} (token {}) does not come back when its wrong operations "
        "alone are off: nothing can be said",
        own, swap.position, swap.token);
  std::vector<std::string> names;
  for (const Swap::Cut& cut : swap.cuts)
    if (cut.restores && names.size() < 8) names.push_back(cut.operation);
  const auto count = std::ranges::count(swap.cuts, true, &Swap::Cut::restores);
  const std::string what = swap.token == swap.wanted
                               ? fmt::format("the logits at position {}", swap.position)
                               : fmt::format("token {} instead of {} at position {}", swap.wanted,
                                             swap.token, swap.position);
  if (names.empty())
    return fmt::format("swap: no single operation's output, replaced in {}'s run, restores {}", own,
                       what);
  return fmt::format("swap: {} of {} outputs, each replaced alone in {}'s run, restore {}: {}{}",
                     count, swap.cuts.size(), own, what, fmt::join(names, ", "),
                     size_t(count) > names.size() ? ", …" : "");
}

}  // namespace assay::diff
