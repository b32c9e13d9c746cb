#include "diff/ensemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "diff/moments.h"
#include "diff/runs.h"

namespace assay::diff {

using judge::Table;
using trace::TokenLine;
using trace::TokenLines;

namespace {

constexpr std::string_view sizes_only =
    "; this is about sizes only: 'assay diff' with this one trace judges every value";

/// A side that keeps this contract, with the first of its codings for every weight.
Side side_of(const op::Program& program, std::string_view contract) {
  Side side;
  side.contract = contract;
  side.arithmetic = judge::arithmetic_of(contract, "", "");
  side.operations.resize(program.operations.size());
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (op::multiplies(program.operations[i]))
      side.operations[i].coding =
          judge::codings(contract, program.weights[program.operations[i].weight].type)[0];
  return side;
}

std::vector<Range> ranges_of(const std::vector<Moments>& rows, bool pooled) {
  double mean = 0;
  for (const Moments& row : rows)
    mean += pooled ? row.relative_variance() / double(rows.size()) : 0;
  std::vector<Range> out;
  for (const Moments& row : rows) {
    const double wide = deviations * std::sqrt(std::max(mean, row.relative_variance())) + 0x1p-20;
    out.push_back({row.mean() * std::max(0.0, 1 - wide), row.mean() * (1 + wide)});
  }
  return out;
}

/// The layer whose output the operation is; op::none for others.
uint32_t layer_of_output(const op::Operation& operation) {
  if (operation.role != op::Role::block_output) return op::none;
  return operation.layer;
}

/// Collects runs.
class Sampler {
 public:
  Sampler(const op::Program& program, std::span<const int32_t> tokens)
      : program_(program),
        tokens_(tokens),
        rms_(program.operations.size()),
        largest_(program.operations.size()),
        growth_(program.layers) {}

  void see(size_t index, const Table& out, uint64_t runs) {
    const op::Operation& operation = program_.operations[index];
    const std::vector<double> squares = add_rows(index, out, runs);
    if (operation.is<op::Embed>()) embedded_ = squares;
    if (const uint32_t layer = layer_of_output(operation); layer != op::none)
      for (uint64_t run = 0; run < runs; ++run)
        growth_[layer].add(std::sqrt(squares[run] / embedded_[run]));
  }

  Ensemble finish(uint64_t runs) const {
    Ensemble ensemble{runs, tokens_.size(), {}, {}, ranges_of(growth_, false)};
    for (const auto& rows : rms_) ensemble.rms.push_back(ranges_of(rows, true));
    for (const auto& rows : largest_) ensemble.largest.push_back(ranges_of(rows, true));
    return ensemble;
  }

 private:
  /// Returns Σ x² of each run.
  std::vector<double> add_rows(size_t index, const Table& out, uint64_t runs) {
    std::vector<double> squares(runs, 0.0);
    if (out.data.empty()) return squares;
    rms_[index].resize(tokens_.size());
    largest_[index].resize(tokens_.size());
    for (uint64_t r = 0; r < out.rows; ++r) {
      double sum = 0, most = 0;
      for (const double x : out.row(r)) {
        sum += x * x;
        most = std::max(most, std::fabs(x));
      }
      squares[r / tokens_.size()] += sum;
      rms_[index][r % tokens_.size()].add(std::sqrt(sum / double(out.width)));
      largest_[index][r % tokens_.size()].add(most);
    }
    return squares;
  }

