#include "cpu/kernels_table.h"
#include "cpu/simd_avx2.h"

namespace assay::cpu {

extern const Kernels kernels_avx2;
constinit const Kernels kernels_avx2 = make_kernels<Avx2>();

}  // namespace assay::cpu
