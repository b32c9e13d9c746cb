// The words of the kernel language as plain C++: for the host, and for the emulated grid
// (device/emulated/), whose meaning of barriers, shuffles and tiles is the definition that the
// other devices are tested against.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#define K_DEV     // address space: device memory
#define K_CONST   // address space: constant memory
#define K_GROUP   // address space: memory shared by a group
#define K_THREAD  // address space: a thread's own memory
// A device function. Internal linkage: files compiled for different instruction sets must not share
// one copy.
#define K_FN static inline
#define K_TABLE static constexpr  // a constant of program or class scope
#define K_UNROLL                  // before a loop of constant length

/// The kernel `name` over Args (as the host filled them) and a group's Shared, whose groups have
/// the threads that Group says (lang/lang.h). Its body sees `a`, `s` and `t`. For a host this makes
/// the handle assay::kernels::name, with which it is launched; lang/lang_entries.h adds the entry
/// by which the emulated grid runs it.
#define K_KERNEL(name, Args, Shared, Group) ASSAY_HANDLE(name, Args, Shared, Group)
#define ASSAY_HANDLE(name, Args, Shared, Group)                                    \
  namespace assay {                                                                \
  namespace kernels {                                                              \
  inline constexpr ::assay::Kernel<Args, Group> name{#name};                       \
  }                                                                                \
  }                                                                                \
  [[maybe_unused]] static void name##_body([[maybe_unused]] K_CONST const Args& a, \
                                           [[maybe_unused]] K_GROUP Shared& s,     \
                                           [[maybe_unused]] ::assay::Thread t)
#define ASSAY_ENTRY(name, Args, Shared, Group)                                          \
  static void name##_body(K_CONST const Args& a, K_GROUP Shared& s, ::assay::Thread t); \
  [[maybe_unused]] static const ::assay::KernelEntry name##_entry{                      \
      #name,                                                                            \
      sizeof(Args),                                                                     \
      sizeof(Shared),                                                                   \
      Group::most_threads,                                                              \
      Group::exactly,                                                                   \
      Group::early,                                                                     \
      [](const void* args, void* shared, ::assay::Thread t) {                           \
        name##_body(*static_cast<const Args*>(args), *static_cast<Shared*>(shared), t); \
      }};                                                                               \
  ASSAY_HANDLE(name, Args, Shared, Group)

namespace assay {

/// Where a thread stands. Groups are (group_x, group_y) of the grid; `index` runs over the group's
/// `group_size` threads, 32 lanes to a simd.
struct Thread {
  uint32_t group_x, group_y, index, group_size, lane, simd;
};

/// A kernel as a host launches it (device/queue.h): its name, the only arguments that it takes, and
/// the threads of its groups.
template <class Arguments, class Group>
struct Kernel {
  using Args = Arguments;
  static_assert(sizeof(Args) <= 512, "the arguments of a kernel take at most 512 bytes");
  static constexpr uint32_t threads = Group::most_threads;  // of a group: so many, or the most
  static constexpr bool exactly = Group::exactly;
  const char* name;
};

/// Adds itself to the kernels that the emulated grid knows by name (device/emulated/kernels.h).
struct KernelEntry {
  using Body = void (*)(const void* args, void* shared, Thread t);
  KernelEntry(const char* name, uint32_t args_bytes, uint32_t shared_bytes, uint32_t most_threads,
              bool exactly, bool early, Body body);
  const char* name;
  uint32_t args_bytes, shared_bytes;
  uint32_t most_threads;  // of a group
  bool exactly;           // a group has so many, never fewer
  bool early;             // its body calls await_inputs()
  Body body;
};

/// RN(a·b + c), one rounding.
K_FN float k_fma(float a, float b, float c) {
  return __builtin_fmaf(a, b, c);
}
K_FN float k_div(float a, float b) {
  return a / b;
}
K_FN float k_sqrt(float x) {
  return __builtin_sqrtf(x);
}
K_FN uint32_t k_bits(float x) {
  return std::bit_cast<uint32_t>(x);
}
K_FN float k_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
/// The nearest integer, ties to even; |x| < 2^22.
K_FN int32_t k_round(float x) {
  return int32_t(__builtin_nearbyintf(x));
}
/// Four int8 of `a` times four of `b`, summed, plus c: exact.
K_FN int32_t k_dot4_i8(uint32_t a, uint32_t b, int32_t c) {
  for (int i = 0; i < 32; i += 8) c += int32_t(int8_t(a >> i)) * int32_t(int8_t(b >> i));
  return c;
}
/// Four bytes of the eight in `low` (0 … 3) and `high` (4 … 7), as the low three bits of each byte
/// of `codes` name them.
K_FN uint32_t k_pick_bytes(uint32_t codes, uint32_t low, uint32_t high) {
  uint32_t picked = 0u;
  for (uint32_t at = 0u; at < 32u; at += 8u) {
    const uint32_t code = codes >> at;
    picked |= (((code & 4u) != 0u ? high : low) >> (8u * (code & 3u)) & 255u) << at;
  }
  return picked;
}

/// Sixteen bytes.
struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};

