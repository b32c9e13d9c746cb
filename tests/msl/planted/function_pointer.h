// A pointer to a function.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV const float* x;
  K_DEV float* y;
  uint32_t count, unused;
};
struct PlantedShared {
  float sums[32];
};

K_FN float twice(float x) {
  return x + x;
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  float (*const f)(float) = &assay::twice;  // mistake: pointers to functions
  a.y[t.index] = f(a.x[0]);
}
