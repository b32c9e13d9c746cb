// The table of one instruction set from the templates. Included by kernels_ISA.cpp only.
#pragma once

#include "cpu/kernels_attention.h"
#include "cpu/kernels_elementwise.h"
#include "cpu/kernels_matmul.h"

namespace assay::cpu {
namespace {

template <class S>
constexpr Kernels make_kernels() {
  return {S::name,   quantise<S>, matmul<S>, matmul_f32<S>,          rms_norm<S>,
          rope<S>,   swiglu<S>,   add<S>,    attention<S, uint16_t>, attention<S, float>,
          to_f16<S>, S::int8_peak};
}

}  // namespace
}  // namespace assay::cpu
