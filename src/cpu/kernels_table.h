// The table of one instruction set from the templates. Included by kernels_ISA.cpp only.
#pragma once

#include "cpu/kernels_attention.h"
#include "cpu/kernels_elementwise.h"
#include "cpu/kernels_matmul.h"

namespace assay::cpu {
namespace {

template <class S>
constexpr Kernels make_kernels() {
  return {.isa = S::name,
          .quantise = quantise<S>,
          .matmul = matmul<S>,
          .matmul_f32 = matmul_f32<S>,
          .rms_norm = rms_norm<S>,
          .rope = rope<S>,
          .gate = gate<S>,
          .add = add<S>,
          .attention_f16 = attention<S, uint16_t>,
          .attention_f32 = attention<S, float>,
          .to_f16 = to_f16<S>,
          .int8_peak = S::int8_peak};
}

}  // namespace
}  // namespace assay::cpu
