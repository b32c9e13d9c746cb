// Every kernel in its Metal form, as the emulated grid's kernels "metal:NAME". The namespace has
// another name, so that both forms can stand in one program.
#include "msl/host/metal_stdlib"

#undef K_DEV
#undef K_CONST
#undef K_GROUP
#undef K_THREAD
#undef K_FN
#undef K_TABLE
#undef K_UNROLL
#undef K_KERNEL
#undef ASSAY_HANDLE
#undef ASSAY_ENTRY

namespace grid = ::assay;
#define assay assay_metal
#define __METAL_VERSION__ 310
#include "lang/lang.h"

// Metal's entry has its group's memory in the function; here the grid gives it. Unrolling is
// clang's.
#undef K_KERNEL
#undef K_UNROLL
#define K_UNROLL
#define K_KERNEL(name, Args, Shared, Group)                                                 \
  static void name([[maybe_unused]] const Args& a, [[maybe_unused]] Shared& s,              \
                   [[maybe_unused]] ::assay::Thread t);                                     \
  static const grid::KernelEntry name##_entry{                                              \
      "metal:" #name,                                                                       \
      sizeof(Args),                                                                         \
      sizeof(Shared),                                                                       \
      Group::most_threads,                                                                  \
      Group::exactly,                                                                       \
      false,                                                                                \
      [](const void* args, void* shared, grid::Thread t) {                                  \
        name(*static_cast<const Args*>(args), *static_cast<Shared*>(shared),                \
             ::assay::Thread{t.group_x, t.group_y, t.index, t.group_size, t.lane, t.simd}); \
      }};                                                                                   \
  static void name([[maybe_unused]] const Args& a, [[maybe_unused]] Shared& s,              \
                   [[maybe_unused]] ::assay::Thread t)
#include "kernel/list.h"
