// Device memory taken for constant memory.
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
  K_CONST const float* x = a.x;  // mistake: between address spaces
  a.y[t.index] = x[0];
}
