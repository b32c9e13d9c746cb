// The state that an engine shares with its sequences. Only engine.cpp and sequence.cpp include
// this.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "op/executor.h"
#include "run/model.h"
#include "run/pages.h"

namespace assay::run {

struct Core {
  std::shared_ptr<const Model> model;          // outlives the program, whose weights are its bytes
  std::shared_ptr<const op::Program> program;  // outlives the executor
  std::unique_ptr<op::Executor> executor;
  std::vector<PagePool> pools;  // by group of caches
  std::vector<bool> taken;      // (sequences): the numbers that a Sequence has
  uint32_t context = 0;         // positions of a sequence
};

}  // namespace assay::run
