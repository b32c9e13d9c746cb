// The judge: computes in f64 what one operation must give from the inputs that an engine gave it,
// and how far off each element may be under a contract. One file per kind (rms_norm.cpp,
// attention.cpp, …) holds its formula, its bound and what counts as a tie. All code that judges an
// operation calls this.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "judge/coding.h"
#include "judge/formulas.h"
#include "op/program.h"

namespace assay::judge {

/// An element passes where |got − want| <= limit·2^-24·scale (+ 2^-72) + slack.
struct Judged {
  Table want;
  Table scale;
  Table limit;  ///< in u; one value for all where it is (1, 1)
  Table slack;  ///< what ties could add; empty: none

  double limit_at(uint64_t row, uint64_t column) const {
    return limit.data.size() == 1 ? limit.data[0] : limit.data[row * limit.width + column];
  }
  double slack_at(uint64_t row, uint64_t column) const {
    return slack.data.empty() ? 0.0 : slack.data[row * slack.width + column];
  }
};

/// The arithmetic of everything except the matmuls.
struct Arithmetic {
  bool own = true;              ///< assay/1's tables of cos and sin, its exp: the tighter limits
  bool f16_attention = false;   ///< queries as f16, sums of values in f16
  bool f16_scores = false;      ///< and sums of scores
  bool f16_cache = true;        ///< keys and values are kept as f16
  bool f16_gelu = false;        ///< gelu_tanh and gelu_quick of and in f16: a table of 2^16 results
  bool goes_on_in_f64 = false;  ///< only the trace is f32: what was read had more digits
};
/// `engine` as the trace names it; `kv` "f16", "f32" or empty: what the contract's engine does.
Arithmetic arithmetic_of(std::string_view contract, std::string_view engine, std::string_view kv);

/// What an operation reads.
struct Inputs {
  std::vector<const Table*> values = {};  ///< of operation.inputs
  op::Step step = {};                     ///< no sequences: all tokens are of sequence 0
  std::span<const Caches> caches = {};    ///< by sequence, with this step's keys and values in them
  const Table* got = nullptr;  ///< what the engine gave: a router's choice is judged by it
};

/// The operation's formula in f64; for kv_store, keys and values side by side, not rounded.
Table formula(const op::Program& program, const op::Operation& operation, const Inputs& inputs);

/// What the operation must give, and how far off it may be. `coding` is used for
/// products only (meets_codes()).
Judged expect(const op::Program& program, const op::Operation& operation, const Inputs& inputs,
              const Coding& coding, const Arithmetic& arithmetic);

/// What was seen of one operation in one step.
struct Seen {
  uint64_t elements = 0, failures = 0, ties = 0, not_finite = 0;
  /// Of the failures, those whose expected value is no finite f32: nothing is proven by them, since
  /// the inputs or the weights are to blame, not the kernel.
  uint64_t undefined = 0;
  double max_u = 0, limit_u = 0;  ///< of the worst element: the greatest error/limit
  uint64_t token = 0, row = 0;    ///< where it is

  void add(const Seen& other);
};
Seen compare(const Table& got, const Judged& judged);
Seen compare_element(const Table& got, const Judged& judged, uint64_t token, uint64_t row);

}  // namespace assay::judge
