#include "judge/coding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "judge/formulas.h"
#include "quant/formats.h"

namespace assay::judge {

namespace {

/// The rules' f32 arithmetic may be off by an ulp or two (a reciprocal instead of a quotient): so
/// near a tie both codes are right.
constexpr float tie_width = 0x1p-22f;

/// f16's nearest number to what an engine has as f32.
double f16(double x) {
  return round_to_f16(double(float(x)));
}

/// How far the neighbour of f16(x) is, where an error of x by `error` could have made it that; 0
/// where it could not.
double f16_tie(double x, double error) {
  return std::fabs(f16(x + error) - f16(x - error));
}

/// The value before it is rounded to an integer, and its block's scale.
struct Block {
  float inverse = 0, scale = 0;
  bool quotient = false, away = false;

  float before(float x) const { return quotient ? x / scale : x * inverse; }
};

Block scale_of(std::span<const double> x, const Coding& coding) {
  float most = 0, largest = 0;
  for (const double value : x) {
    const float v = float(value);
    if (!std::isfinite(v)) return {0, std::numeric_limits<float>::quiet_NaN()};
    if (std::fabs(v) > most) {
      most = std::fabs(v);
      largest = v;
    }
  }
  if (most == 0 || double(most) < coding.zero_below) return {};
  switch (coding.rounding) {
    case Coding::Rounding::even_of_product:
      return {127.0f / most, most / 127.0f};
    case Coding::Rounding::away_of_product:
      return {1.0f / (most / 127.0f), most / 127.0f, false, true};
    case Coding::Rounding::away_of_quotient:
      return {0, most / 127.0f, true, true};
    case Coding::Rounding::signed_maximum: {
      const float inverse = -127.0f / largest;
      return {inverse, 1.0f / inverse};
    }
  }
  return {};
}

}  // namespace

namespace {

void code_block(std::span<const double> x, size_t first, const Block& block, CodedRow& row) {
  for (size_t i = 0; i < x.size(); ++i) {
    const float exact = block.before(float(x[i]));
    const float code = std::min(127.0f, block.away ? std::round(exact) : std::nearbyint(exact));
    row.code[first + i] = int16_t(code);
    const float beyond = std::fabs(exact) - std::floor(std::fabs(exact)) - 0.5f;
    if (std::fabs(beyond) <= tie_width * std::max(1.0f, std::fabs(exact)))
      row.ties.push_back({uint32_t(first + i), exact > code ? 1 : -1});
  }
}

/// What the minimum of a group's weights meets.
void sum_group(std::span<const double> x, size_t first, const Coding& coding, float plain_scale,
               double scale, CodedRow& row) {
  int64_t codes = 0;
  double values = 0, magnitude = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    codes += row.code[first + i];
    values += x[i];
    magnitude += std::fabs(x[i]);
  }
  double sum = scale * double(codes), tie = 0;
  if (coding.sums != Coding::Sums::codes) {
    const bool of_values = coding.sums == Coding::Sums::values_f16;
    sum = of_values ? values : double(plain_scale) * double(codes);
    // 32 numbers added in f32, in an order that is the engine's
    tie = f16_tie(sum, 0x1p-24 * (of_values ? 8.0 * magnitude : 4.0 * std::fabs(sum)));
    sum = f16(sum);
  }
  row.sum.push_back(sum);
  row.sum_tie.push_back(tie);
}

}  // namespace

CodedRow code_row(std::span<const double> x, const Coding& coding, uint32_t group) {
  CodedRow row;
  row.code.resize(x.size());
  std::vector<float> plain_scale;  // before it is rounded to f16
  for (size_t first = 0; first < x.size(); first += coding.block) {
    const auto part = x.subspan(first, std::min<size_t>(coding.block, x.size() - first));
    const Block block = scale_of(part, coding);
    plain_scale.push_back(block.scale);
    row.scale.push_back(coding.scale_is_f16 ? f16(double(block.scale)) : double(block.scale));
    const double error = 0x1p-23 * std::fabs(double(block.scale));
    row.scale_tie.push_back(coding.scale_is_f16 ? f16_tie(double(block.scale), error) : 0.0);
    if (block.scale != 0 && !std::isnan(block.scale)) code_block(part, first, block, row);
  }
  for (size_t first = 0; first < x.size(); first += group) {
    const auto part = x.subspan(first, std::min<size_t>(group, x.size() - first));
    sum_group(part, first, coding, plain_scale[first / coding.block],
              row.scale[first / coding.block], row);
  }
  const auto any = [](const std::vector<double>& steps) {
    return std::ranges::any_of(steps, [](double step) { return step != 0; });
  };
  row.tied = !row.ties.empty() || any(row.scale_tie) || any(row.sum_tie);
  return row;
}

