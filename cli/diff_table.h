// The table of a diff: one line for each kind of operation and verdict, or for every operation.
#pragma once

#include "diff/diff.h"
#include "op/program.h"

/// `all`: every operation by itself.
void print_diff_table(const assay::op::Program& program, const assay::diff::Report& report,
                      bool all);
