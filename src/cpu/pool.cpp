#include "cpu/pool.h"

#include <algorithm>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace assay::cpu {

namespace {

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#else
  std::this_thread::yield();
#endif
}

/// Waits until `value` is no longer `old`: spins, then sleeps. Waking from sleep costs some 50 µs
/// on a virtual machine, so a thread spins up to about 200 µs as long as its spins succeed; each
/// time it had to sleep after all (a neighbour holds the other's core) it halves its patience, down
/// to some 5 µs.
void wait_change(std::atomic<uint32_t>& value, uint32_t old) {
  constexpr int most = 10000, least = 250;  // pauses of about 20 ns
  static thread_local int patience = most;
  for (int i = 0; i < patience; ++i) {
    if (value.load(std::memory_order_acquire) != old) {
      patience = std::min(most, patience + patience / 16);
      return;
    }
    relax();
  }
  patience = std::max(least, patience / 2);
  while (value.load(std::memory_order_acquire) == old) value.wait(old, std::memory_order_acquire);
}

/// Sets FTZ and DAZ for a scope.
class DenormalMode {
 public:
#if defined(__x86_64__)
  explicit DenormalMode(bool flush) : saved_(_mm_getcsr()) {
    if (flush) _mm_setcsr(saved_ | 0x8040u);
  }
  ~DenormalMode() {
    _mm_setcsr(saved_);
  }

 private:
  uint32_t saved_;
#else
  explicit DenormalMode(bool) {}
#endif
};

}  // namespace

Pool::Pool(uint32_t threads, bool flush_denormals)
    : threads_(threads), flush_denormals_(flush_denormals) {
  for (uint32_t i = 1; i < threads_; ++i) workers_.emplace_back([this, i] { work(i); });
}

Pool::~Pool() {
  stop_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Pool::run(const std::function<void(uint32_t)>& function) {
  const DenormalMode mode(flush_denormals_);
  function_ = &function;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  function(0);
  barrier();
}

void Pool::work(uint32_t thread) {
  const DenormalMode mode(flush_denormals_);
  uint32_t seen = 0;
  for (;;) {
    wait_change(generation_, seen);
    ++seen;
    if (stop_) return;
    (*function_)(thread);
    barrier();
  }
}

void Pool::barrier() {
  const uint32_t phase = phase_.load(std::memory_order_relaxed);
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
    arrived_.store(0, std::memory_order_relaxed);
    phase_.fetch_add(1, std::memory_order_release);
    phase_.notify_all();
  } else {
    wait_change(phase_, phase);
  }
}

}  // namespace assay::cpu
