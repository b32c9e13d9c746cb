// How an engine codes the activations that meet a weight: the part of a contract that decides which
// numbers are right. Every known engine's rule, written once, for the judge.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "judge/table.h"

namespace assay::judge {

/// Activations as integers under a scale, or as floats.
struct Coding {
  enum class Kind { exact, f16, bf16, integers };
  enum class Rounding {
    even_of_product,   ///< rne(x·RN(127/m)), d = m/127
    away_of_product,   ///< roundf(x·RN(1/d)), d = m/127
    away_of_quotient,  ///< roundf(RN(x/d)), d = m/127
    signed_maximum  ///< i = −127/x_max with the sign of the largest, min(127, rne(i·x)), d = 1/i
  };
  enum class Sums {
    codes,      ///< what a weight's minimum meets is d·Σ code
    codes_f16,  ///< … rounded to f16, with the d before its rounding
    values_f16  ///< Σ x of the activations themselves, rounded to f16
  };
  Kind kind = Kind::exact;
  uint32_t block = 32;  ///< activations that share a scale
  Rounding rounding = Rounding::even_of_product;
  bool scale_is_f16 = false;  ///< d is kept as f16
  Sums sums = Sums::codes;
  bool products_are_f16 = false;   ///< d_w·d and m_w·s are rounded to f16 before they are used
  bool offset_meets_sums = false;  ///< −offset·d_w is added as a minimum, times the sums
  double zero_below = 0;           ///< a block whose largest |x| is smaller counts as zeros
};

/// A code so close to a rounding boundary that an error in the engine's own f32 arithmetic could
/// have produced its neighbour.
struct Tie {
  uint32_t column;
  int32_t step;  ///< +1 or −1: the other code
};

/// One row of activations as integers.
struct CodedRow {
  std::vector<int16_t> code;
  std::vector<double> scale;  ///< of each block
  std::vector<double> sum;    ///< of each group of `group` columns: what a minimum meets
  std::vector<Tie> ties;
  std::vector<double> scale_tie, sum_tie;  ///< distance to the neighbour of an f16 that is as right
  bool tied = false;                       ///< any of the three
};

/// Codes x, whose values are f32. `group` is the number of columns that share one minimum of a
/// weight. A row with NaN or infinity gets NaN scales.
CodedRow code_row(std::span<const double> x, const Coding& coding, uint32_t group);

/// A contract is a name and, per weight type, the codings that its engines may use; the first one
/// that fits is taken. Names: assay/1, f32, exact, ggml-cpu, ggml-cuda.
std::vector<Coding> codings(std::string_view contract, uint32_t weight_type);
std::span<const std::string_view> contracts();

}  // namespace assay::judge
