// A .npy file: header, array, its values.
#include "trace/npy.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto array = assay::trace::parse_npy({data, size}, "x.npy");
  if (!array) return 0;
  [[maybe_unused]] static volatile double sink;
  if (array->bytes.size() > size) __builtin_trap();
  const auto values = array->values();
  if (values.size() != array->elements()) __builtin_trap();
  if (!values.empty()) sink = values.back();
  return 0;
}
