// A safetensors file: header, tensors, their values.
#include "trace/safetensors_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = assay::trace::parse_safetensors({data, size}, "x.safetensors");
  if (!file) return 0;
  [[maybe_unused]] static volatile float sink;
  for (const auto& tensor : file->tensors) {
    if (file->find(tensor.name) != &tensor) __builtin_trap();
    if (tensor.bytes.size() > size) __builtin_trap();
    const auto values = assay::trace::to_f32(tensor);
    if (values && !values->empty()) sink = values->back();
  }
  return 0;
}