  const op::Program& program_;
  const std::span<const int32_t> tokens_;
  std::vector<std::vector<Moments>> rms_, largest_;  // (operations, tokens)
  std::vector<double> embedded_;                     // Σ x² of the embedding, of each run
  std::vector<Moments> growth_;
};

/// What a row has outside of what correct runs give; `how` far: the factor beyond the range.
struct Finding {
  std::string what;
  double got, how;
  Range range;
};
std::optional<Finding> look(const TokenLine& line, const Range& rms, const Range& largest) {
  if (line.nan) return Finding{"NaN", double(line.nan), INFINITY, {0, 0}};
  if (line.infinite) return Finding{"infinities", double(line.infinite), INFINITY, {0, 0}};
  std::optional<Finding> worst;
  const auto check = [&](std::string_view what, double got, const Range& correct) {
    const Range range = {correct.low * (1 - line.rounding), correct.high * (1 + line.rounding)};
    if (range.holds(got)) return;
    const double how = got > range.high ? got / range.high : range.low / got;
    if (!worst || how > worst->how) worst = Finding{std::string(what), got, how, range};
  };
  check("RMS", line.rms, rms);
  check("max|x|", line.max_abs, largest);
  return worst;
}

/// An operation's rows of the ensemble's tokens; nullptr where the trace doesn't have one.
std::vector<const TokenLine*> by_token(const TokenLines& lines, const std::string& name,
                                       uint64_t tokens) {
  std::vector<const TokenLine*> out(tokens, nullptr);
  const auto found = lines.find(name);
  if (found == lines.end()) return out;
  for (const TokenLine& line : found->second)
    if (line.token < tokens) out[line.token] = &line;
  return out;
}

/// RMS over the ensemble's tokens; NaN where one is missing.
double whole_rms(const TokenLines& lines, const std::string& name, uint64_t tokens) {
  double sum = 0;
  for (const TokenLine* line : by_token(lines, name, tokens))
    sum += !line || line->nan ? NAN : line->rms * line->rms;
  return std::sqrt(sum / double(tokens));
}

/// "1813x", "59.8x", "0.931x"
std::string times(double ratio) {
  return ratio < 1000 ? fmt::format("{:.3g}x", ratio) : fmt::format("{:.0f}x", ratio);
}

std::string of_tokens(const Ensemble& ensemble) {
  return fmt::format("{} runs, {} token{}", ensemble.runs, ensemble.tokens,
                     ensemble.tokens == 1 ? "" : "s");
}

/// "blk.7 (attn_out": the layer first; "out_norm (" where there is none.
std::string place(const op::Operation& operation) {
  const std::string block = fmt::format("blk.{}.", operation.layer);
  if (!operation.name.starts_with(block)) return operation.name + " (";
  return fmt::format("blk.{} ({} ", operation.layer, operation.name.substr(block.size()));
}

std::string sentence_of(const op::Program& program, const Growth& growth,
                        const Ensemble& ensemble) {
  if (growth.first) {
    const Outside& first = *growth.first;
    const bool counted = first.what == "NaN" || first.what == "infinities";
    const std::string token = first.what == "growth" ? "" : fmt::format("@ token {}", first.token);
    return fmt::format("first layer outside the ensemble: {}{}: {}; {})",
                       place(program.operations[first.operation]), token,
                       counted
                           ? fmt::format("{:.0f} {}, correct runs have none", first.got, first.what)
                           : fmt::format("{} {:.4g}, correct runs {:.4g} to {:.4g}", first.what,
                                         first.got, first.range.low, first.range.high),
                       of_tokens(ensemble));
  }
  if (growth.rows == 0)
    return "cannot tell whether this is normal: the trace has no row of this model's operations";
  if (growth.layers.empty() || std::isnan(growth.layers.back()))
    return fmt::format("normal: each of {} rows lies where correct runs of this model do ({}){}",
                       growth.rows, of_tokens(ensemble), sizes_only);
  const auto most = size_t(
      std::ranges::max_element(growth.layers, {}, [](double x) { return std::isnan(x) ? 0 : x; }) -
      growth.layers.begin());
  const size_t last = growth.layers.size() - 1;
  const auto correct = [&](size_t layer) {
    return fmt::format("{} to {}", times(ensemble.growth[layer].low),
                       times(ensemble.growth[layer].high));
  };
  return fmt::format(
      "normal: growth of {} by layer {} is what correct runs of this model give "
      "({}){}; {}{}",
      times(growth.layers[last]), last, correct(last),
      most == last ? ""
                   : fmt::format(", and so is the most, {} by layer {} ({})",
                                 times(growth.layers[most]), most, correct(most)),
      of_tokens(ensemble), sizes_only);
}

std::string sentence_of(const op::Program& program, const Partings& partings,
                        const Ensemble& ensemble) {
  if (!partings.first && partings.rows == 0)
    return "cannot tell how far a and b lie apart: they have no row in common";
  if (!partings.first)
    return fmt::format("a and b part nowhere more than correct runs of this model do ({} rows; {})",
                       partings.rows, of_tokens(ensemble));
  const Parting& first = *partings.first;
  return fmt::format(
      "a and b part first at {} @ token {}: {} {:.4g} against {:.4g}, a ratio of {:.4g}; two "
      "correct runs {:.4g} to {:.4g} ({})",
      program.operations[first.operation].name, first.token, first.what, first.a, first.b,
      first.a / first.b, first.range.low, first.range.high, of_tokens(ensemble));
}

}  // namespace

uint64_t visit_correct_runs(const op::Program& program, std::span<const int32_t> tokens,
                            uint64_t runs, uint64_t seed, const SeeOutput& see, int bits) {
  std::vector<std::string_view> contracts;
  for (const std::string_view contract : judge::contracts())
    if (bits == 24 ? contract != "exact" : contract == "f32") contracts.push_back(contract);
  const uint64_t kinds = contracts.size();
  const uint64_t wanted = std::max<uint64_t>(runs, (64 + tokens.size() - 1) / tokens.size());
  const uint64_t each = (wanted + kinds - 1) / kinds;
  const std::vector<size_t> last_use = op::last_uses(program);
  for (const std::string_view contract : contracts) {
    const Side side = side_of(program, contract);
    Runs all = correct(program, side, tokens, each, seed++, bits);
    for (size_t i = 0; i < program.operations.size(); ++i) {
      see(i, all.run(i), each);
      for (const uint32_t value : program.operations[i].inputs)
        if (last_use[value] == i) all.forget(value);
    }
  }
  return each * kinds;
}

Ensemble correct_ensemble(const op::Program& program, std::span<const int32_t> tokens,
                          uint64_t runs, uint64_t seed) {
  Sampler sampler(program, tokens);
  return sampler.finish(visit_correct_runs(
      program, tokens, runs, seed,
      [&](size_t index, const Table& out, uint64_t each) { sampler.see(index, out, each); }));
}

Growth judge_growth(const op::Program& program, const TokenLines& lines, const Ensemble& ensemble) {
  Growth growth;
  const double embedded = whole_rms(lines, "embd", ensemble.tokens);
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    if (ensemble.rms[i].empty()) continue;
    double worst = 0;
    for (const TokenLine* line : by_token(lines, operation.name, ensemble.tokens)) {
      if (!line) continue;
      ++growth.rows;
      const auto finding =
          look(*line, ensemble.rms[i][line->token], ensemble.largest[i][line->token]);
      if (!finding || (growth.first && growth.first->operation != i) || finding->how <= worst)
        continue;
      worst = finding->how;
      growth.first = Outside{i, line->token, finding->what, finding->got, finding->range};
    }
    const uint32_t layer = layer_of_output(operation);
    if (layer == op::none) continue;
    const double times = whole_rms(lines, operation.name, ensemble.tokens) / embedded;
    growth.layers.push_back(times);
    if (!growth.first && !std::isnan(times) && !ensemble.growth[layer].holds(times))
      growth.first = Outside{i, 0, "growth", times, ensemble.growth[layer]};
  }
  growth.sentence = sentence_of(program, growth, ensemble);
  return growth;
}

