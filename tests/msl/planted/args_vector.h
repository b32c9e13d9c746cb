// A vector in arguments.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
  float4 limits;  // mistake: in the arguments of
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
