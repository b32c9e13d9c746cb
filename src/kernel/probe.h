// Whether a device computes f32 as the contract says; asked before any model runs on it.
#pragma once

#include "kernel/probe_cases.h"
#include "kernel/words.h"

namespace assay {

/// Questions to the arithmetic (kernel/probe_cases.h): x (cases, 3), y (questions, cases).
struct ProbeArgs {
  K_DEV const float* x;
  K_DEV uint32_t* y;
  uint32_t cases, unused;
};
static_assert(sizeof(ProbeArgs) == 24, "the host and every device agree");

}  // namespace assay

/// Grid: (cases / threads of a group, questions). y[question][case] from x[case] = a, b, c.
K_KERNEL(probe, assay::ProbeArgs, assay::NoShared, assay::AtMost<256>) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.cases)
    a.y[t.group_y * a.cases + i] =
        assay::probe_answer(t.group_y, a.x[3u * i], a.x[3u * i + 1u], a.x[3u * i + 2u]);
}
