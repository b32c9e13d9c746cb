// A cast that turns shared memory into device memory.
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
  K_DEV float* y = (K_DEV float*)s.sums;  // mistake: between address spaces
  y[t.index] = 0.0f;
}