Partings judge_parting(const op::Program& program, const TokenLines& a, const TokenLines& b,
                       const Ensemble& ensemble) {
  Partings out;
  double worst = 0;
  const auto check = [&](size_t operation, const TokenLine& one, const TokenLine& other,
                         std::string_view what, double x, double y, const Range& range) {
    const double rounding = 1 + one.rounding + other.rounding;
    const Range ratios = {range.low / range.high / rounding, range.high / range.low * rounding};
    const double how = std::isnan(x / y) ? INFINITY : std::fabs(std::log(x / y));
    if (x == y || ratios.holds(x / y) || how <= worst) return;
    worst = how;
    out.first = Parting{operation, one.token, std::string(what), x, y, ratios};
  };
  for (size_t i = 0; i < program.operations.size() && !out.first; ++i) {
    if (ensemble.rms[i].empty()) continue;
    const std::string& name = program.operations[i].name;
    const auto of_a = by_token(a, name, ensemble.tokens), of_b = by_token(b, name, ensemble.tokens);
    for (uint64_t t = 0; t < ensemble.tokens; ++t) {
      if (!of_a[t] || !of_b[t]) continue;
      const TokenLine &x = *of_a[t], &y = *of_b[t];
      ++out.rows;
      check(i, x, y, "RMS", x.rms, y.rms, ensemble.rms[i][t]);
      check(i, x, y, "max|x|", x.max_abs, y.max_abs, ensemble.largest[i][t]);
      check(i, x, y, "NaN", double(x.nan), double(y.nan), {1, 1});
    }
  }
  out.sentence = sentence_of(program, out, ensemble);
  return out;
}

}  // namespace assay::diff
