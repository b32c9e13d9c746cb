// Forms that a kernel may take.
#include "kernel/words.h"

namespace assay {
namespace planted_forms {

struct PlantedArgs {
  K_DEV const float* x;
  K_DEV float* y;
  K_CONST const float* weights;
  float limits[2];
  uint32_t count, mode;
};
struct PlantedShared {
  float sums[2][16];
};

enum Mode : uint32_t { plain = 0, doubled = 1 };

template <uint32_t n>
struct Powers {
  K_TABLE uint32_t square = n * n;
  K_TABLE bool even = n % 2u == 0u;
  template <class T>
  K_FN T scaled(T x) {
    return x * T(square);
  }
};

K_FN float total(K_THREAD const float (&v)[4], K_GROUP float (&row)[16]) {
  static_assert(sizeof(v) == 16, "a reference to an array keeps its length");
  float sum = row[0];
  K_UNROLL
  for (uint32_t i = 0u; i < 4u; ++i) sum += v[i];
  return sum;
}
K_FN K_THREAD float* last_of(K_THREAD float* v, uint32_t n) {
  return v + n - 1u;
}

}  // namespace planted_forms
}  // namespace assay

K_KERNEL(planted, assay::planted_forms::PlantedArgs, assay::planted_forms::PlantedShared,
         assay::AtMost<256>) {
  using namespace assay::planted_forms;
  constexpr uint32_t four = 4u;
  float v[four] = {1.0f, 2.0f};
  K_THREAD float* const last = last_of(v, four);
  const auto x = t.index < a.count ? a.x : a.x + 1;  // device, as a.x is
  K_DEV const float* const ends[2] = {x, x + a.count};
  uint32_t i = 0u;
  do {
    *last += ends[i % 2u][0];
  } while (++i < 2u);
  switch (a.mode) {
    case doubled:
      *last = Powers<2u>::scaled(*last);
      break;
    case plain:
    default:
      *last = Powers<3u>::even ? 0.0f : *last + a.limits[1];
  }
  if (t.lane == 0u) s.sums[1][0] = a.weights[0];
  assay::barrier_group();
  a.y[t.index] = total(v, s.sums[1]);
}
