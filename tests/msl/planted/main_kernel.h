// A kernel named main.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
};

}  // namespace assay

K_KERNEL(main, assay::PlantedArgs, assay::NoShared,  // mistake: 'main'
         assay::AtMost<256>) {
  a.y[t.index] = 0.0f;
}
