// The words of Metal in comments and parts of names: double, half, kernel, new.
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

K_TABLE uint32_t half_unit = 2u;  // a double, not a half

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  const uint32_t kernel_index = t.index, new_count = a.count;
  const float renewed = float(assay::half_unit);
  if (kernel_index < new_count) a.y[kernel_index] = renewed;
}
