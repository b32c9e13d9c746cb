// Programs of one operation: from numbers on a command line, or cut out of a model's program.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "op/program.h"

namespace assay::check {

/// What an operation is made of, without a model. Zeros: not given.
struct Parts {
  op::Parameters of;    ///< heads, scale and the table below take the place of its own
  uint32_t width = 0;   ///< of each input; attention: of the queries
  uint32_t second = 0;  ///< of the second input; 0: as the first
  uint32_t heads = 0, kv_heads = 0;
  uint32_t head_dim = 0;  ///< of queries and keys
  uint32_t value_dim = 0;
  float scale = 0;          ///< attention: 1/√head_dim where it is 0
  op::RopeTable rope;       ///< rope, position_scale
  op::Weight weight, bias;  ///< without columns: none. Their bytes must outlive the program
};

/// Errors: what does not fit together, in one sentence.
Result<op::Program> program_of(const Parts& parts);

/// What is taken of an operation's weight and bias.
struct Taken {
  op::Weight weight, bias;  ///< without columns: none
  /// Embed: the table's rows; matmul_experts: the experts. Empty: the weight's first rows.
  std::vector<uint64_t> ids = {};
  std::vector<std::vector<uint8_t>> bytes = {};  ///< what is no part of the whole weight
};
/// The first rows of a product's weight, with their biases; all of another kind's.
Taken first_rows(const op::Program& program, const op::Operation& operation, uint64_t rows);
/// These rows of an embedding.
Taken table_rows(const op::Program& program, const op::Operation& operation,
                 std::vector<uint64_t> ids);
/// The first rows of each of these experts.
Taken experts_rows(const op::Program& program, const op::Operation& operation,
                   std::vector<uint64_t> experts, uint64_t rows);

/// A program of operation `index` alone, with what is taken of its weight and bias.
op::Program cut_out(const op::Program& program, size_t index, const Taken& taken);

}  // namespace assay::check
