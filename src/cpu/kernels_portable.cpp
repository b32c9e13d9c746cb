#include "cpu/kernels_table.h"
#include "cpu/simd_portable.h"

namespace assay::cpu {

extern const Kernels kernels_portable;
constinit const Kernels kernels_portable = make_kernels<Portable>();

}  // namespace assay::cpu
