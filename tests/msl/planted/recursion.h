// A function that calls itself by way of another.
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

K_FN float odd(float x);
K_FN float even(float x) {  // mistake: calls itself
  return x < 1.0f ? x : odd(x - 1.0f);
}
K_FN float odd(float x) {
  return x < 1.0f ? -x : even(x - 1.0f);
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = assay::even(a.x[0]);
}
