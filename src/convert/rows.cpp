#include "convert/rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "gguf/reader.h"
#include "quant/encode.h"
#include "quant/formats.h"

namespace assay::convert {
namespace {

using gguf::in_quotes;
using trace::StoredTensor;

/// A tensor as planes of rows of columns, as it lies in its file and as it will be.
struct Layout {
  uint64_t planes = 1, rows = 1, columns = 1;  ///< of a source, after `transposed`
  uint64_t result_rows = 1;                    ///< of a plane
};

Layout layout_of(const Target& target) {
  const StoredTensor& source = *target.sources[0];
  std::vector<uint64_t> shape = source.shape;
  // A vector has a row of one column for each value.
  if (shape.size() <= 1 || target.name.ends_with(".bias")) shape.push_back(1);
  if (shape.size() == 1) shape.insert(shape.begin(), 1);
  Layout layout;
  layout.columns = shape[shape.size() - 1];
  layout.rows = shape[shape.size() - 2];
  if (target.change & model::transposed) std::swap(layout.rows, layout.columns);
  for (size_t i = 0; i + 2 < shape.size(); ++i) layout.planes *= shape[i];
  const bool half =
      target.change & (model::first_half | model::second_half | model::even_rows | model::odd_rows);
  layout.result_rows = half ? layout.rows / 2 : layout.rows;
  return layout;
}

template <class T, class Read>
void read_strided(const uint8_t* bytes, uint64_t stride, std::span<float> out, Read read) {
  for (uint64_t i = 0; i < out.size(); ++i) {
    T value;
    std::memcpy(&value, bytes + i * stride * sizeof(T), sizeof(T));
    out[i] = read(value);
  }
}

/// Every `stride`-th element from `first` on, as f32.
void read_row(const StoredTensor& source, uint64_t first, uint64_t stride, std::span<float> out) {
  const uint8_t* bytes = source.bytes.data() + first * trace::element_bytes(source.dtype);
  if (source.dtype == "F32")
    read_strided<float>(bytes, stride, out, [](float value) { return value; });
  else if (source.dtype == "F16")
    read_strided<uint16_t>(bytes, stride, out, k_f16_to_f32);
  else if (source.dtype == "BF16")
    read_strided<uint16_t>(bytes, stride, out, k_bf16_to_f32);
  else
    read_strided<double>(bytes, stride, out, [](double value) { return float(value); });
}

/// A row in MXFP4: of each group the scale, then the bytes of its values. There byte j holds values
/// 2j and 2j + 1, here j and j + 16.
void pack_row(std::span<const uint8_t> bytes, std::span<const uint8_t> scales, uint64_t row,
              std::span<uint8_t> out) {
  constexpr uint64_t half = quant::MXFP4::block_size / 2;
  const uint64_t groups = out.size() / quant::MXFP4::block_bytes;
  for (uint64_t g = 0; g < groups; ++g) {
    const uint8_t* from = bytes.data() + (row * groups + g) * half;
    const auto value = [&](uint64_t i) { return uint8_t(from[i / 2] >> (i % 2 * 4) & 15); };
    uint8_t* to = out.data() + g * quant::MXFP4::block_bytes;
    to[0] = scales[row * groups + g];
    for (uint64_t j = 0; j < half; ++j) to[1 + j] = uint8_t(value(j) | value(j + half) << 4);
  }
}

/// What is wrong with a row that the format did not take.
Error refuse_values(const Target& target, uint32_t type, std::span<const float> row) {
  const auto bad = std::ranges::find_if(row, [](float value) { return !std::isfinite(value); });
  const float value =
      bad != row.end() ? *bad
                       : *std::ranges::max_element(row, {}, [](float v) { return std::fabs(v); });
  return {fmt::format("tensor {} holds {}, which {} cannot hold{}", in_quotes(target.name), value,
                      quant::info(type).name,
                      bad == row.end() ? "; --type BF16 and --type F32 can" : "")};
}

}  // namespace

uint64_t source_row(model::Change change, uint64_t row, uint64_t rows, const Heads& heads) {
  const uint64_t head = row / heads.width, lane = row % heads.width;
  if (change & model::second_half) return rows / 2 + row;
  if (change & model::even_rows) return 2 * row;
  if (change & model::odd_rows) return 2 * row + 1;
  if (change & model::pair_rows) {
    // The lanes that RoPE turns, in pairs (i, i + rotated / 2) there, in pairs (2i, 2i + 1) here.
    if (lane >= heads.rotated) return row;
    return head * heads.width + lane / 2 + (lane % 2) * (heads.rotated / 2);
  }
  if (change & model::groups_apart) {
    const uint64_t share = heads.queries / heads.keys;  // queries of a group
    const bool query = head < heads.queries;
    const uint64_t other = query ? 0 : head - heads.queries;
    const uint64_t group = query ? head / share : other % heads.keys;
    const uint64_t member = query ? head % share : share + other / heads.keys;
    return (group * (share + 2) + member) * heads.width + lane;
  }
  return row;
}

Result<uint32_t> own_type(const StoredTensor& tensor) {
  if (tensor.dtype == "F32" || tensor.dtype == "F64") return quant::F32::id;
  if (tensor.dtype == "F16") return quant::F16::id;
  if (tensor.dtype == "BF16") return quant::BF16::id;
  if (tensor.dtype == "MXFP4") return quant::MXFP4::id;
  return Error{
      fmt::format("tensor {} is of type {}, which is not read; read are F32, F16, BF16, F64",
                  in_quotes(tensor.name), tensor.dtype)};
}

Result<std::vector<uint8_t>> encode(const Target& target, uint32_t type, const Heads& heads) {
  const Layout layout = layout_of(target);
  const quant::Info info = quant::info(type);
  // Vectors are encoded as one row: their rows have one column.
  const bool exact = !(target.change & model::plus_one) && target.sources[0]->dtype != "F64" &&
                     *own_type(*target.sources[0]) == type;
  const bool transposed = target.change & model::transposed;
  const uint64_t element = trace::element_bytes(target.sources[0]->dtype);
  const uint64_t columns = layout.columns;
  const uint64_t row_bytes = columns / info.block_size * info.block_bytes;
  std::vector<uint8_t> out;
  out.reserve(target.sources.size() * layout.planes * layout.result_rows * row_bytes);
  std::vector<float> row(columns);
  for (size_t part = 0; part < target.sources.size(); ++part) {
    const StoredTensor* source = target.sources[part];
    for (uint64_t plane = 0; plane < layout.planes; ++plane) {
      const uint64_t start = plane * layout.rows * columns;
      for (uint64_t r = 0; r < layout.result_rows; ++r) {
        const uint64_t from = source_row(target.change, r, layout.rows, heads);
        const size_t at = out.size();
        out.resize(at + row_bytes);
        if (!target.scales.empty()) {
          pack_row(source->bytes, target.scales[part], plane * layout.rows + from,
                   {out.data() + at, row_bytes});
          continue;
        }
        if (exact && !transposed) {
          std::memcpy(out.data() + at, source->bytes.data() + (start + from * columns) * element,
                      row_bytes);
          continue;
        }
        read_row(*source, transposed ? start + from : start + from * columns,
                 transposed ? layout.rows : 1, row);
        if (target.change & model::plus_one)
          for (float& value : row) value += 1.0f;
        const bool finite = type == quant::F32::id || std::ranges::all_of(row, [](float value) {
                              return std::isfinite(value);
                            });
        if (!finite || !quant::encode_row(type, row, {out.data() + at, row_bytes}))
          return refuse_values(target, type, row);
      }
    }
  }
  return out;
}

}  // namespace assay::convert
