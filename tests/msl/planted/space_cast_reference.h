// A reference to shared memory made one to device memory.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
};
struct PlantedShared {
  float sums[32];
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  K_DEV uint32_t& y = (K_DEV uint32_t&)s.sums[0];  // mistake: address space
  y = 0u;
}
