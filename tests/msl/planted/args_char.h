// A plain char in arguments.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV const char* x;  // mistake: no fixed sign
  K_DEV float* y;
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
