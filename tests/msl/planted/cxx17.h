// A word of C++17.
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

K_FN uint32_t pick(uint32_t x) {
  if constexpr (sizeof(float) == 4) return x;  // mistake: C++17
  return 0u;
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = a.x[t.index];
}
