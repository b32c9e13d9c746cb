// A size_t in arguments.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
  size_t count;  // mistake: no fixed size
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
