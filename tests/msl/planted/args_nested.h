// A bool in a struct of the arguments.
#include "kernel/words.h"

namespace assay {

struct Inner {
  uint32_t count;
  bool wanted;  // mistake: in the arguments of
};
struct PlantedArgs {
  K_DEV float* y;
  Inner inner[2];
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
