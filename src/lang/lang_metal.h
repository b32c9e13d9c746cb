// The words of the kernel language in Metal Shading Language 3.0 to 4.0 (its C++14 part, which 2.4
// has too). Compiled with safe maths and no contraction (docs/metal.md); the probes of
// `assay verify` prove that.
#pragma once

#include <metal_stdlib>

using namespace metal;

#define K_DEV device
#define K_CONST constant
#define K_GROUP threadgroup
#define K_THREAD thread
#define K_FN static inline
#define K_TABLE static constexpr constant
#define K_UNROLL _Pragma("clang loop unroll(full)")

// Arguments are bytes at buffer 0 with GPU addresses in them; no other binding, no host_name.
#define K_KERNEL(name, Args, Shared, Group)                                                     \
  static_assert(sizeof(Args) <= 512, "the arguments of a kernel take at most 512 bytes");       \
  static_assert(sizeof(Shared) <= 32768, "a group shares at most 32 KB");                       \
  static inline void name##_body(K_CONST const Args& a, K_GROUP Shared& s, ::assay::Thread t);  \
  [[max_total_threads_per_threadgroup(Group::most_threads)]] kernel void name(                  \
      constant Args& a [[buffer(0)]], uint3 group [[threadgroup_position_in_grid]],             \
      uint3 group_size [[threads_per_threadgroup]], uint index [[thread_index_in_threadgroup]], \
      uint lane [[thread_index_in_simdgroup]], uint simd [[simdgroup_index_in_threadgroup]]) {  \
    threadgroup Shared s;                                                                       \
    name##_body(a, s, ::assay::Thread{group.x, group.y, index, group_size.x, lane, simd});      \
  }                                                                                             \
  static inline void name##_body(K_CONST const Args& a, K_GROUP Shared& s, ::assay::Thread t)

