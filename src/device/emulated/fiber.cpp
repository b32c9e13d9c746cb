#include "device/emulated/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <mutex>
#include <new>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define ASSAY_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ASSAY_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define ASSAY_TSAN 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define ASSAY_TSAN 1
#endif

#if defined(ASSAY_ASAN)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(ASSAY_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

// void assay_switch_stacks(void** left, void* next): saves what a call must keep on the stack,
// leaves its address in *left and takes the same from `next`. 14 instructions, where swapcontext
// makes a system call.
extern "C" void assay_switch_stacks(void** left, void* next);
#if defined(__x86_64__)
asm(R"(
.text
.p2align 4
.globl assay_switch_stacks
.type assay_switch_stacks, @function
assay_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size assay_switch_stacks, .-assay_switch_stacks
)");
#elif defined(__aarch64__)
#if defined(__APPLE__)
#define ASSAY_SWITCH "_assay_switch_stacks"
#else
#define ASSAY_SWITCH "assay_switch_stacks"
#endif
asm(".text\n.p2align 4\n.globl " ASSAY_SWITCH "\n" ASSAY_SWITCH
    ":\n"
    "  sub sp, sp, #160\n"
    "  stp x19, x20, [sp]\n"
    "  stp x21, x22, [sp, #16]\n"
    "  stp x23, x24, [sp, #32]\n"
    "  stp x25, x26, [sp, #48]\n"
    "  stp x27, x28, [sp, #64]\n"
    "  stp x29, x30, [sp, #80]\n"
    "  stp d8, d9, [sp, #96]\n"
    "  stp d10, d11, [sp, #112]\n"
    "  stp d12, d13, [sp, #128]\n"
    "  stp d14, d15, [sp, #144]\n"
    "  mov x9, sp\n"
    "  str x9, [x0]\n"
    "  mov sp, x1\n"
    "  ldp x19, x20, [sp]\n"
    "  ldp x21, x22, [sp, #16]\n"
    "  ldp x23, x24, [sp, #32]\n"
    "  ldp x25, x26, [sp, #48]\n"
    "  ldp x27, x28, [sp, #64]\n"
    "  ldp x29, x30, [sp, #80]\n"
    "  ldp d8, d9, [sp, #96]\n"
    "  ldp d10, d11, [sp, #112]\n"
    "  ldp d12, d13, [sp, #128]\n"
    "  ldp d14, d15, [sp, #144]\n"
    "  add sp, sp, #160\n"
    "  ret\n");
#else
#error "the emulated grid switches stacks on x86-64 and AArch64"
#endif

namespace assay::emulated {

namespace {

thread_local Context* starting = nullptr;  // the fiber whose entry runs next

void begin() {
  Context& fiber = *starting;
  fiber.entry(fiber.argument);
  __builtin_trap();  // an entry switches away at its end
}

/// Stacks that no fiber uses: a launch would spend more on mapping them than on running.
struct Unused {
  std::mutex mutex;
  std::vector<void*> stacks;
};
Unused& unused() {
  static auto* kept = new Unused;
  return *kept;
}

size_t page_bytes() {
  static const size_t bytes = size_t(sysconf(_SC_PAGESIZE));
  return bytes;
}

}  // namespace

void allocate_stack(Context& fiber) {
#if defined(ASSAY_ASAN)
  fiber.stack_bytes = 256 << 10;
#else
  fiber.stack_bytes = 64 << 10;
#endif
  {
    const std::scoped_lock lock(unused().mutex);
    if (!unused().stacks.empty()) {
      fiber.stack = unused().stacks.back();
      unused().stacks.pop_back();
      return;
    }
  }
  void* mapped = mmap(nullptr, fiber.stack_bytes + page_bytes(), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  mprotect(mapped, page_bytes(), PROT_NONE);
  fiber.stack = static_cast<char*>(mapped) + page_bytes();
}

void give_back_stack(Context& fiber) {
#if defined(ASSAY_TSAN)
  if (fiber.race_fiber && fiber.stack) __tsan_destroy_fiber(fiber.race_fiber);
#endif
  if (fiber.stack) {
    const std::scoped_lock lock(unused().mutex);
    unused().stacks.push_back(fiber.stack);
  }
  fiber = {};
}

void reset(Context& fiber, void (*entry)(void*), void* argument) {
  fiber.entry = entry;
  fiber.argument = argument;
  fiber.fake_stack = nullptr;
#if defined(ASSAY_TSAN)
  // The fiber that had this stack is not ordered before the next one, whose writes to it would be
  // races: memory that is mapped anew has no past.
  if (fiber.race_fiber && mmap(fiber.stack, fiber.stack_bytes, PROT_READ | PROT_WRITE,
                               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
    throw std::bad_alloc();
#endif
  auto top = (reinterpret_cast<uintptr_t>(fiber.stack) + fiber.stack_bytes) & ~uintptr_t(15);
  auto* words = reinterpret_cast<void**>(top);
#if defined(__x86_64__)
  // Six saved registers, the address to return to, and a word that aligns the stack as a call does.
  words -= 8;
  for (int i = 0; i < 6; ++i) words[i] = nullptr;
  words[6] = reinterpret_cast<void*>(&begin);
  words[7] = nullptr;
#else
  words -= 20;
  for (int i = 0; i < 20; ++i) words[i] = nullptr;
  words[11] = reinterpret_cast<void*>(&begin);  // x30
#endif
  fiber.stack_pointer = words;
#if defined(ASSAY_ASAN)
  // What the fiber before left on the stack when it was abandoned.
  __asan_unpoison_memory_region(fiber.stack, fiber.stack_bytes);
#endif
#if defined(ASSAY_TSAN)
  if (fiber.race_fiber) __tsan_destroy_fiber(fiber.race_fiber);
  fiber.race_fiber = __tsan_create_fiber(0);
#endif
}

void adopt_thread([[maybe_unused]] Context& own) {
#if defined(ASSAY_ASAN)
#if defined(__APPLE__)
  own.stack_bytes = pthread_get_stacksize_np(pthread_self());
  own.stack = static_cast<char*>(pthread_get_stackaddr_np(pthread_self())) - own.stack_bytes;
#else
  pthread_attr_t attributes;
  pthread_getattr_np(pthread_self(), &attributes);
  pthread_attr_getstack(&attributes, &own.stack, &own.stack_bytes);
  pthread_attr_destroy(&attributes);
#endif
#endif
#if defined(ASSAY_TSAN)
  own.race_fiber = __tsan_get_current_fiber();
#endif
}

void switch_to(Context& from, Context& to, [[maybe_unused]] bool last) {
  starting = &to;
#if defined(ASSAY_ASAN)
  __sanitizer_start_switch_fiber(last ? nullptr : &from.fake_stack, to.stack, to.stack_bytes);
#endif
#if defined(ASSAY_TSAN)
  __tsan_switch_to_fiber(to.race_fiber, __tsan_switch_to_fiber_no_sync);
#endif
  assay_switch_stacks(&from.stack_pointer, to.stack_pointer);
  arrived(from);
}

void arrived([[maybe_unused]] Context& from) {
#if defined(ASSAY_ASAN)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

void release([[maybe_unused]] void* place) {
#if defined(ASSAY_TSAN)
  __tsan_release(place);
#endif
}

void acquire([[maybe_unused]] void* place) {
#if defined(ASSAY_TSAN)
  __tsan_acquire(place);
#endif
}

}  // namespace assay::emulated
