#include "verify/builder.h"

#include <fmt/format.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/mix64.h"
#include "op/kinds.h"
#include "quant/fields.h"

namespace assay::verify {

uint64_t Random::bits() {
  return splitmix64(state_);
}

float Random::uniform() {
  return float(int32_t(uint32_t(bits())) >> 8) * 0x1p-23f;
}

namespace {

/// ± 2^-9 … 2^-2, one in sixteen 0. A draw a statement: compilers order the operands of | as they
/// like.
uint16_t random_half(Random& random) {
  const uint32_t sign = random.below(2) << 15;
  if (random.below(16) == 0) return uint16_t(sign);
  const uint32_t exponent = 6 + random.below(8);
  const uint32_t mantissa = random.below(1024);
  return uint16_t(sign | exponent << 10 | mantissa);
}

void put(std::vector<uint8_t>& bytes, size_t at, uint16_t half) {
  bytes[at] = uint8_t(half), bytes[at + 1] = uint8_t(half >> 8);
}

template <class Format>
void fill(std::vector<uint8_t>& bytes, Random& random) {
  if constexpr (quant::is_float_format<Format>) {
    for (size_t at = 0; at < bytes.size(); at += Format::block_bytes) {
      const auto bits = std::bit_cast<uint32_t>(random.uniform());
      if constexpr (Format::id == quant::F16::id)
        put(bytes, at, random_half(random));
      else if constexpr (Format::id == quant::BF16::id)
        put(bytes, at, uint16_t(bits >> 16));
      else
        std::memcpy(&bytes[at], &bits, sizeof bits);
    }
  } else {
    for (uint8_t& byte : bytes) byte = uint8_t(random.bits());
    for (size_t at = 0; at < bytes.size(); at += Format::block_bytes) {
      for (uint32_t group = 0; group < quant::own_scales<Format>; ++group)
        quant::put_scale<Format>(&bytes[at], group, k_f16_to_f32(random_half(random)));
      if constexpr (Format::has_minimum)
        quant::put_minimum<Format>(&bytes[at], k_f16_to_f32(random_half(random)));
    }
  }
}

}  // namespace

std::vector<uint8_t> random_weights(uint32_t type, uint64_t rows, uint64_t columns,
                                    Random& random) {
  const quant::Info info = quant::info(type);
  std::vector<uint8_t> bytes(rows * columns / info.block_size * info.block_bytes);
  quant::visit(type, [&]<class Format>() { fill<Format>(bytes, random); });
  return bytes;
}

std::vector<float> activations(uint64_t token, uint64_t width, Random& random) {
  std::vector<float> x(width);
  const uint64_t special = random.bits() % width;
  float size = 1;
  for (uint64_t i = 0; i < width; ++i) {
    const float sign = random.below(2) ? -1.0f : 1.0f;
    if (i % 32 == 0) size = std::ldexp(1.0f, int(random.below(9)) - 4);
    switch (token % 5) {
      case 0:
        x[i] = random.uniform();
        break;
      case 1:
        x[i] = i == special ? 1e4f : sign * 1e-3f;
        break;
      case 2:
        x[i] = random.below(20) == 0 ? 0.0f : size * random.uniform();
        break;
      case 3:
        x[i] = i == special ? random.uniform() : 0.0f;
        break;
      default:
        x[i] = sign * 1e4f;
    }
  }
  return x;
}

Builder::Builder(uint32_t tokens) : tokens_(tokens) {
  program().vocabulary = tokens;
  program().layers = 1;
}

uint32_t Builder::floats(uint64_t rows, const std::vector<float>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(float));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return weight(quant::F32::id, rows, values.size() / rows, std::move(bytes));
}

uint32_t Builder::weight(uint32_t type, uint64_t rows, uint64_t columns) {
  return weight(type, rows, columns, random_weights(type, rows, columns, random_));
}

uint32_t Builder::weight(uint32_t type, uint64_t rows, uint64_t columns,
                         std::vector<uint8_t> bytes) {
  built_->bytes.push_back(std::move(bytes));
  return program().add_weight({fmt::format("weight.{}", program().weights.size()), type, rows,
                               columns, built_->bytes.back()});
}

uint32_t Builder::given(uint32_t width, const std::vector<float>& rows) {
  return add(op::Embed{}, {}, floats(rows.size() / width, rows));
}

uint32_t Builder::input(uint32_t width, float factor) {
  std::vector<float> rows;
  for (uint32_t t = 0; t < tokens_; ++t)
    for (const float x : activations(t, width, random_)) rows.push_back(x * factor);
  return given(width, rows);
}

uint32_t Builder::routing(uint32_t experts, uint32_t used) {
  std::vector<float> rows;
  std::vector<uint32_t> ids(experts);
  for (uint32_t t = 0; t < tokens_; ++t) {
    std::iota(ids.begin(), ids.end(), 0u);
    for (uint32_t u = 0; u < used && t % 5 != 1; ++u)
      std::swap(ids[u], ids[u + random_.below(experts - u)]);
    for (uint32_t u = 0; u < used; ++u) rows.push_back(float(ids[u]));
    for (uint32_t u = 0; u < used; ++u) rows.push_back(std::fabs(random_.uniform()));
  }
  return given(2 * used, rows);
}

uint32_t Builder::add(op::Operation operation) {
  if (operation.name.empty())
    operation.name = fmt::format("{}.{}", op::name_of(operation), program().operations.size());
  operation.layer = 0;
  return program().append(std::move(operation));
}

Case Builder::finish(std::string name) {
  program().assign_buffers();
  Case one;
  one.name = std::move(name);
  one.program = &built_->program;
  for (uint32_t t = 0; t < tokens_; ++t) one.tokens.push_back(int32_t(t));
  one.judged = {{tokens_}};
  one.owner = std::move(built_);
  return one;
}

}  // namespace assay::verify
