// Threads that run one function together and meet at barriers. A waiting thread spins for some
// microseconds and then sleeps, so that it takes little time from other processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace assay::cpu {

class Pool {
 public:
  /// `threads` in all, the caller's among them. With `flush_denormals` each runs with FTZ and DAZ
  /// set (a test of One Answer: no bit may change).
  Pool(uint32_t threads, bool flush_denormals);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  uint32_t threads() const { return threads_; }
  /// Runs function(thread) on every thread; returns when all are done.
  void run(const std::function<void(uint32_t)>& function);
  /// Inside run: waits until every thread is here.
  void barrier();

 private:
  void work(uint32_t thread);

  uint32_t threads_;
  bool flush_denormals_;
  const std::function<void(uint32_t)>* function_ = nullptr;
  std::atomic<uint32_t> generation_{0};  // raised when there is work (or the end)
  std::atomic<uint32_t> arrived_{0};
  std::atomic<uint32_t> phase_{0};  // raised when all have arrived at a barrier
  std::atomic<bool> stop_{false};
  std::vector<std::thread> workers_;
};

}  // namespace assay::cpu
