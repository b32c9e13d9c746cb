// The pool: every thread runs, barriers hold, an idle pool wakes. TSan runs these too.
#include "cpu/pool.h"

#include <gtest/gtest.h>

#include <chrono>

#include "data.h"

namespace assay::tests {
namespace {

TEST(Pool, RunsTheFunctionOnceOnEachThread) {
  for (uint32_t threads : {1u, 2u, 3u, 7u}) {
    cpu::Pool pool(threads, false);
    ASSERT_EQ(pool.threads(), threads);
    std::vector<uint32_t> ran(threads, 0);  // each thread has its own place: no atomics needed
    const uint32_t repetitions = threads == 7 ? 500 : 2000;
    for (uint32_t i = 0; i < repetitions; ++i) pool.run([&](uint32_t thread) { ++ran[thread]; });
    EXPECT_EQ(ran, std::vector<uint32_t>(threads, repetitions));
  }
}

/// Between two barriers a thread writes its place and reads all the others' after the barrier: a
/// barrier that lets one pass early, or does not publish, gives a wrong sum.
TEST(Pool, BarriersSeparateWhatIsWrittenFromWhatIsRead) {
  for (uint32_t threads : {1u, 2u, 3u, 7u}) {
    cpu::Pool pool(threads, false);
    std::vector<uint64_t> place(threads, 0), wrong(threads, 0);
    const uint64_t rounds = threads == 7 ? 50 : 400;
    for (uint64_t repetition = 0; repetition < 5; ++repetition)
      pool.run([&](uint32_t thread) {
        for (uint64_t round = 1; round <= rounds; ++round) {
          place[thread] = round * (thread + 1);
          pool.barrier();
          uint64_t sum = 0;
          for (uint64_t value : place) sum += value;
          wrong[thread] += sum != round * threads * (threads + 1) / 2;
          pool.barrier();
        }
      });
    EXPECT_EQ(wrong, std::vector<uint64_t>(threads, 0)) << threads << " threads";
  }
}

/// Twenty milliseconds are a thousand times the spin: the workers sleep and must be woken.
TEST(Pool, WakesAfterIdling) {
  cpu::Pool pool(3, false);
  std::vector<uint32_t> ran(3, 0);
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    pool.run([&](uint32_t thread) {
      if (thread == 1) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // others wait
      ++ran[thread];
      pool.barrier();
    });
  }
  EXPECT_EQ(ran, std::vector<uint32_t>(3, 5));
}

TEST(Pool, StopsWithoutHavingRun) {
  for (int i = 0; i < 50; ++i) cpu::Pool pool(3, false);
}

#if defined(__x86_64__)
TEST(Pool, FlushesDenormalsInsideRunOnlyAndOnEveryThread) {
  for (bool flush : {false, true}) {
    cpu::Pool pool(3, flush);
    std::vector<uint32_t> mode(3, 0);
    const uint32_t before = _mm_getcsr();
    pool.run([&](uint32_t thread) { mode[thread] = _mm_getcsr() & 0x8040u; });
    EXPECT_EQ(mode, std::vector<uint32_t>(3, flush ? 0x8040u : 0u));
    EXPECT_EQ(_mm_getcsr() & 0x8040u, before & 0x8040u);
  }
}
#endif

}  // namespace
}  // namespace assay::tests
