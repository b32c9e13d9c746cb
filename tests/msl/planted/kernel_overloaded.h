// Two kernels of one name.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
};
struct OtherArgs {
  K_DEV float* y;
  uint32_t count, unused;
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
K_KERNEL(planted, assay::OtherArgs, assay::NoShared,  // mistake: two kernels are named
         assay::AtMost<256>) {
  if (t.index < a.count) a.y[t.index] = 0.0f;
}
