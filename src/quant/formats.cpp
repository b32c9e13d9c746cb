#include "quant/formats.h"

#include <string>

namespace assay::quant {

bool decode_row(uint32_t id, std::span<const uint8_t> bytes, std::span<float> out) {
  return visit(id, [&]<class F>() {
    for (uint64_t i = 0; i < out.size(); ++i)
      out[i] =
          decode<F>(bytes.data() + i / F::block_size * F::block_bytes, uint32_t(i % F::block_size));
  });
}

std::string_view supported_names() {
  static const std::string names = []<class... F>(List<F...>) {
    std::string text;
    ((text += text.empty() ? "" : ", ", text += name_of<F>), ...);
    return text;
  }(All{});
  return names;
}

}  // namespace assay::quant
