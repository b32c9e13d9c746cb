// How an engine codes the activations that meet a weight: the part of a contract that decides which
// numbers are right. Every known engine's rule, written once, for the judge.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "judge/number_type.h"
#include "judge/table.h"

namespace assay::judge {

/// Activations as integers under a scale, or as floats, with or without one.
struct Coding {
  enum class Kind { floats, integers };
  enum class Scale { block, row, tensor };  ///< which activations share one
  enum class Rounding {
    even_of_product,   ///< rne(x·RN(127/m)), d = m/127
    away_of_product,   ///< roundf(x·RN(1/d)), d = m/127
    away_of_quotient,  ///< roundf(RN(x/d)), d = m/127
    signed_maximum,  ///< i = −127/x_max with the sign of the largest, min(127, rne(i·x)), d = 1/i
    even_of_stored,  ///< rne(x/f16(d)), d = m/127
    four_bits  ///< d = x_max/−8 with the sign of the largest, min(15, ⌊x·RN(1/d) + 8.5⌋) − 8
  };
  enum class Sums {
    codes,      ///< what a weight's minimum meets is d·Σ code
    codes_f16,  ///< … rounded to f16, with the d before its rounding
    values_f16  ///< Σ x of the activations themselves, rounded to f16
  };
  Kind kind = Kind::floats;
  uint32_t block = 32;  ///< activations that share a scale
  Rounding rounding = Rounding::even_of_product;
  bool scale_is_f16 = false;  ///< d is kept as f16
  Sums sums = Sums::codes;
  bool products_are_f16 = false;      ///< d_w·d and m_w·s are rounded to f16 before they are used
  bool offset_meets_sums = false;     ///< −offset·d_w is added as a minimum, times the sums
  double zero_below = 0;              ///< a block whose largest |x| is smaller counts as zeros
  NumberType type = NumberType::f32;  ///< of floats
  bool cut = false;                   ///< floats are rounded toward zero
  bool scaled =
      false;  ///< of floats: x/d is rounded, d so that the largest |x| is `type`'s largest
  Scale scale = Scale::block;  ///< of integers, and of scaled floats
  /// The values that the codes stand for meet the decoded weights, as floats do. Otherwise integers
  /// meet integers, and the blocks' sums are scaled.
  bool decoded = false;
  NumberType weights = NumberType::f32;      ///< what a decoded weight is rounded to
  NumberType products = NumberType::f32;     ///< what each product is rounded to
  NumberType accumulated = NumberType::f32;  ///< what each partial sum is rounded to

  bool operator==(const Coding&) const = default;
  /// Activations and weights as they are, and sums in f32.
  bool is_plain() const { return *this == Coding{}; }
  /// Integers that meet the codes of a weight.
  bool meets_codes() const { return kind == Kind::integers && !decoded; }
  bool has_coarse_sums() const { return is_coarse(products) || is_coarse(accumulated); }
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

/// What the codes stand for, and how far off each is that may as well be its neighbour.
struct Decoded {
  Table values;
  Table slack;  ///< empty: no code is near a tie
};
/// All rows of x, coded and decoded again.
Decoded decoded(const Table& x, const Coding& coding);

/// Codes x, whose values are f32. `group` is the number of columns that share one minimum of a
/// weight. A row with NaN or infinity gets NaN scales.
CodedRow code_row(std::span<const double> x, const Coding& coding, uint32_t group);

/// A coding that can be written: f32, tf32, f16, bf16, e4m3, e5m2 or int8, of all but the first
/// three with what shares a scale: /32 (a block), /row, /tensor; tf32/cut; and q8_0, q4_0 as ggml
/// keeps them.
std::optional<Coding> coding_named(std::string_view name);
/// Empty where it has no such name.
std::string name_of(const Coding& coding);

/// Per weight type, those of a base (contract.h); the first one that fits is taken.
std::vector<Coding> base_codings(std::string_view base, uint32_t weight_type);

}  // namespace assay::judge
