// The words of the kernel language in CUDA C++. Compiled with -fmad=false, IEEE division and square
// root and no flushing (cmake/cuda.cmake); `assay verify` proves that with its probes.
#pragma once

#include <cstdint>

#define K_DEV
#define K_CONST
#define K_GROUP
#define K_THREAD
#define K_FN static __device__ __forceinline__
#define K_TABLE static constexpr
#define K_UNROLL _Pragma("unroll")

// Functions that nothing calls, but after lang/lang_entries.h: then the kernel and its place in the
// queue's table, too. 256 threads find room with as many registers as a thread can have; more need
// the bound (0: none).
#define K_KERNEL(name, Args, Shared, Group) ASSAY_BODY(name, Args, Shared)
#define ASSAY_BODY(name, Args, Shared)                                                         \
  static __device__ __forceinline__ void name##_body(K_CONST const Args& a, K_GROUP Shared& s, \
                                                     ::assay::Thread t)
#define ASSAY_ENTRY(name, Args, Shared, Group)                                                   \
  ASSAY_BODY(name, Args, Shared);                                                                \
  static __global__ void __launch_bounds__(Group::most_threads > 256u ? Group::most_threads : 0) \
      name(const __grid_constant__ Args a) {                                                     \
    static_assert(sizeof(Args) <= 512, "a kernel's arguments");                                  \
    static_assert(sizeof(Shared) <= 32768, "a group's shared memory");                           \
    __shared__ Shared s;                                                                         \
    ::assay::cuda::let_next_begin();                                                             \
    if (!Group::early) ::assay::await_inputs();                                                  \
    name##_body(a, s,                                                                            \
                ::assay::Thread{blockIdx.x, blockIdx.y, threadIdx.x, blockDim.x,                 \
                                threadIdx.x % 32u, threadIdx.x / 32u});                          \
  }                                                                                              \
  static const bool name##_is_known =                                                            \
      ::assay::cuda::add_kernel(#name, sizeof(Args), reinterpret_cast<const void*>(&name));      \
  ASSAY_BODY(name, Args, Shared)

namespace assay {

namespace cuda {
/// Groups of the next launch may start once all of this one have: what it costs to start a launch
/// is hidden (docs/cuda.md).
K_FN void let_next_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;");
#endif
}
/// Adds to the kernels that the queue knows by name (device/cuda/kernels.h). A function, because a
/// program may hold the emulated grid's KernelEntry, too.
bool add_kernel(const char* name, uint32_t args_bytes, const void* function);
}  // namespace cuda

K_FN void await_inputs() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

struct Thread {
  uint32_t group_x, group_y, index, group_size, lane, simd;
};

K_FN float k_fma(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
K_FN float k_div(float a, float b) {
  return __fdiv_rn(a, b);
}
K_FN float k_sqrt(float x) {
  return __fsqrt_rn(x);
}
K_FN uint32_t k_bits(float x) {
  return __float_as_uint(x);
}
K_FN float k_float(uint32_t bits) {
  return __uint_as_float(bits);
}
K_FN int32_t k_round(float x) {
  return __float2int_rn(x);
}
K_FN float k_f16_to_f32(uint16_t bits) {
  float x;  // a NaN is another one here than elsewhere
  asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
  return x;
}
K_FN int32_t k_dot4_i8(uint32_t a, uint32_t b, int32_t c) {
  return __dp4a(int32_t(a), int32_t(b), c);
}
K_FN uint32_t k_pick_bytes(uint32_t codes, uint32_t low, uint32_t high) {
  // The selector is a nibble for each byte: 3 bits, and a fourth one that must be 0.
  const uint32_t three = codes & 0x07070707u;
  const uint32_t pairs = three | (three >> 4);  // in bytes 0 and 2
  return __byte_perm(low, high, __byte_perm(pairs, 0u, 0x4420u));
}

struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};
K_FN Words4 load4(K_DEV const uint32_t* p) {
  const uint4 v = *reinterpret_cast<const uint4*>(p);
  return {v.x, v.y, v.z, v.w};
}
K_FN void store4(K_DEV uint32_t* p, Words4 v) {
  *reinterpret_cast<uint4*>(p) = make_uint4(v.x, v.y, v.z, v.w);
}

K_FN void barrier_group() {
  __syncthreads();
}
K_FN uint32_t shuffle_from(uint32_t value, uint32_t lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
K_FN uint32_t shuffle_xor(uint32_t value, uint32_t mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

struct TileSums {
  float sum[4];
};
K_FN uint32_t tile_row(uint32_t lane) {
  return lane / 4u;
}
K_FN uint32_t tile_slot(uint32_t lane) {
  return lane % 4u;
}

// The integer sums start at the bits of 1.5·2^23, whose unit is 1: as a float they are 1.5·2^23 +
// sum, and taking that off is exact for |sum| <= 2^22. An addition costs less than a conversion.
K_TABLE uint32_t tile_start = 0x4b400000u;
K_FN TileSums tile_sums(uint32_t d0, uint32_t d1, uint32_t d2, uint32_t d3) {
  return {{k_float(d0) - 12582912.0f, k_float(d1) - 12582912.0f, k_float(d2) - 12582912.0f,
           k_float(d3) - 12582912.0f}};
}
K_FN TileSums tile_mma_32(uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                          K_GROUP const uint32_t* x, uint32_t stride, uint32_t lane) {
  const uint32_t* column = x + lane / 4u * stride + lane % 4u;
  uint32_t d0, d1, d2, d3;
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%10, %10, %10, %10};"
      : "=r"(d0), "=r"(d1), "=r"(d2), "=r"(d3)
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(column[0]), "r"(column[4]), "r"(tile_start));
  return tile_sums(d0, d1, d2, d3);
}
K_FN TileSums tile_mma_16(uint32_t a0, uint32_t a1, K_GROUP const uint32_t* x, uint32_t stride,
                          uint32_t lane) {
  const uint32_t* column = x + lane / 4u * stride + lane % 4u;
  uint32_t d0, d1, d2, d3;
  asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5}, {%6}, "
      "{%7, %7, %7, %7};"
      : "=r"(d0), "=r"(d1), "=r"(d2), "=r"(d3)
      : "r"(a0), "r"(a1), "r"(column[0]), "r"(tile_start));
  return tile_sums(d0, d1, d2, d3);
}

}  // namespace assay
