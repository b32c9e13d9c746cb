// The best of a row of logits, best first; equal logits: the lower id first. A logit and its id are
// one key that orders as an integer, so any order of comparisons gives the same answer. Groups take
// 2048 keys each and keep the best k; passes repeat until one group is left.
#pragma once

#include "kernel/words.h"

namespace assay {

K_TABLE uint32_t sorted_keys = 2048;  // of a group of top_k
K_TABLE uint32_t most_best = 256;     // logits that top_k chooses

/// One pass.
struct TopKArgs {
  K_DEV const float* logits;   // (rows, count), or null: `from` holds keys
  K_DEV const uint64_t* from;  // (rows, count)
  K_DEV uint64_t* to;          // (rows, groups, k)
  uint32_t count, k;
};
static_assert(sizeof(TopKArgs) == 32, "the host and every device agree");

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

/// The highest of `count` keys, a power of 2, to the first place.
K_FN void find_highest(K_GROUP TopKShared& s, uint32_t count, Thread t) {
  for (uint32_t kept = count / 2u; kept > 0u; kept /= 2u) {
    barrier_group();
    for (uint32_t i = t.index; i < kept; i += t.group_size)
      if (s.keys[i] < s.keys[i + kept]) s.keys[i] = s.keys[i + kept];
  }
  barrier_group();
}

/// A bitonic network over `count` keys, a power of 2, descending: 66 rounds of compare and exchange
/// for 2048.
K_FN void sort_keys(K_GROUP TopKShared& s, uint32_t count, Thread t) {
  for (uint32_t run = 2u; run <= count; run *= 2u)
    for (uint32_t step = run / 2u; step > 0u; step /= 2u) {
      barrier_group();
      for (uint32_t pair = t.index; pair < count / 2u; pair += t.group_size) {
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
/// count); to keys (rows, groups, k), 0 where there is none. k: 1 … most_best.
K_KERNEL(top_k, assay::TopKArgs, assay::TopKShared, assay::AtMost<512>) {
  const uint32_t groups = (a.count + assay::sorted_keys - 1u) / assay::sorted_keys;
  const uint64_t row = uint64_t(t.group_y) * a.count;
  const uint32_t first = t.group_x * assay::sorted_keys;
  uint32_t count = assay::most_best;  // the group's keys, up to a power of 2
  while (count < assay::sorted_keys && first + count < a.count) count *= 2u;
  for (uint32_t i = t.index; i < count; i += t.group_size) {
    const uint32_t at = first + i;
    uint64_t key = 0u;
    if (at < a.count)
      key = a.logits != nullptr ? assay::key_of(a.logits[row + at], at) : a.from[row + at];
    s.keys[i] = key;
  }
  if (a.k == 1u)
    assay::find_highest(s, count, t);
  else
    assay::sort_keys(s, count, t);
  for (uint32_t i = t.index; i < a.k; i += t.group_size)
    a.to[(uint64_t(t.group_y) * groups + t.group_x) * a.k + i] = s.keys[i];
}
