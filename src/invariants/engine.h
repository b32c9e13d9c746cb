// Our own engine as the subject of the invariants.
#pragma once

#include "invariants/schedule.h"
#include "run/engine.h"

namespace assay::invariants {

/// How many sequences and how large a batch an engine needs for cases of this size.
constexpr uint32_t sequences_for(uint32_t sequences) {
  return sequences < 2 ? 2 : sequences;
}
constexpr uint32_t batch_for(uint32_t tokens, uint32_t sequences) {
  return tokens * sequences_for(sequences);
}

/// `engine`, none of whose sequences is in use, must outlive the subject.
Subject subject_of(run::Engine& engine, std::string name);

}  // namespace assay::invariants
