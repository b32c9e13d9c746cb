// y = x·Wᵀ + b in f64, with the activations coded as an engine's contract says, and how far off
// each element may be. This is the fast part of the judge: exact integers, many tokens at once, all
// threads.
#pragma once

#include <cstdint>
#include <functional>

#include "judge/coding.h"
#include "judge/table.h"
#include "op/program.h"

namespace assay::judge {

struct Product {
  Table want;       ///< (tokens, rows)
  Table magnitude;  ///< what rounding errors are measured against: Σ |part|·|x̂|
  Table slack;      ///< what ties could add, in absolute terms; empty: no ties
  double limit_u = 0;
  /// Of sums in a coarse type: the standard deviation of the errors; empty otherwise.
  Table deviation;
};

/// x: (tokens, columns) f32 values. With `coding` of floats, or of integers that are decoded, the
/// decoded weights meet the (rounded) activations.
Product multiply(const op::Weight& weight, const op::Weight* bias, const Table& x,
                 const Coding& coding);

/// The product alone, without the bounds.
Table multiply_only(const op::Weight& weight, const op::Weight* bias, const Table& x,
                    const Coding& coding);

/// A row of a block format, taken apart.
struct WeightRow {
  std::vector<int16_t> code;           ///< with the offset taken off, unless it meets the sums
  std::vector<double> scale, minimum;  ///< of each group
};
/// Row r as the format and the coding have it.
void read_weight_row(const op::Weight& weight, uint64_t r, const Coding& coding, WeightRow& row);
using RowSource = std::function<void(uint64_t r, WeightRow& row)>;
/// As `multiply` with integers, but with the weight rows that `source` gives, to try what an
/// altered weight would give.
Product multiply_rows(const op::Weight& weight, const RowSource& source, const op::Weight* bias,
                      const Table& x, const Coding& coding);

/// Calls function(first, last) on pieces of [0, count), on all of the machine's threads. A nested
/// call runs in the calling thread.
void in_parallel(uint64_t count, const std::function<void(uint64_t, uint64_t)>& function,
                 uint64_t piece = 16);

}  // namespace assay::judge
