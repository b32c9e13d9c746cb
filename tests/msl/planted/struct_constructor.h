// A struct with a constructor.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV float* y;
};
struct Pair {
  explicit Pair(float x) : low(x), high(x) {}  // mistake: no constructors
  float low, high;
};

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::NoShared, assay::AtMost<256>) {
  a.y[t.index] = assay::Pair(1.0f).low;
}
