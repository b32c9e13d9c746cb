// The judge as an executor: a whole model in f64, one operation after another, as the program lists
// them.
#pragma once

#include <memory>

#include "op/executor.h"
#include "op/program.h"

namespace assay::reference {

enum class Mode {
  exact,    ///< nothing is rounded but the weights, as the file holds them
  contract  ///< activations as int8 codes where the contract has them, keys and values in the
            ///< cache's type; then f64
};

/// `program` (with the bytes behind its weights) must outlive the executor.
std::unique_ptr<op::Executor> make_executor(const op::Program& program,
                                            const op::ExecutorOptions& options, Mode mode);

}  // namespace assay::reference
