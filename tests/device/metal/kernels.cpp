// The tests' kernels.
#include "lang/lang_entries.h"
#include "machine.h"

namespace assay::metal::tests {
struct NothingShared {
  uint32_t unused;
};
}  // namespace assay::metal::tests

K_KERNEL(metal_test_step, assay::metal::tests::StepArgs, assay::metal::tests::NothingShared,
         assay::AtMost<256>) {
  if (t.group_x == 0 && t.group_y == 0 && t.index == 0) a.y[0] = a.x[0] * a.factor + a.plus;
}
K_KERNEL(metal_test_other, assay::metal::tests::StepArgs, assay::metal::tests::NothingShared,
         assay::AtMost<256>) {
  if (t.index == 0) a.y[0] = a.x[0] - a.plus;
}
