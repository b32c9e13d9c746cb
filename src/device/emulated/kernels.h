// The kernels that the emulated grid knows by name.
#pragma once

#include <string_view>
#include <vector>

#include "lang/lang.h"

namespace assay::emulated {

/// Null where there is none of this name.
const KernelEntry* find_kernel(std::string_view name);
std::vector<const KernelEntry*> all_kernels();

}  // namespace assay::emulated