namespace assay {

struct Thread {
  uint32_t group_x, group_y, index, group_size, lane, simd;
};

K_FN float k_fma(float a, float b, float c) {
  return metal::fma(a, b, c);
}
K_FN float k_div(float a, float b) {
  return metal::precise::divide(a, b);
}
K_FN float k_sqrt(float x) {
  return metal::precise::sqrt(x);
}
K_FN uint32_t k_bits(float x) {
  return as_type<uint32_t>(x);
}
K_FN float k_float(uint32_t bits) {
  return as_type<float>(bits);
}
K_FN int32_t k_round(float x) {
  return int32_t(metal::rint(x));
}
K_FN int32_t k_dot4_i8(uint32_t a, uint32_t b, int32_t c) {
  const char4 x = as_type<char4>(a), y = as_type<char4>(b);
  return c + int32_t(x.x) * int32_t(y.x) + int32_t(x.y) * int32_t(y.y) +
         int32_t(x.z) * int32_t(y.z) + int32_t(x.w) * int32_t(y.w);
}
K_FN uint32_t k_pick_bytes(uint32_t codes, uint32_t low, uint32_t high) {
  uint32_t picked = 0u;
  for (uint32_t at = 0u; at < 32u; at += 8u) {
    const uint32_t code = codes >> at;
    picked |= (((code & 4u) != 0u ? high : low) >> (8u * (code & 3u)) & 255u) << at;
  }
  return picked;
}

struct alignas(16) Words4 {
  uint32_t x, y, z, w;
};
K_FN Words4 load4(K_DEV const uint32_t* p) {
  const uint4 v = *reinterpret_cast<K_DEV const uint4*>(p);
  return {v.x, v.y, v.z, v.w};
}
K_FN void store4(K_DEV uint32_t* p, Words4 v) {
  uint4 words;
  words.x = v.x;
  words.y = v.y;
  words.z = v.z;
  words.w = v.w;
  *reinterpret_cast<K_DEV uint4*>(p) = words;
}

/// A barrier stands between any two launches (docs/metal-host.md).
K_FN void await_inputs() {}

K_FN void barrier_group() {
  threadgroup_barrier(mem_flags::mem_device | mem_flags::mem_threadgroup);
}
K_FN uint32_t shuffle_from(uint32_t value, uint32_t lane) {
  return simd_shuffle(value, ushort(lane));
}
K_FN uint32_t shuffle_xor(uint32_t value, uint32_t mask) {
  return simd_shuffle_xor(value, ushort(mask));
}

// A simdgroup_matrix of 8 × 8 gives a lane two neighbouring columns of one row. Which, no
// specification says; in practice, with quad = lane / 4: row = (quad & 4) + lane / 2 % 4, first
// column = 2·((quad & 2) + lane % 2). `assay verify` proves it on the device.
struct TileSums {
  float sum[4];
};
K_FN uint32_t tile_row(uint32_t lane) {
  return ((lane / 4u) & 4u) + lane / 2u % 4u;
}
K_FN uint32_t tile_slot(uint32_t lane) {
  return ((lane / 4u) & 2u) + lane % 2u;
}

// Sums over k are exact, so k may come in any order that weights and activations share. The four
// bytes of a lane's word of weights are k = 4·slot … + 3 of its row. Product p = 0, 1 takes bytes
// 2p and 2p + 1, so column i of its left matrix is k = 4·(i/2) + 2p + i%2; row i of the right one
// must be that k, too: byte 2p + i%2 of word i/2 of each column of x. Sixteen k are two products.
// Codes are whole numbers of at most 128, exact in half; 32 products sum to at most 2^19, exact in
// float.
K_FN void tile_add_16(K_THREAD simdgroup_float8x8& upper, K_THREAD simdgroup_float8x8& lower,
                      uint32_t a0, uint32_t a1, K_GROUP const uint32_t* x, uint32_t stride,
                      uint32_t lane) {
  const uint32_t row = tile_row(lane);
  K_GROUP const uint32_t* words = x + 2u * tile_slot(lane) * stride + row / 2u;
  const uint32_t x0 = words[0] >> (8u * (row % 2u));
  const uint32_t x1 = words[stride] >> (8u * (row % 2u));
  K_UNROLL
  for (uint32_t p = 0u; p < 2u; ++p) {
    simdgroup_half8x8 left, left_8, right;
    left.thread_elements()[0] = half(int8_t(a0 >> (16u * p)));
    left.thread_elements()[1] = half(int8_t(a0 >> (16u * p + 8u)));
    left_8.thread_elements()[0] = half(int8_t(a1 >> (16u * p)));
    left_8.thread_elements()[1] = half(int8_t(a1 >> (16u * p + 8u)));
    right.thread_elements()[0] = half(int8_t(x0 >> (16u * p)));
    right.thread_elements()[1] = half(int8_t(x1 >> (16u * p)));
    simdgroup_multiply_accumulate(upper, left, right, upper);
    simdgroup_multiply_accumulate(lower, left_8, right, lower);
  }
}
K_FN TileSums tile_sums(simdgroup_float8x8 upper, simdgroup_float8x8 lower) {
  return {{upper.thread_elements()[0], upper.thread_elements()[1], lower.thread_elements()[0],
           lower.thread_elements()[1]}};
}
K_FN TileSums tile_mma_16(uint32_t a0, uint32_t a1, K_GROUP const uint32_t* x, uint32_t stride,
                          uint32_t lane) {
  simdgroup_float8x8 upper = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_float8x8 lower = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  tile_add_16(upper, lower, a0, a1, x, stride, lane);
  return tile_sums(upper, lower);
}
K_FN TileSums tile_mma_32(uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3,
                          K_GROUP const uint32_t* x, uint32_t stride, uint32_t lane) {
  simdgroup_float8x8 upper = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  simdgroup_float8x8 lower = make_filled_simdgroup_matrix<float, 8, 8>(0.0f);
  tile_add_16(upper, lower, a0, a1, x, stride, lane);
  tile_add_16(upper, lower, a2, a3, x + 4u, stride, lane);
  return tile_sums(upper, lower);
}

}  // namespace assay

#include "lang/lang_f16.h"
