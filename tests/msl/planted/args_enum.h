// An enum in arguments.
#include "kernel/words.h"

namespace assay {

enum Mode { plain, scaled };
struct PlantedArgs {
  K_DEV float* y;
  Mode mode;  // mistake: in the arguments of
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
