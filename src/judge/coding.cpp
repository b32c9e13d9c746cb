#include "judge/coding.h"

#include <algorithm>
#include <array>
#include <charconv>
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
  float divisor = 0;  // of a quotient

  float before(float x) const { return quotient ? x / divisor : x * inverse; }
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
      return {0, most / 127.0f, true, true, most / 127.0f};
    case Coding::Rounding::signed_maximum: {
      const float inverse = -127.0f / largest;
      return {inverse, 1.0f / inverse};
    }
    case Coding::Rounding::even_of_stored:
      return {0, most / 127.0f, true, false, float(f16(double(most / 127.0f)))};
    case Coding::Rounding::four_bits: {
      const float scale = largest / -8.0f;
      return {1.0f / scale, scale};
    }
  }
  return {};
}

}  // namespace

namespace {

void code_block(std::span<const double> x, size_t first, const Block& block, bool four_bits,
                CodedRow& row) {
  for (size_t i = 0; i < x.size(); ++i) {
    const float exact = block.before(float(x[i]));
    const float code =
        four_bits ? std::min(7.0f, std::floor(exact + 0.5f))
                  : std::min(127.0f, block.away ? std::round(exact) : std::nearbyint(exact));
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
    if (block.scale != 0 && !std::isnan(block.scale))
      code_block(part, first, block, coding.rounding == Coding::Rounding::four_bits, row);
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
constexpr Coding as_f16{.type = NumberType::f16};
constexpr Coding as_bf16{.type = NumberType::bf16};
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

std::vector<Coding> base_codings(std::string_view contract, uint32_t weight_type) {
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

namespace {

/// Of scaled floats: d, so that the largest of x becomes the type's largest.
double float_scale(std::span<const double> x, NumberType type) {
  float most = 0;
  for (const double value : x) {
    if (!std::isfinite(value)) return std::numeric_limits<double>::quiet_NaN();
    most = std::max(most, float(std::fabs(value)));
  }
  return double(most / float(largest(type)));
}

double as_float(double x, const Coding& coding) {
  return coding.cut ? cut_to(x, coding.type) : round_to(x, coding.type);
}

/// Neighbours that share a scale, as floats.
void decode_floats(std::span<const double> x, const Coding& coding, std::span<double> values,
                   std::span<double> slack) {
  const double d = float_scale(x, coding.type);
  for (size_t i = 0; i < x.size(); ++i) {
    if (d == 0) continue;
    // x/d or x·(1/d), in f32: an ulp or two off, so that either neighbour may be right.
    const double exact = double(float(x[i])) / d, off = 2 * double(tie_width) * std::fabs(exact);
    const auto kept = [&](double y) {
      return as_float(std::clamp(y, -largest(coding.type), largest(coding.type)), coding);
    };
    values[i] = d * kept(exact);
    slack[i] = d * (kept(exact + off) - kept(exact - off));
  }
}

/// Neighbours that share scales of blocks, as integers.
void decode_integers(std::span<const double> x, const Coding& coding, std::span<double> values,
                     std::span<double> slack) {
  const CodedRow row = code_row(x, coding, coding.block);
  for (size_t i = 0; i < x.size(); ++i) {
    const size_t block = i / coding.block;
    values[i] = row.scale[block] * row.code[i];
    slack[i] = row.scale_tie[block] * std::abs(row.code[i]);
  }
  for (const Tie& tie : row.ties)
    slack[tie.column] += std::fabs(row.scale[tie.column / coding.block]);
}

}  // namespace

Decoded decoded(const Table& x, const Coding& coding) {
  Decoded out{x, {}};
  if (coding.kind == Coding::Kind::floats && !coding.scaled) {
    if (is_coarse(coding.type))
      for (double& value : out.values.data) value = as_float(value, coding);
    return out;
  }
  out.values = out.slack = Table(x.rows, x.width);
  Coding whole = coding;  // what shares a scale is one block
  const bool by_tensor = coding.scale == Coding::Scale::tensor;
  const uint64_t part = by_tensor ? x.data.size() : x.width;
  if (coding.scale != Coding::Scale::block) whole.block = uint32_t(part);
  for (uint64_t at = 0; at < x.data.size(); at += part) {
    const auto of = [&](auto& table) { return std::span(table.data).subspan(at, part); };
    if (coding.kind == Coding::Kind::integers)
      decode_integers(of(x), whole, of(out.values), of(out.slack));
    else
      for (uint64_t i = 0; i < part; i += whole.block) {
        const uint64_t count = std::min<uint64_t>(whole.block, part - i);
        decode_floats(of(x).subspan(i, count), whole, of(out.values).subspan(i, count),
                      of(out.slack).subspan(i, count));
      }
  }
  if (std::ranges::all_of(out.slack.data, [](double off) { return off == 0; })) out.slack = {};
  return out;
}

namespace {

constexpr std::array<std::pair<std::string_view, Coding>, 3> stored_as = {
    {{"q8_0", {Coding::Kind::integers, 32, Rounding::even_of_product, true}},
     {"q8_0/stored", {Coding::Kind::integers, 32, Rounding::even_of_stored, true}},
     {"q4_0", {Coding::Kind::integers, 32, Rounding::four_bits, true}}}};

}  // namespace

std::optional<Coding> coding_named(std::string_view name) {
  for (const auto& [known, coding] : stored_as)
    if (known == name) return coding;
  const size_t slash = name.find('/');
  const std::string_view head = name.substr(0, slash);
  const std::string_view tail = slash == name.npos ? "" : name.substr(slash + 1);
  Coding coding;
  if (head == "int8") {
    coding.kind = Coding::Kind::integers;
    coding.decoded = true;
  } else if (const auto type = number_type_named(head); type && *type != NumberType::f64) {
    coding.type = *type;
    if (tail.empty()) return coding;
    if (tail == "cut") {
      coding.cut = true;
      return coding;
    }
    coding.scaled = true;
  } else {
    return std::nullopt;
  }
  if (tail == "row" || tail == "tensor") {
    coding.scale = tail == "row" ? Coding::Scale::row : Coding::Scale::tensor;
    return coding;
  }
  uint32_t block = 0;
  const auto [end, wrong] = std::from_chars(tail.data(), tail.data() + tail.size(), block);
  if (wrong != std::errc() || end != tail.data() + tail.size() || block < 1 || block > 65536)
    return std::nullopt;
  coding.block = block;
  return coding;
}

std::string name_of(const Coding& coding) {
  for (const auto& [known, stored] : stored_as)
    if (stored == coding) return std::string(known);
  std::string name(coding.kind == Coding::Kind::integers ? "int8" : name_of(coding.type));
  if (coding.cut)
    name += "/cut";
  else if (coding.kind == Coding::Kind::integers || coding.scaled)
    name += coding.scale == Coding::Scale::row      ? "/row"
            : coding.scale == Coding::Scale::tensor ? "/tensor"
                                                    : "/" + std::to_string(coding.block);
  return coding_named(name) == coding ? name : "";
}

}  // namespace assay::judge
