// A method on an object in shared memory.
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

struct Sums {
  float of[4];
  float first() const { return of[0]; }
};
K_FN float first_of(K_GROUP Sums& sums) {
  return sums.first();  // mistake: a method on an object
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = a.x[t.index];
}
