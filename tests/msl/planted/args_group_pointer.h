// A pointer to shared memory in arguments.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_GROUP float* y;  // mistake: no device or constant memory
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
