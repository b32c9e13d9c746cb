#include "cpu/kernels.h"

#include <string_view>

namespace assay::cpu {

extern const Kernels kernels_portable;

#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;

namespace {

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vnni");
}

}  // namespace

const Kernels* find_kernels(const char* isa) {
  const std::string_view name = isa;
  if (name == "avx2" && has_avx2()) return &kernels_avx2;
  if (name == "avx512" && has_avx512()) return &kernels_avx512;
  if (name == "portable") return &kernels_portable;
  return nullptr;
}

const Kernels* best_kernels() {
  return has_avx512() ? &kernels_avx512 : has_avx2() ? &kernels_avx2 : nullptr;
}

#else

const Kernels* find_kernels(const char* isa) {
  return std::string_view(isa) == "portable" ? &kernels_portable : nullptr;
}

const Kernels* best_kernels() {
  return &kernels_portable;
}

#endif

}  // namespace assay::cpu
