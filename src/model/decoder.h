// The one builder of decoder programs, for every architecture that architecture.h can describe.
#pragma once

#include "base/result.h"
#include "gguf/file.h"
#include "model/architecture.h"
#include "op/program.h"

namespace assay::model {

/// The one of this name in list.inc; nullptr where there is none.
const Architecture* find_architecture(std::string_view name);

/// As build() in model.h.
Result<op::Program> build_decoder(const gguf::File& file, const Architecture& architecture,
                                  uint32_t context);

}  // namespace assay::model
