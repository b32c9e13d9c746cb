// Whether a device computes f32 as the contract says; asked before any model runs on it.
#pragma once

#include "kernel/probe_cases.h"
#include "kernel/words.h"

/// Grid: (cases / threads of a group, questions). y[question][case] from x[case] = a, b, c.
K_KERNEL(probe, assay::ProbeArgs, assay::NoShared) {
  const uint32_t i = t.group_x * t.group_size + t.index;
  if (i < a.cases)
    a.y[t.group_y * a.cases + i] =
        assay::probe_answer(t.group_y, a.x[3u * i], a.x[3u * i + 1u], a.x[3u * i + 2u]);
}
