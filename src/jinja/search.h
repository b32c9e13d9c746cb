// Substring search in linear time: string_view::find takes n·m steps for texts made to hurt it.
#pragma once

#include <cstdint>
#include <string_view>

namespace assay::jinja {

/// The first place of `wanted` in `text` from byte `from` on, or npos.
uint64_t find_text(std::string_view text, std::string_view wanted, uint64_t from);

}  // namespace assay::jinja
