// From a tensor type at run time to a format at compile time, over the list of quant/list.h:
// `Op::run<F>(op)`. The branch is the same for a whole group.
#pragma once

#include "kernel/weights.h"

namespace assay {

/// Runs the op for F where F is wanted; nothing is made of the op for the other formats.
template <class F, bool wanted>
struct RunIf {
  template <class Op>
  K_FN void run(K_THREAD const Op& op) {
    Op::template run<F>(op);
  }
};
template <class F>
struct RunIf<F, false> {
  template <class Op>
  K_FN void run(K_THREAD const Op&) {}
};

/// One branch for each format of a list; of `floats` or of block formats.
template <bool floats, class Formats>
struct Dispatch;
template <bool floats>
struct Dispatch<floats, quant::List<>> {
  template <class Op>
  K_FN void run(uint32_t, K_THREAD const Op&) {}  // the host launches no other
};
template <bool floats, class F, class... Rest>
struct Dispatch<floats, quant::List<F, Rest...>> {
  template <class Op>
  K_FN void run(uint32_t format, K_THREAD const Op& op) {
    if (format == F::id)
      RunIf<F, (F::block_size == 1u) == floats>::run(op);
    else
      Dispatch<floats, quant::List<Rest...>>::run(format, op);
  }
};

template <class Op>
K_FN void for_block_format(uint32_t format, K_THREAD const Op& op) {
  Dispatch<false, quant::All>::run(format, op);
}
template <class Op>
K_FN void for_float_format(uint32_t format, K_THREAD const Op& op) {
  Dispatch<true, quant::All>::run(format, op);
}

}  // namespace assay