/// Reports an address that a GPU would refuse (device/emulated/group.cpp).
void check_alignment(const void* p, uint32_t bytes, const char* file, int line);

K_FN Words4 load4(K_DEV const uint32_t* p, const char* file = __builtin_FILE(),
                  int line = __builtin_LINE()) {
  if (reinterpret_cast<uintptr_t>(p) % 16) check_alignment(p, 16, file, line);
  return {p[0], p[1], p[2], p[3]};
}
K_FN void store4(K_DEV uint32_t* p, Words4 v, const char* file = __builtin_FILE(),
                 int line = __builtin_LINE()) {
  if (reinterpret_cast<uintptr_t>(p) % 16) check_alignment(p, 16, file, line);
  p[0] = v.x;
  p[1] = v.y;
  p[2] = v.z;
  p[3] = v.w;
}

// Meeting points. Every thread of the group (barrier) or of the simd (the others) must come to the
// same one; the grid names who waits where when they don't.

/// All threads of the group; what they wrote before to shared and device memory is seen after.
void barrier_group(const char* file = __builtin_FILE(), int line = __builtin_LINE());
/// All threads of the group, in early kernels; all launches before this one have ended, and what
/// they wrote is seen. Before, such a kernel reads only its arguments and weights, which no launch
/// writes, and writes nothing. It is no barrier: devices let a thread go on before others have
/// come.
void await_inputs(const char* file = __builtin_FILE(), int line = __builtin_LINE());
/// The value that lane `lane`, or lane (own ^ mask), gave.
uint32_t shuffle_from(uint32_t value, uint32_t lane, const char* file = __builtin_FILE(),
                      int line = __builtin_LINE());
uint32_t shuffle_xor(uint32_t value, uint32_t mask, const char* file = __builtin_FILE(),
                     int line = __builtin_LINE());

/// What a lane holds of a tile of 16 rows × 8 columns of exact integer sums: rows tile_row and
/// tile_row + 8, of each the columns 2·tile_slot and 2·tile_slot + 1, in that order.
struct TileSums {
  float sum[4];
};
/// Which row of the first eight, and which of four slots, is the lane's: as the sums lie, and as
/// weights must be given.
uint32_t tile_row(uint32_t lane);
uint32_t tile_slot(uint32_t lane);
/// sums[r][c] = Σ_k w[r][k]·x[c][k] over 32 int8. A lane gives, of rows tile_row (a0, a2) and
/// tile_row + 8 (a1, a3), the weights k = 4·tile_slot … + 3 (a0, a1) and those 16 later (a2, a3);
/// x[c] are the eight words at x + c·stride.
TileSums tile_mma_32(uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, K_GROUP const uint32_t* x,
                     uint32_t stride, uint32_t lane, const char* file = __builtin_FILE(),
                     int line = __builtin_LINE());
/// The same over 16 int8, the four words at x + c·stride.
TileSums tile_mma_16(uint32_t a0, uint32_t a1, K_GROUP const uint32_t* x, uint32_t stride,
                     uint32_t lane, const char* file = __builtin_FILE(),
                     int line = __builtin_LINE());

}  // namespace assay

#include "lang/lang_f16.h"
