// A pointer to vectors of three.
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

K_FN float x_of(K_DEV const float3* points) {  // mistake: vector of three
  return points[0].x;
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = a.x[t.index];
}
