// Attention with windows, soft caps, ALiBi and sinks has the bits of plain loops in each of its
// kernels.
#include <gtest/gtest.h>

#include "loops.h"

namespace assay {
namespace {

using tests::Sketch;

struct Heads {
  uint32_t heads, kv_heads, key_dim, value_dim;
};

/// What each attention of a program is asked for; they share a cache.
std::vector<op::Attend> attends(const Heads& heads, const std::vector<op::Attend>& asked) {
  std::vector<op::Attend> all;
  for (op::Attend attend : asked) {
    attend.heads = heads.heads;
    attend.scale = 1 / std::sqrt(float(heads.key_dim));
    all.push_back(attend);
  }
  return all;
}

/// Queries, keys and values from tables, one store, and after it each attention, every second one with
/// sinks.
class Attending {
 public:
  Sketch sketch;

  /// `nans`: positions from 0 on whose keys and values are NaN.
  Attending(const Heads& heads, const std::vector<op::Attend>& asked, uint32_t nans = 0)
      : sketch(heads.key_dim) {
    sketch.program.caches = {{heads.kv_heads, heads.key_dim, heads.value_dim}};
    const uint32_t queries = sketch.embed(heads.heads * heads.key_dim, 4);
    const uint32_t keys = cached(heads.kv_heads * heads.key_dim, nans);
    const uint32_t values = cached(heads.kv_heads * heads.value_dim, nans);
    sketch.add(op::KvStore{0}, {keys, values});
    uint32_t total = op::none;
    bool sinks = false;
    for (const op::Attend& attend : attends(heads, asked)) {
      const uint32_t y =
          sketch.add(attend, {queries}, sinks ? sketch.spread(1, heads.heads, 1, 3) : op::none);
      total = total == op::none ? y : sketch.add(op::Add{}, {total, y});
      sinks = !sinks;
    }
    sketch.finish();
  }

 private:
  uint32_t cached(uint32_t width, uint32_t nans) {
    std::vector<float> places(704 * width, 0.25f);
    std::fill_n(places.begin(), nans * width, NAN);
    return sketch.add(op::Add{},
                      {sketch.embed(width, 2),
                       sketch.add(op::Embed{true}, {}, sketch.floats(704, width, places))});
  }
};

op::Attend with(uint32_t window, bool chunked = false, float soft_cap = 0, float alibi = 0) {
  op::Attend attend;
  attend.window = window, attend.chunked = chunked;
  attend.soft_cap = soft_cap, attend.alibi = alibi;
  return attend;
}

// Windows across the borders of chunks, in steps of many tokens and of few, of one sequence and of
// two.
TEST(SpecialAttention, HasTheBitsOfLoops) {
  const std::vector<op::Attend> asked = {with(0),
                                         with(1),
                                         with(5),
                                         with(63),
                                         with(64),
                                         with(65),
                                         with(100),
                                         with(128),
                                         with(7, true),
                                         with(64, true),
                                         with(100, true),
                                         with(0, false, 2),
                                         with(0, false, 0, 8),
                                         with(70, true, 3, 2),
                                         with(66, false, 1, 4)};
  uint32_t i = 0;
  for (const Heads& heads : {Heads{3, 1, 32, 32}, Heads{6, 2, 16, 40}, Heads{2, 2, 40, 128}}) {
    const Attending program(heads, asked);
    tests::WatchedQueue::Seen seen;
    const auto schedules = tests::all_schedules();
    tests::expect_loops(program.sketch.program, {{70}, {1}, {2, 9}, {60, 16}, {1, 1}, {6}},
                        schedules[i++ % schedules.size()], &seen);
    const bool wide = heads.value_dim > 64;
    EXPECT_GT(seen.launches[wide ? "attention_tile_128_special" : "attention_tile_special"], 0u);
    EXPECT_GT(seen.launches["attention_special"], 0u);
    if (HasFailure()) return;
  }
}

TEST(SpecialAttention, OfWideHeadsHasTheBitsOfLoops) {
  const Attending program({2, 1, 320, 288}, {with(9), with(64, true, 2, 8), with(0)});
  tests::expect_loops(program.sketch.program, {{67}, {1}, {3}});
}

// Past 512 keys groups share a head in steps of few tokens, unless a window is short.
TEST(SpecialAttention, OfManyKeysHasTheBitsOfLoops) {
  const Attending program({2, 1, 8, 32},
                          {with(0), with(100), with(530), with(560, true), with(0, false, 2, 8)});
  const auto schedules = tests::all_schedules();
  for (const emulated::QueueOptions& queue : {schedules.front(), schedules.back()}) {
    tests::WatchedQueue::Seen seen;
    tests::expect_loops(program.sketch.program, {{600}, {1}, {3}, {40}, {1}}, queue, &seen);
    EXPECT_GT(seen.launches["attention_chunks_special"], 0u);
    EXPECT_GT(seen.launches["attention_combine_special"], 0u);
    if (HasFailure()) return;
  }
}

// Keys before a window are left out, whatever they hold.
TEST(SpecialAttention, DoesNotSeeNaNBeforeAWindow) {
  const Attending program({2, 1, 32, 32}, {with(5), with(64), with(65), with(128), with(33, true)},
                          67);
  const op::Program& all = program.sketch.program;
  tests::expect_loops(all, {{140}, {1}, {64}, {2}});
  auto options = tests::options_with(1);
  options.context = 704;
  const auto logits = tests::run_cut(*tests::emulated_executor(all, options), {140, 1, 64, 2});
  const size_t width = logits.size() / 207;
  for (size_t t = 0; t < 207; ++t) EXPECT_EQ(std::isnan(logits[t * width]), t < 67 + 127) << t;
}

// What has none of them runs on kernels that know none of them; so does a window that no position
// leaves.
TEST(SpecialAttention, IsOnlyWhereItIsAskedFor) {
  Sketch sketch;
  sketch.program.caches = {{1, 32, 32}};
  const uint32_t x = sketch.embed(32);
  sketch.add(op::KvStore{0}, {x, x});
  for (const uint32_t window : {0u, 704u, 1000u}) {
    op::Attend attend = with(window);
    attend.heads = 1, attend.scale = 0.2f;
    sketch.add(attend, {x});
  }
  tests::WatchedQueue::Seen seen;
  tests::expect_loops(sketch.finish(), {{9}, {1}}, {}, &seen);
  for (const auto& [kernel, count] : seen.launches)
    EXPECT_FALSE(kernel.ends_with("_special")) << kernel;
}

}  // namespace
}  // namespace assay
