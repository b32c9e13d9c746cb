// Fields of bits in arguments.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
  uint32_t adjacent : 1;  // mistake: a field of bits
  uint32_t heads : 31;
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = float(a.heads);
}
