// JSON for templates, in which integers may have any size.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

#include "base/result.h"

namespace assay::jinja {

/// Parses a JSON text. An integer beyond 64 bits becomes a binary value that holds its digits, which
/// Context::add takes for that integer: as a float it would be another number. Errors: not JSON,
/// with line and column.
Result<nlohmann::ordered_json> read_json(std::string_view text);

}  // namespace assay::jinja
