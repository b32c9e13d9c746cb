// Bytes of a text that are in none of its tokens.
#pragma once

#include <array>
#include <cstdint>

namespace assay::text {

/// How often each byte was lost: it has no token and was left out, or stands in an unknown token.
using LostBytes = std::array<uint64_t, 256>;

}  // namespace assay::text
