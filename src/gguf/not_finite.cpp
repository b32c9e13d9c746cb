#include "gguf/not_finite.h"

#include <fmt/format.h>

#include <cmath>

#include "gguf/reader.h"
#include "quant/formats.h"

namespace assay::gguf {
namespace {

/// The first weight of a group that is not finite. Where the scale and the minimum are finite and
/// no product can pass 2^128, none is.
template <class F>
std::optional<uint32_t> first_of_group(const uint8_t* block, uint32_t group) {
  float most = std::fabs(F::scale(block, group));
  if constexpr (F::has_minimum) most += std::fabs(F::minimum(block, group));
  if (most < 0x1p100f) return std::nullopt;
  for (uint32_t i = group * F::group_size; i < (group + 1) * F::group_size; ++i)
    if (!std::isfinite(quant::decode<F>(block, i))) return i;
  return std::nullopt;
}

/// The index of the first weight that is not finite.
template <class F>
std::optional<uint64_t> first_not_finite(std::span<const uint8_t> bytes) {
  const uint64_t blocks = bytes.size() / F::block_bytes;
  for (uint64_t b = 0; b < blocks; ++b) {
    const uint8_t* block = bytes.data() + b * F::block_bytes;
    if constexpr (quant::is_float_format<F>) {
      if (!std::isfinite(F::value(block))) return b;
    } else {
      for (uint32_t group = 0; group < F::block_size / F::group_size; ++group)
        if (const auto i = first_of_group<F>(block, group)) return b * F::block_size + *i;
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<NotFinite> find_not_finite(const File& file) {
  std::optional<NotFinite> found;
  for (const Tensor& tensor : file.tensors()) {
    quant::visit(tensor.type, [&]<class F>() {
      const auto index = first_not_finite<F>(tensor.data);
      if (!index) return;
      const uint8_t* block = tensor.data.data() + *index / F::block_size * F::block_bytes;
      found = NotFinite{std::string(tensor.name), *index / tensor.dims[0], *index % tensor.dims[0],
                        quant::decode<F>(block, uint32_t(*index % F::block_size))};
    });
    file.release(tensor.data);
    if (found) break;
  }
  return found;
}

std::string text_of(const NotFinite& found) {
  const char* value = std::isnan(found.value) ? "NaN" : found.value > 0 ? "infinity" : "-infinity";
  return fmt::format("tensor '{}' holds {} in row {}, column {}", printable(found.tensor), value,
                     found.row, found.column);
}

Status check_weights(const File& file) {
  const auto found = find_not_finite(file);
  if (!found) return ok();
  return Error{fmt::format(
      "UNMEASURED: {}: the file is damaged or was converted wrongly, and no kernel can be judged "
      "by it",
      text_of(*found))};
}

}  // namespace assay::gguf
