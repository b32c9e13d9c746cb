// From a tensor type at run time to a format at compile time: `Op::run<F>(op)`. The branch is the
// same for a whole group. A new format: one line.
#pragma once

#include "kernel/weights.h"

namespace assay {

template <class Op>
K_FN void for_block_format(uint32_t format, K_THREAD const Op& op) {
  switch (format) {
    case quant::Q8_0::id:
      Op::template run<quant::Q8_0>(op);
      break;
    case quant::Q4_0::id:
      Op::template run<quant::Q4_0>(op);
      break;
    case quant::Q4_1::id:
      Op::template run<quant::Q4_1>(op);
      break;
    case quant::Q5_0::id:
      Op::template run<quant::Q5_0>(op);
      break;
    case quant::Q5_1::id:
      Op::template run<quant::Q5_1>(op);
      break;
    case quant::Q2_K::id:
      Op::template run<quant::Q2_K>(op);
      break;
    case quant::Q3_K::id:
      Op::template run<quant::Q3_K>(op);
      break;
    case quant::Q4_K::id:
      Op::template run<quant::Q4_K>(op);
      break;
    case quant::Q5_K::id:
      Op::template run<quant::Q5_K>(op);
      break;
    case quant::Q6_K::id:
      Op::template run<quant::Q6_K>(op);
      break;
    case quant::IQ4_NL::id:
      Op::template run<quant::IQ4_NL>(op);
      break;
    default:
      break;  // the host launches no other
  }
}

template <class Op>
K_FN void for_float_format(uint32_t format, K_THREAD const Op& op) {
  switch (format) {
    case quant::F32::id:
      Op::template run<quant::F32>(op);
      break;
    case quant::F16::id:
      Op::template run<quant::F16>(op);
      break;
    case quant::BF16::id:
      Op::template run<quant::BF16>(op);
      break;
    default:
      break;
  }
}

}  // namespace assay
