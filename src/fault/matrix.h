// Weights as this executor keeps them, and rows of activations multiplied by them in the order of
// docs/numbers.md. The faults of rows 2 to 9 live here: where a file's bytes become numbers, and in
// the bounds of the loops.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "fault/faults.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::fault {

using Floats = std::vector<float>;

/// w = scale·code + minimum by groups, or plain values.
struct Matrix {
  uint64_t rows = 0, columns = 0;
  uint32_t group_size = 0;    ///< 0: plain values
  bool fine_scales = false;   ///< no sum of theirs is a denormal
  std::vector<int8_t> codes;  ///< (rows, columns), the whole numbers that the codes stand for
  Floats scale, minimum;      ///< (rows, columns/group_size); minimum empty where there is none
  Floats values;              ///< (rows, columns)
};

/// Reads a product's weight.
Matrix unpack(const op::Program& program, const op::Operation& operation, Active fault);
/// The same in parts of as many rows: one for each expert.
std::vector<Matrix> parts_of(const Matrix& whole, uint64_t parts);

/// W·x + b for rows x (tokens, columns), as (tokens, rows). `quantised` is whether the contract
/// quantises these activations.
Floats multiply(const Matrix& matrix, const Floats& bias, std::span<const float> x, bool quantised,
                Active fault);

}  // namespace assay::fault
