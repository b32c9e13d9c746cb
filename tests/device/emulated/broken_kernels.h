// Kernels with one mistake each, that the emulated grid must find, and their right forms.
#pragma once

#include "kernel/words.h"
#include "lang/lang_entries.h"

namespace assay::broken {

struct Args {
  K_DEV float* y;
  uint32_t count, unused;
};
struct Shared {
  float value[64];
};

}  // namespace assay::broken

K_KERNEL(right, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  s.value[t.index] = float(t.index);
  assay::barrier_group();
  a.y[t.group_x * t.group_size + t.index] = s.value[t.group_size - 1u - t.index];
}

K_KERNEL(large, assay::broken::Args, assay::NoShared, assay::AtMost<512>) {
  a.y[t.index] = float(t.index);
}

K_KERNEL(of_one_size, assay::broken::Args, assay::NoShared, assay::Exactly<64>) {
  a.y[t.index] = float(t.index);
}

K_KERNEL(never_awaits, assay::broken::Args, assay::NoShared, assay::EarlyAtMost<64>) {
  a.y[t.index] = 0.0f;
}

K_KERNEL(awaits_in_a_branch, assay::broken::Args, assay::NoShared, assay::EarlyAtMost<64>) {
  if (t.index != 7u) assay::await_inputs();
  a.y[t.index] = 0.0f;
}

K_KERNEL(reads_before_it_awaits, assay::broken::Args, assay::NoShared, assay::EarlyAtMost<64>) {
  const float before = a.y[t.index];
  assay::await_inputs();
  a.y[t.index] = before + 1.0f;
}

K_KERNEL(missing_barrier, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  s.value[t.index] = float(t.index);
  a.y[t.group_x * t.group_size + t.index] = s.value[t.index == 0u ? 0u : t.index - 1u];
}

K_KERNEL(barrier_in_a_branch, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  s.value[t.index] = 1.0f;
  if (t.index < 5u) assay::barrier_group();
  a.y[t.index] = s.value[t.index];
}

K_KERNEL(two_barriers, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  if (t.simd == 0u) {
    assay::barrier_group();
  } else {
    assay::barrier_group();
  }
  a.y[t.index] = 0.0f;
}

K_KERNEL(return_before_a_barrier, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  if (t.index >= a.count) return;
  assay::barrier_group();
  a.y[t.index] = 0.0f;
}

K_KERNEL(shuffle_in_a_branch, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  float x = float(t.lane);
  if (t.lane < 16u) x = assay::k_float(assay::shuffle_xor(assay::k_bits(x), 1u));
  a.y[t.index] = x;
}

K_KERNEL(shuffle_from_lane_32, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  a.y[t.index] = assay::k_float(assay::shuffle_from(0u, 32u));
}

K_KERNEL(unaligned_load, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  const assay::Words4 words = assay::load4(reinterpret_cast<K_DEV const uint32_t*>(a.y) + t.index);
  a.y[t.index] = assay::k_float(words.x);
}

K_KERNEL(unwritten_shared, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  if (t.index == 1u) s.value[1] = 1.0f;
  assay::barrier_group();
  a.y[t.index] = s.value[t.index];
}

K_KERNEL(beyond_shared, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  s.value[t.index + a.count] = 1.0f;
  assay::barrier_group();
  a.y[t.index] = s.value[t.index];
}

K_KERNEL(beyond_the_buffer, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  a.y[t.index + a.count] = 1.0f;
}

K_KERNEL(groups_that_share, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  a.y[t.index] = float(t.group_x);
}

K_KERNEL(full_stack, assay::broken::Args, assay::broken::Shared, assay::AtMost<256>) {
  volatile float big[100000];  // more than a thread's stack
  for (uint32_t i = 0u; i < 100000u; i += 100u) big[i] = float(i);
  a.y[t.index] = big[t.index];
}
