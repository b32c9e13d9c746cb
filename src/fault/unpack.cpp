// From a file's bytes to codes, scales and minimums; faults of rows 2 to 7.
#include <cstring>

#include "fault/list.h"
#include "fault/matrix.h"
#include "lang/lang.h"
#include "quant/fields.h"

namespace assay::fault {

namespace {

/// A weight of other bytes than the file's, owned.
struct Bytes {
  op::Weight weight;
  std::vector<uint8_t> owned;
};

/// The tensor starts `late` bytes too far on; what lies behind it reads as zeros.
Bytes shifted(const op::Weight& weight, uint64_t late) {
  Bytes read{weight, std::vector<uint8_t>(weight.data.size(), 0)};
  if (late < weight.data.size())
    std::memcpy(read.owned.data(), weight.data.data() + late, weight.data.size() - late);
  read.weight.data = read.owned;
  return read;
}

/// Rows of each head in the order of the other pairing: a converter's permutation left out, or done
/// twice. Pair (2i, 2i+1) of one is (i, i + half) of the other.
Bytes permuted(const op::Weight& weight, uint32_t head_dim, bool adjacent) {
  Bytes read{weight, {}};
  const uint32_t half = head_dim / 2;
  for (uint64_t row = 0; row < weight.rows; ++row) {
    const uint32_t lane = uint32_t(row % head_dim);
    const uint32_t other = adjacent ? lane % 2 * half + lane / 2 : lane % half * 2 + lane / half;
    const auto bytes = weight.row(row - lane + other);
    read.owned.insert(read.owned.end(), bytes.begin(), bytes.end());
  }
  read.weight.data = read.owned;
  return read;
}

/// Groups of four rows hold a block of each in turn, as kernels that take four rows at a time want
/// them; what is read takes them for whole rows.
Bytes repacked(const op::Weight& weight) {
  Bytes read{weight, {}};
  const uint64_t size = quant::info(weight.type).block_bytes, blocks = weight.row_bytes() / size;
  for (uint64_t row = 0; row < weight.rows; ++row)
    for (uint64_t block = 0; block < blocks; ++block) {
      const uint64_t at = row % 4 * blocks + block;
      const auto bytes = weight.row(row / 4 * 4 + at % 4).subspan(at / 4 * size, size);
      read.owned.insert(read.owned.end(), bytes.begin(), bytes.end());
    }
  read.weight.data = read.owned;
  return read;
}

/// Row r is row r mod `rows`.
Bytes wrapped(const op::Weight& weight, uint64_t rows) {
  Bytes read{weight, {}};
  for (uint64_t row = 0; row < weight.rows; ++row) {
    const auto bytes = weight.row(row % rows);
    read.owned.insert(read.owned.end(), bytes.begin(), bytes.end());
  }
  read.weight.data = read.owned;
  return read;
}

Bytes read_bytes(const op::Program& program, const op::Operation& operation, Active fault) {
  const op::Weight& weight = program.weights[operation.weight];
  switch (fault.bug) {
    case Bug::weight_row_shift:
      return shifted(weight, uint64_t(fault.value) * weight.row_bytes());
    case Bug::weight_block_shift:
      return shifted(weight, uint64_t(fault.value) * quant::info(weight.type).block_bytes);
    case Bug::weight_permuted:
      return permuted(weight, program.head_dim_of(operation), program.rope_tables[0].adjacent);
    case Bug::weight_repacked:
      return repacked(weight);
    case Bug::row_wraps:
      return wrapped(weight, uint64_t(fault.value));
    case Bug::weight_tied_head:
      return {program.weights[program.operations[0].weight], {}};
    case Bug::weight_other:
      return {program.weights[other_weight(program, operation)], {}};
    case Bug::weight_type: {
      Bytes read{weight, {}};
      read.weight.type = twin_type(weight.type);
      return read;
    }
    default:
      return {weight, {}};
  }
}

/// Which of a block's codes is weight i.
template <class F>
uint32_t place_of(uint32_t i, Active fault) {
  switch (fault.bug) {
    case Bug::nibbles_swapped:
      return i ^ quant::nibble_distance<F>();
    case Bug::nibbles_interleaved: {
      const uint32_t half = quant::nibble_distance<F>(), run = 2 * half;
      return i / run * run + i % 2 * half + i % run / 2;
    }
    case Bug::q6k_order: {
      const uint32_t quarter = i % 128 / 32;
      return quarter == 1 ? i + 32 : quarter == 2 ? i - 32 : i;
    }
    default:
      return i;
  }
}

/// A block's d, m or dmin.
template <class F>
float number_of(uint16_t bits, Active fault) {
  return F::scale_is_bf16 || fault.is(Bug::scale_bf16) ? k_bf16_to_f32(bits) : k_f16_to_f32(bits);
}

template <class F>
float scale_of(const uint8_t* block, uint32_t group, Active fault) {
  if (fault.is(Bug::scale_stuck)) group = 0;
  float d = number_of<F>(F::scale_bits(block, group), fault);
  if constexpr (F::has_minimum)
    if (fault.is(Bug::d_dmin_swapped)) d = number_of<F>(F::minimum_bits(block), fault);
  if constexpr (quant::is_super_block<F>) {
    int32_t code = F::scale_code(block, group);
    if (fault.is(Bug::scale_high_bits) && group >= 4) code &= 15;
    // Eight numbers of six bits from byte 4 on: right for the first only.
    if (fault.is(Bug::scale_map))
      code = (k_load_u16(block + 4 + 6 * group / 8) >> (6 * group % 8)) & 63;
    d *= float(code) * F::scale_unit;
  }
  return d;
}

template <class F>
float minimum_of(const uint8_t* block, uint32_t group, Active fault) {
  if (fault.is(Bug::minimum_ignored)) return 0;
  if (fault.is(Bug::scale_stuck)) group = 0;
  float minimum = number_of<F>(
      fault.is(Bug::d_dmin_swapped) ? F::scale_bits(block, group) : F::minimum_bits(block), fault);
  if constexpr (quant::is_super_block<F>) {
    int32_t code = F::minimum_code(block, group);
    if (fault.is(Bug::scale_high_bits) && group >= 4) code &= 15;
    minimum *= float(code);
  }
  return fault.choose(Bug::minimum_sign, -F::minimum_sign, F::minimum_sign) * minimum;
}

template <class F>
void unpack_blocks(const op::Weight& weight, Active fault, Matrix& matrix) {
  matrix.group_size = F::group_size;
  matrix.fine_scales = quant::has_fine_scales<F>;
  for (uint64_t row = 0; row < weight.rows; ++row) {
    const uint8_t* bytes = weight.row(row).data();
    for (uint64_t b = 0; b < weight.columns / F::block_size; ++b) {
      const uint8_t* block = bytes + b * F::block_bytes;
      for (uint32_t i = 0; i < F::block_size; ++i)
        matrix.codes.push_back(int8_t(quant::value_of<F>(F::code(block, place_of<F>(i, fault)))));
      for (uint32_t group = 0; group < F::block_size / F::group_size; ++group) {
        matrix.scale.push_back(scale_of<F>(block, group, fault));
        if constexpr (F::has_minimum) matrix.minimum.push_back(minimum_of<F>(block, group, fault));
      }
    }
  }
}

Floats decoded(const op::Weight& weight) {
  Floats values(weight.rows * weight.columns);
  quant::decode_row(weight.type, weight.data, values);
  return values;
}

/// Element (r, c) from where it would lie if the tensor were (columns, rows).
Floats transposed(const op::Weight& weight) {
  const Floats values = decoded(weight);
  Floats turned;
  for (uint64_t row = 0; row < weight.rows; ++row)
    for (uint64_t column = 0; column < weight.columns; ++column)
      turned.push_back(values[column * weight.rows + row]);
  return turned;
}

}  // namespace

Matrix unpack(const op::Program& program, const op::Operation& operation, Active fault) {
  const Bytes read = read_bytes(program, operation, fault);
  const op::Weight& weight = read.weight;
  Matrix matrix;
  matrix.rows = weight.rows, matrix.columns = weight.columns;
  if (fault.is(Bug::weight_transposed)) {
    matrix.values = transposed(weight);
    return matrix;
  }
  quant::visit(weight.type, [&]<class F>() {
    if constexpr (quant::is_float_format<F>)
      matrix.values = decoded(weight);
    else
      unpack_blocks<F>(weight, fault, matrix);
  });
  if (fault.is(Bug::group_scale) && !matrix.scale.empty()) {
    const uint64_t row = uint64_t(fault.value) % matrix.rows,
                   groups = matrix.scale.size() / matrix.rows;
    matrix.scale[row * groups + groups - 1] *= 1.25f;
  }
  return matrix;
}

std::vector<Matrix> parts_of(const Matrix& whole, uint64_t parts) {
  std::vector<Matrix> out(parts);
  const auto part = [&](const auto& values, uint64_t i) {
    const auto size = int64_t(values.size() / parts), first = int64_t(i) * size;
    return std::decay_t<decltype(values)>(values.begin() + first, values.begin() + first + size);
  };
  for (uint64_t i = 0; i < parts; ++i)
    out[i] = {.rows = whole.rows / parts,
              .columns = whole.columns,
              .group_size = whole.group_size,
              .fine_scales = whole.fine_scales,
              .codes = part(whole.codes, i),
              .scale = part(whole.scale, i),
              .minimum = part(whole.minimum, i),
              .values = part(whole.values, i)};
  return out;
}

}  // namespace assay::fault
