// The list of faults: one line each. Where it fits, its parameter, what it needs.
#pragma once

#include <string_view>
#include <vector>

#include "fault/faults.h"

namespace assay::fault {

/// Whether an operation of a program can have a fault.
using Fits = bool (*)(const op::Program&, const op::Operation&);

/// What a drawn fault is confined to. A bug of an engine's RoPE has Q and K of a layer, one of a
/// kernel a single operation; a contract is the whole engine's.
enum class Scope { operation, layer, program };

struct Entry {
  Bug bug = Bug::none;
  std::string_view name;
  int row = 0;
  Fits fits = nullptr;
  Scope scope = Scope::operation;

  std::string_view parameter = {};   ///< empty: none
  double usual = 0;                  ///< the parameter where a text gives none
  std::vector<double> choices = {};  ///< to draw from
  bool whole = false;                ///< a count: a whole number from 1 on
  bool beyond_value = false;         ///< shows only with more tokens than the parameter's value

  Needs needs = {};
  std::string_view cause = {};  ///< empty: the name
  bool benign = false;

  // For the list's lines: this entry with something said of it.
  Entry with(std::string_view parameter_name, double usually, std::vector<double> drawn) const;
  Entry counting(std::string_view parameter_name, double usually, std::vector<double> drawn) const;
  Entry beyond(std::string_view parameter_name, double usually, std::vector<double> drawn) const;
  Entry within(Scope wider) const;
  Entry needing(Needs what) const;
  Entry called(std::string_view by_the_judge) const;
  Entry harmless() const;
};

const std::vector<Entry>& list();

/// The index of the value that a residual addition's branch was normalised from, for
/// `residual_after_norm`; none where the operation has no such thing.
uint32_t normalised_residual(const op::Program& program, const op::Operation& operation);
/// The residual before the last addition of the same layer, for `residual_parallel`; none likewise.
uint32_t earlier_residual(const op::Program& program, const op::Operation& operation);
/// Of a norm.
float eps_of(const op::Operation& operation);
/// Columns that are lost where each of `parts` parts of a row stops at its last whole 32.
uint64_t split_tail(uint64_t columns, uint64_t parts);
/// The index of another rotary table that turns as many lanes of another angle; none where there is
/// none.
uint32_t other_table(const op::Program& program, const op::Operation& operation);
/// The format of the same block size that a type is confused with; none where there is none.
uint32_t twin_type(uint32_t type);

}  // namespace assay::fault
