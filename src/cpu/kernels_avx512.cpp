#include "cpu/kernels_table.h"
#include "cpu/simd_avx512.h"

namespace assay::cpu {

extern const Kernels kernels_avx512;
constinit const Kernels kernels_avx512 = make_kernels<Avx512>();

}  // namespace assay::cpu
