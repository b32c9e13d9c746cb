// A kit of unit tests for kernels: for each operation of a run its inputs, its weight's rows, what
// it must give and how far off each element may be, as .npy files that any language reads.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "judge/formulas.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::check {

struct KitOptions {
  std::vector<uint32_t> layers;  ///< blocks that are taken; what stands outside of them always is
  uint64_t rows = 64;            ///< most rows of a matrix, from its first on
};

struct KitPlan {
  std::vector<size_t> operations;  ///< of the program, in order
  std::vector<uint32_t> values;    ///< of the program: what the cases read, ascending
  uint64_t bytes = 0;              ///< about
};
KitPlan plan_kit(const op::Program& program, const KitOptions& options, uint64_t tokens);

/// What a run of one step gave: by index of the program's values.
struct KitRun {
  trace::TraceStep step;
  std::map<uint32_t, judge::Table> values;
  double rope_base = 0;  ///< as the file has it; 0: it says none
};

struct KitWritten {
  uint64_t files = 0, bytes = 0;
  std::string json;  ///< the case in manifest.json
};
/// Writes one case to FOLDER/NAME. Errors: cannot write.
Result<KitWritten> write_case(const op::Program& program, size_t operation, const KitRun& run,
                              const KitOptions& options, const std::string& folder);

/// Name and text of the kit's loaders: load.c, load.rs, load.swift, load.py.
struct Loader {
  const char* name;
  std::string_view text;
};
std::span<const Loader> loaders();
/// README.md of a kit.
std::string kit_readme();

}  // namespace assay::check
