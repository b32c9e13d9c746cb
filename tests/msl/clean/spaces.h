// Every space, used as it should be.
#include "kernel/words.h"

namespace assay {

struct PlantedArgs {
  K_DEV const float* x;
  K_DEV float* y;
  uint32_t count, unused;
};
struct PlantedShared {
  float sums[32];
};

struct Pair {
  float low, high;
  float sum() const { return low + high; }
};
struct View {
  K_DEV const float* x;
  K_GROUP PlantedShared* s;
  K_CONST const PlantedArgs* a;
  K_THREAD float* result;
};
K_TABLE float weights[2] = {0.5f, 2.0f};
K_FN K_DEV const float* row(K_DEV const float* x, uint32_t i) {
  return x + 4u * i;
}
K_FN void put(K_THREAD const View& view, K_THREAD float* last) {
  *view.result = row(view.x, 1u)[0] + view.s->sums[0] * weights[view.a->count % 2u];
  last[0] = *view.result;
}
template <class T>
K_FN float down(T x, uint32_t depth) {
  return depth == 0u ? float(x) : k_float(k_bits(float(x)));
}

}  // namespace assay

K_KERNEL(planted, assay::PlantedArgs, assay::PlantedShared, assay::AtMost<256>) {
  float result = 0.0f, last[2];
  const assay::View view = {a.x, &s, &a, &result};
  assay::put(view, last);
  const assay::Pair pair = {result, last[0]};
  K_DEV const uint32_t* words = reinterpret_cast<K_DEV const uint32_t*>(a.x);
  K_GROUP float& first = s.sums[0];
  if (t.lane == 0u) first = pair.sum();
  assay::barrier_group();
  const assay::PlantedArgs copy = a;  // a struct leaves any space whole
  copy.y[t.index] = assay::down(words[0], copy.count) + first;
}
