// From a file's bytes to codes, scales and minimums; faults of rows 2 to 7.
#include <cstring>

#include "fault/list.h"
#include "fault/matrix.h"
#include "lang/lang.h"
#include "quant/formats.h"

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

Bytes read_bytes(const op::Program& program, const op::Operation& operation, Active fault) {
  const op::Weight& weight = program.weights[operation.weight];
  switch (fault.bug) {
    case Bug::weight_row_shift:
      return shifted(weight, uint64_t(fault.value) * weight.row_bytes());
    case Bug::weight_block_shift:
      return shifted(weight, uint64_t(fault.value) * quant::info(weight.type).block_bytes);
    case Bug::weight_permuted:
      return permuted(weight, program.head_dim_of(operation), program.rope_tables[0].adjacent);
    case Bug::weight_tied_head:
      return {program.weights[program.operations[0].weight], {}};
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
  // Low and high nibbles of the same bytes are half a run apart: 16 or, in Q4_K, 32 weights.
  constexpr uint32_t half = F::block_size == 32 ? 16 : 32, run = 2 * half;
  switch (fault.bug) {
    case Bug::nibbles_swapped:
      return i ^ half;
    case Bug::nibbles_interleaved:
      return i / run * run + i % 2 * half + i % run / 2;
    case Bug::q6k_order: {
      const uint32_t quarter = i % 128 / 32;
      return quarter == 1 ? i + 32 : quarter == 2 ? i - 32 : i;
    }
    default:
      return i;
  }
}

template <class F>
inline constexpr bool super_blocks = F::block_size > F::group_size;

/// A block's d, m or dmin.
float number_of(uint16_t bits, Active fault) {
  return fault.is(Bug::scale_bf16) ? k_float(uint32_t(bits) << 16) : k_f16_to_f32(bits);
}

template <class F>
float scale_of(const uint8_t* block, uint32_t group, Active fault) {
  if (fault.is(Bug::scale_stuck)) group = 0;
  float d = number_of(F::scale_bits(block), fault);
  if constexpr (F::has_minimum)
    if (fault.is(Bug::d_dmin_swapped)) d = number_of(F::minimum_bits(block), fault);
  if constexpr (super_blocks<F>) {
    int32_t code = F::scale_code(block, group);
    if (fault.is(Bug::scale_high_bits) && group >= 4) code &= 15;
    // Eight numbers of six bits from byte 4 on: right for the first only.
    if (fault.is(Bug::scale_map))
      code = (k_load_u16(block + 4 + 6 * group / 8) >> (6 * group % 8)) & 63;
    d *= float(code);
  }
  return d;
}

template <class F>
float minimum_of(const uint8_t* block, uint32_t group, Active fault) {
  if (fault.is(Bug::minimum_ignored)) return 0;
  if (fault.is(Bug::scale_stuck)) group = 0;
  float minimum = number_of(
      fault.is(Bug::d_dmin_swapped) ? F::scale_bits(block) : F::minimum_bits(block), fault);
  if constexpr (super_blocks<F>) {
    int32_t code = F::minimum_code(block, group);
    if (fault.is(Bug::scale_high_bits) && group >= 4) code &= 15;
    minimum *= float(code);
  }
  return fault.choose(Bug::minimum_sign, -F::minimum_sign, F::minimum_sign) * minimum;
}

template <class F>
void unpack_blocks(const op::Weight& weight, Active fault, Matrix& matrix) {
  matrix.group_size = F::group_size;
  for (uint64_t row = 0; row < weight.rows; ++row) {
    const uint8_t* bytes = weight.row(row).data();
    for (uint64_t b = 0; b < weight.columns / F::block_size; ++b) {
      const uint8_t* block = bytes + b * F::block_bytes;
      for (uint32_t i = 0; i < F::block_size; ++i)
        matrix.codes.push_back(
            int8_t(int32_t(F::code(block, place_of<F>(i, fault))) - F::code_offset));
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
  return matrix;
}

}  // namespace assay::fault
