// --fault: an executor with a seeded fault, to see how it is found. Only in a build with
// ASSAY_FAULTS; elsewhere there is no such flag.
#pragma once

#include "common.h"

void add_fault_flags(CLI::App& command, ModelFlags& flags);

/// Has the engine run with the flags' fault, if any. Errors: as fault::parse_fault.
assay::Status use_fault(const ModelFlags& flags, assay::run::EngineOptions& options);

/// inspect --faults SEED.
CLI::Option* add_fault_places_flag(CLI::App& command, std::optional<uint64_t>& seed);

/// JSON: every fault wherever the program can have it, what the judge should say, what a run needs.
std::string fault_places(uint64_t seed, const assay::op::Program& program);
