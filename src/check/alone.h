// Programs of one operation: from numbers on a command line, or cut out of a model's program.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "op/program.h"

namespace assay::check {

/// What an operation is made of, without a model. Zeros: not given.
struct Parts {
  op::Parameters of;   ///< heads, scale and the rotary table below take the place of its own
  uint32_t width = 0;  ///< of each input; attention: of the queries
  uint32_t heads = 0, kv_heads = 0;
  uint32_t head_dim = 0;  ///< of queries and keys
  uint32_t value_dim = 0;
  float scale = 0;  ///< attention: 1/√head_dim where it is 0
  op::RopeTable rope;
  op::Weight weight, bias;  ///< without columns: none. Their bytes must outlive the program
};

/// Errors: what does not fit together, in one sentence.
Result<op::Program> program_of(const Parts& parts);

/// A program of operation `index` alone, with `weight` (a slice of the operation's weight) in place
/// of its own, and as many rows of its bias.
op::Program cut_out(const op::Program& program, size_t index, const op::Weight& weight);

/// The weight's first rows.
op::Weight first_rows(const op::Weight& weight, uint64_t rows);

}  // namespace assay::check
