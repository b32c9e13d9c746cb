// An address made of a number.
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
  K_DEV float* y =
      reinterpret_cast<K_DEV float*>(uint64_t(a.count));  // mistake: integer to a pointer
  y[0] = 0.0f;
}
