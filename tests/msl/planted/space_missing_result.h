// A function that gives a pointer without a space.
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

K_FN const float* none() {  // mistake: without an address space
  return nullptr;
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  if (assay::none() == nullptr) a.y[t.index] = 0.0f;
}
