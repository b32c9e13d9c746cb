// A struct assigned in shared memory: an operator is a method.
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
};
K_FN void put(K_GROUP Pair& to, Pair from) {
  to = from;  // mistake: a method on an object
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = a.x[t.index];
}
