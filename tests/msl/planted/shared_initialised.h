// Shared memory with initial values.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
};
struct PlantedShared {
  float sum = 0.0f;  // mistake: initial values
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  a.y[t.index] = s.sum;
}
