// A long in arguments.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
  long count;  // mistake: no fixed size
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
