// A whole file in memory.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay {

/// The bytes of a regular file. Errors say "cannot read the WHAT 'PATH'", and where there is no such
/// file that.
Result<std::vector<uint8_t>> read_file(const std::string& path, std::string_view what);

}  // namespace assay
