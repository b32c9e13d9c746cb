#include "diff/correct_sizes.h"

#include <algorithm>
#include <cmath>
#include <span>

namespace assay::diff {

using judge::Table;
using trace::LogColumn;

namespace {

/// In the order of a row's sizes.
constexpr std::array order = {LogColumn::rms,  LogColumn::norm,     LogColumn::deviation,
                              LogColumn::mean, LogColumn::mean_abs, LogColumn::max_abs,
                              LogColumn::max,  LogColumn::min};

size_t place_of(LogColumn column) {
  return size_t(std::ranges::find(order, column) - order.begin());
}

Range around(double mean, double variance, double scale) {
  const double wide = deviations * std::sqrt(variance) + 0x1p-20 * scale;
  return {mean - wide, mean + wide};
}

}  // namespace

/// Sums over one row or several.
struct CorrectSizes::Sums {
  double count = 0, squares = 0, sum = 0, magnitudes = 0, low = INFINITY, high = -INFINITY;

  void add(std::span<const double> row) {
    count += double(row.size());
    for (const double x : row) {
      squares += x * x;
      sum += x;
      magnitudes += std::fabs(x);
      low = std::min(low, x);
      high = std::max(high, x);
    }
  }
  void add(const Sums& other) {
    count += other.count;
    squares += other.squares;
    sum += other.sum;
    magnitudes += other.magnitudes;
    low = std::min(low, other.low);
    high = std::max(high, other.high);
  }
  Sizes sizes() const {
    const double mean = sum / count;
    return {std::sqrt(squares / count),
            std::sqrt(squares),
            std::sqrt(std::max(0.0, squares / count - mean * mean)),
            mean,
            magnitudes / count,
            std::max(-low, high),
            high,
            low};
  }
};

CorrectSizes::CorrectSizes(const op::Program& program, uint64_t tokens,
                           const std::set<size_t>& followed)
    : tokens_(tokens),
      last_(program.operations.size() - 1),
      sizes_(program.operations.size(), std::vector<Row>(tokens + 1)),
      logits_(program.vocabulary) {
  for (const size_t operation : followed) kept_[operation].resize(tokens + 1);
}

void CorrectSizes::see(size_t operation, const Table& out, uint64_t runs) {
  if (out.data.empty()) return;
  for (uint64_t run = 0; run < runs; ++run) {
    Sums all;
    for (uint64_t t = 0; t < tokens_; ++t) {
      Sums one;
      one.add(out.row(run * tokens_ + t));
      add(operation, t, one);
      all.add(one);
    }
    add(operation, tokens_, all);
    if (operation != last_) continue;
    const auto row = out.row(run * tokens_ + tokens_ - 1);
    for (size_t i = 0; i < logits_.size(); ++i) logits_[i].add(row[i]);
  }
}

Range CorrectSizes::range(size_t operation, uint64_t row, LogColumn column) const {
  const size_t place = place_of(column), of_rms = place_of(LogColumn::rms);
  const std::vector<Row>& rows = sizes_[operation];
  const auto scale = [&](const Row& one) {
    return std::max(std::fabs(one[place].mean()), one[of_rms].mean());
  };
  double relative = 0;
  for (uint64_t t = 0; t < tokens_; ++t)
    if (scale(rows[t]) > 0)
      relative += rows[t][place].variance() / (scale(rows[t]) * scale(rows[t]) * double(tokens_));
  if (row == tokens_) relative /= double(tokens_);
  const double size = scale(rows[row]);
  const double variance = std::max(rows[row][place].variance(), relative * size * size);
  return around(rows[row][place].mean(), variance, size);
}

std::optional<Range> CorrectSizes::ratio(size_t earlier, size_t operation, uint64_t row,
                                         LogColumn column) const {
  const auto from = kept_.find(earlier), to = kept_.find(operation);
  if (from == kept_.end() || to == kept_.end()) return {};
  Moments ratios;
  const size_t place = place_of(column);
  for (size_t run = 0; run < to->second[row].size(); ++run)
    ratios.add(to->second[row][run][place] / from->second[row][run][place]);
  return around(ratios.mean(), ratios.variance(), ratios.mean());
}

std::vector<Range> CorrectSizes::logits() const {
  double variance = 0, scale = 0;
  for (const Moments& one : logits_) {
    variance += one.variance() / double(logits_.size());
    scale = std::max(scale, std::fabs(one.mean()));
  }
  std::vector<Range> out;
  for (const Moments& one : logits_)
    out.push_back(around(one.mean(), std::max(variance, one.variance()), scale));
  return out;
}

void CorrectSizes::add(size_t operation, uint64_t row, const Sums& sums) {
  const Sizes sizes = sums.sizes();
  for (size_t i = 0; i < sizes.size(); ++i) sizes_[operation][row][i].add(sizes[i]);
  if (const auto kept = kept_.find(operation); kept != kept_.end())
    kept->second[row].push_back(sizes);
}

}  // namespace assay::diff
