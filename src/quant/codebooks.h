// The codebooks of the IQ1, IQ2 and IQ3 formats, whose codes are looked up where a weight is read
// or packed: on the host. Kernels have the packed codes and none of these.
#pragma once

#include <cstdint>

namespace assay::quant {

// Eight values of 2 bits an entry: the index of the magnitude (IQ2), or the value + 1 (IQ1).
extern const uint16_t iq2_xxs_codebook[256], iq2_xs_codebook[512], iq2_s_codebook[1024],
    iq1_codebook[2048];
// Four values of 3 bits an entry: the index of the magnitude.
extern const uint16_t iq3_xxs_codebook[256], iq3_s_codebook[512];

}  // namespace assay::quant
