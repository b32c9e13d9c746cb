// From a tensor type at run time to a format at compile time: `op.run<F>()`. The branch is the same
// for a whole group. A new format: one line.
#pragma once

#include "kernel/weights.h"

namespace assay {

template <class Op>
K_FN void for_block_format(uint32_t format, K_THREAD const Op& op) {
  switch (format) {
    case quant::Q8_0::id:
      op.template run<quant::Q8_0>();
      break;
    case quant::Q4_0::id:
      op.template run<quant::Q4_0>();
      break;
    case quant::Q4_1::id:
      op.template run<quant::Q4_1>();
      break;
    case quant::Q5_0::id:
      op.template run<quant::Q5_0>();
      break;
    case quant::Q5_1::id:
      op.template run<quant::Q5_1>();
      break;
    case quant::Q2_K::id:
      op.template run<quant::Q2_K>();
      break;
    case quant::Q3_K::id:
      op.template run<quant::Q3_K>();
      break;
    case quant::Q4_K::id:
      op.template run<quant::Q4_K>();
      break;
    case quant::Q5_K::id:
      op.template run<quant::Q5_K>();
      break;
    case quant::Q6_K::id:
      op.template run<quant::Q6_K>();
      break;
    case quant::IQ4_NL::id:
      op.template run<quant::IQ4_NL>();
      break;
    default:
      break;  // the host launches no other
  }
}

template <class Op>
K_FN void for_float_format(uint32_t format, K_THREAD const Op& op) {
  switch (format) {
    case quant::F32::id:
      op.template run<quant::F32>();
      break;
    case quant::F16::id:
      op.template run<quant::F16>();
      break;
    case quant::BF16::id:
      op.template run<quant::BF16>();
      break;
    default:
      break;
  }
}

}  // namespace assay
