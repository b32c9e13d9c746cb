// The table of one instruction set from the templates. Included by kernels_ISA.cpp only.
#pragma once

#include "cpu/kernels_attention.h"
#include "cpu/kernels_elementwise.h"
#include "cpu/kernels_matmul.h"

namespace assay::cpu {
namespace {

template <class S>
constexpr Kernels make_kernels() {
  Kernels kernels{};
  static_cast<RowKernels&>(kernels) = row_kernels<S>();
  kernels.isa = S::name;
  kernels.matmul = matmul<S>;
  kernels.matmul_f32 = matmul_f32<S>;
  kernels.attention_f16 = attention<S, uint16_t>;
  kernels.attention_f32 = attention<S, float>;
  kernels.int8_peak = S::int8_peak;
  return kernels;
}

}  // namespace
}  // namespace assay::cpu
