// Arguments of 520 bytes.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
  uint32_t many[128];
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared,  // mistake: at most 512 bytes
         assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
