// Every kind of operation, in every weight format, at the shapes where kernels go wrong.
#pragma once

#include <string_view>
#include <vector>

#include "verify/case.h"

namespace assay::verify {

enum class Level { quick, full };
std::string_view name_of(Level level);

/// Widths and rows 1, edges of 32 and 256, primes; steps of 1, 2, 9 and 33 tokens and as many
/// sequences; caches past 256 and 1024 positions; 33 decode steps.
std::vector<Case> synthetic_cases(Level level);

}  // namespace assay::verify
