// A written cast that drops the space.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV const float* x;
  K_DEV float* y;
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  K_THREAD float* x = (float*)a.x;  // mistake: between address spaces
  a.y[t.index] = x[0];
}
