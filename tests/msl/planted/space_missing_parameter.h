// A parameter that points nowhere in particular.
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

K_FN float first_of(const float* x) {  // mistake: without an address space
  return x[0];
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  float v[2] = {1.0f, 2.0f};
  a.y[t.index] = assay::first_of(v);
}
