// A reinterpret_cast that drops the space.
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

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  K_THREAD const uint32_t* x =
      reinterpret_cast<const uint32_t*>(a.x);  // mistake: between address spaces
  a.y[t.index] = float(x[0]);
}
