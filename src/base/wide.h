// ASSAY_WIDE: a function that is compiled for AVX2, too, and chosen when the program starts. For
// loops over written lanes: sums in the same order, so every machine gives the same bits.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)
#define ASSAY_WIDE __attribute__((target_clones("avx2", "default")))
#else
#define ASSAY_WIDE
#endif
