// assay check: one kernel's output against the judge, with a model's operation or with one made of
// flags.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "check/alone.h"
#include "trace/npy.h"

/// Registers the subcommand; when it has run, `exit_code` holds its exit code.
void add_check(CLI::App& app, int& exit_code);

struct CheckFlags {
  std::string first, second;  ///< MODEL NAME, or NAME
  std::string model;          ///< -m
  std::string kind;           ///< --op
  std::vector<std::string> inputs;
  std::string output, expected, contract, cache, positions, tokens;
  uint32_t context = 0;
  bool json = false;
  // What --op is made of.
  std::string weight, weight_type = "F32", bias, pairing = "adjacent";
  double base = 10000, linear = 1, scale = 0, soft_cap = 0, alibi = 0, slope = 0;
  uint32_t dim = 0, heads = 0, kv_heads = 0, value_dim = 0, window = 0, every = 0, offset = 0;
  bool chunked = false;
  std::map<std::string, double> numbers;  ///< a kind's own (op::Number), by name
};

/// An operation without a model. Its weights are views of `arrays`.
struct MadeOperation {
  std::vector<assay::trace::Npy> arrays;
  assay::op::Program program;
};
/// From --op and its flags; widths are those of the inputs' files. Errors: what is missing or does
/// not fit.
assay::Result<MadeOperation> make_operation(const CheckFlags& flags,
                                            const std::vector<assay::trace::Npy>& inputs,
                                            size_t positions);
void add_operation_flags(CLI::App& command, CheckFlags& flags);

/// Position, pair, lanes, frequency, angle, cos and sin of each pair at each position.
void print_rope_table(const assay::op::RopeTable& rope, const std::vector<uint32_t>& positions,
                      bool json);
