// Shared memory with a constructor.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
};
struct PlantedShared {
  PlantedShared() : sum(0.0f) {}  // mistake: no constructors
  float sum;
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = s.sum;
}
