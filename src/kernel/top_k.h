// The best of a row of logits, best first; equal logits: the lower id first. A logit and its id are
// one key that orders as an integer, so any order of comparisons gives the same answer. Groups sort
// 2048 keys each and keep the best k; passes repeat until one group is left.
#pragma once

#include "kernel/words.h"

namespace assay {

K_TABLE uint32_t sorted_keys = 2048;  // of a group
K_TABLE uint32_t most_best = 1024;    // k at most

struct TopKShared {
  uint64_t keys[2048];
};

/// Ascends with the logit, then with descending id. NaN and −infinity, which are never chosen, are
/// 0, as is "no key".
K_FN uint64_t key_of(float logit, uint32_t id) {
  const uint32_t bits = k_bits(logit);
  if (!(logit == logit) || bits == 0xff800000u) return 0u;
  // +0 and −0 are equal logits.
  const uint32_t plain = (bits & 0x7fffffffu) == 0u ? 0u : bits;
  const uint32_t ordered = (plain & 0x80000000u) != 0u ? ~plain : plain | 0x80000000u;
  return (uint64_t(ordered) << 32) | uint64_t(~id);
}

/// A bitonic network over the group's keys, descending: 66 rounds of compare and exchange.
K_FN void sort_keys(K_GROUP TopKShared& s, Thread t) {
  for (uint32_t run = 2u; run <= sorted_keys; run *= 2u)
    for (uint32_t step = run / 2u; step > 0u; step /= 2u) {
      barrier_group();
      for (uint32_t pair = t.index; pair < sorted_keys / 2u; pair += t.group_size) {
        const uint32_t low = pair / step * 2u * step + pair % step, high = low + step;
        const bool descending = (low & run) == 0u;
        const uint64_t a = s.keys[low], b = s.keys[high];
        if (descending == (a < b)) {
          s.keys[low] = b;
          s.keys[high] = a;
        }
      }
    }
  barrier_group();
}

}  // namespace assay

/// Grid: (count / 2048, rows). From logits (rows, count), or where they are null from keys (rows,
/// count); to keys (rows, groups, k).
K_KERNEL(top_k, assay::TopKArgs, assay::TopKShared) {
  const uint32_t groups = (a.count + assay::sorted_keys - 1u) / assay::sorted_keys;
  const uint64_t row = uint64_t(t.group_y) * a.count;
  for (uint32_t i = t.index; i < assay::sorted_keys; i += t.group_size) {
    const uint32_t at = t.group_x * assay::sorted_keys + i;
    uint64_t key = 0u;
    if (at < a.count)
      key = a.logits != nullptr ? assay::key_of(a.logits[row + at], at) : a.from[row + at];
    s.keys[i] = key;
  }
  assay::sort_keys(s, t);
  for (uint32_t i = t.index; i < a.k; i += t.group_size)
    a.to[(uint64_t(t.group_y) * groups + t.group_x) * a.k + i] = s.keys[i];
}
