// Architectures that llama.cpp runs and assay does not.
#pragma once

#include <string_view>

namespace assay::model {

/// What assay lacks for this architecture, as the end of a sentence; empty for one that it never
/// heard of.
std::string_view what_is_missing(std::string_view architecture);

}  // namespace assay::model