namespace {

using Rounding = Coding::Rounding;
using Sums = Coding::Sums;

constexpr Coding plain{};
constexpr Coding as_f16{Coding::Kind::f16};
constexpr Coding as_bf16{Coding::Kind::bf16};
constexpr Coding assay1{.kind = Coding::Kind::integers, .zero_below = 0x1p-72};
// ggml's CPU: Q8_0, Q8_1 and Q8_K rows (ggml-cpu/quants.c and the AVX2 and NEON versions of them,
// which differ in how they round; repacked weights divide once and multiply).
constexpr Coding q8_0{Coding::Kind::integers, 32, Rounding::even_of_product, true};
constexpr Coding q8_0_repacked{Coding::Kind::integers, 32, Rounding::away_of_product, true};
constexpr Coding q8_1{Coding::Kind::integers, 32, Rounding::even_of_product, true, Sums::codes_f16};
constexpr Coding q8_1_away{Coding::Kind::integers, 32, Rounding::away_of_product, true,
                           Sums::codes_f16};
constexpr Coding q8_k{Coding::Kind::integers, 256, Rounding::signed_maximum};
constexpr Coding q8_k_offset{.kind = Coding::Kind::integers,
                             .block = 256,
                             .rounding = Rounding::signed_maximum,
                             .offset_meets_sums = true};
// ggml's CUDA: block_q8_1 (quantize.cu); d as f16 beside the sum of the plain values, or as f32
// (the D4 layout of the matrix kernels).
constexpr Coding cuda{Coding::Kind::integers, 32, Rounding::away_of_quotient, true,
                      Sums::values_f16};
constexpr Coding cuda_products{Coding::Kind::integers, 32,  Rounding::away_of_quotient, true,
                               Sums::values_f16,       true};
constexpr Coding cuda_offset{
    Coding::Kind::integers, 32, Rounding::away_of_quotient, true, Sums::values_f16, false, true};
constexpr Coding cuda_f32{Coding::Kind::integers, 32, Rounding::away_of_quotient};

/// All formats of super-blocks meet Q8_K rows: the K ones, IQ4_XS to IQ1_S and the ternary ones.
/// The others meet Q8_0 rows, MXFP4 and NVFP4 too, or Q8_1 rows where they have a minimum.
std::vector<Coding> ggml_cpu(uint32_t type) {
  // The ternary ones add up code·x and, apart from it, x (ggml's vec_dot of TQ1_0 and TQ2_0).
  if (type == quant::TQ1_0::id || type == quant::TQ2_0::id) return {q8_k_offset};
  if (quant::info(type).block_size == 256) return {q8_k};
  bool has_minimum = false;
  quant::visit(type, [&]<class F>() {
    if constexpr (!quant::is_float_format<F>) has_minimum = F::has_minimum;
  });
  if (has_minimum) return {q8_1, q8_1_away};
  return {q8_0, q8_0_repacked};
}

}  // namespace

std::vector<Coding> codings(std::string_view contract, uint32_t weight_type) {
  const bool blocks = quant::info(weight_type).block_size > 1;
  if (contract == "assay/1") return {blocks ? assay1 : plain};
  if (contract == "ggml-cpu" || contract == "ggml-cuda") {
    if (weight_type == quant::F16::id) return {as_f16, plain};
    if (weight_type == quant::BF16::id) return {as_bf16, plain};
    if (!blocks) return {plain};
    if (contract == "ggml-cpu") return ggml_cpu(weight_type);
    return {cuda, cuda_products, cuda_offset, cuda_f32};
  }
  return {plain};
}

std::span<const std::string_view> contracts() {
  static constexpr std::array<std::string_view, 5> names = {"assay/1", "f32", "exact", "ggml-cpu",
                                                            "ggml-cuda"};
  return names;
}

}  // namespace assay::judge
