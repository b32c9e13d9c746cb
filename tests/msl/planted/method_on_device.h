// A method on an object in device memory.
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

struct Pair {
  float low, high;
  float sum() const { return low + high; }
};
K_FN float sum_of(K_DEV const Pair* pairs) {
  return pairs[0].sum();  // mistake: a method on an object
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = a.x[t.index];
}
