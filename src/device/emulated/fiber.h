// A fiber: a thread of the emulated grid, with a stack of its own, that runs until it is switched
// away from. The sanitizers are told of each switch.
#pragma once

#include <cstddef>

namespace assay::emulated {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool watches_races = true;
#elif defined(__has_feature)
inline constexpr bool watches_races = __has_feature(thread_sanitizer);
#else
inline constexpr bool watches_races = false;
#endif

/// A place to switch to. One of a worker's contexts is its own thread's, the others are fibers.
struct Context {
  void* stack_pointer = nullptr;  // where it was left
  void* stack = nullptr;          // the mapping, null for a thread's own
  size_t stack_bytes = 0;
  void (*entry)(void*) = nullptr;
  void* argument = nullptr;
  void* fake_stack = nullptr;  // ASan's
  void* race_fiber = nullptr;  // TSan's
};

/// A stack with a page below it that faults. Throws std::bad_alloc. Given back, it is kept for the
/// next.
void allocate_stack(Context& fiber);
void give_back_stack(Context& fiber);

/// Makes the fiber begin anew at entry(argument), which must never return. For TSan it is a new
/// thread, ordered after what the caller has done.
void reset(Context& fiber, void (*entry)(void*), void* argument);

/// Takes the calling thread as a context that fibers can switch back to.
void adopt_thread(Context& own);

/// Leaves `from`, which is running, and goes on with `to`. `last`: `from` will not be resumed.
void switch_to(Context& from, Context& to, bool last = false);

/// The first words of a fiber's entry.
void arrived(Context& from);

/// Makes what the calling fiber did so far visible to whoever acquires `place` later, for TSan,
/// which sees no order in switches themselves.
void release(void* place);
void acquire(void* place);

}  // namespace assay::emulated
