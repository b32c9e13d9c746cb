// assay-synthetic: writes a llama model of any shape with seeded random weights, for speed and for
// tests. The default is TinyLlama-1.1B's shape in the mix of types that llama.cpp calls Q4_K_M.
// There is no tokenizer: use --tokens.
//
// Weights have mean 0 and RMS gain/√columns (the embedding: RMS 1). With normalised inputs every
// projection then gives values of RMS about 1; the two projections that add to the residual have
// gain 1/√(2·layers), so that the residual's RMS goes from 1 to at most √2 whatever the depth.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/mix64.h"
#include "gguf/writer.h"
#include "quant/fields.h"

namespace {

using namespace assay;

struct Shape {
  uint32_t layers = 22, width = 2048, ffn = 5632, heads = 32, kv_heads = 4, vocabulary = 32000,
           context = 16384;
  std::string type = "q4_k_m", output;
  uint64_t seed = 1;
};

struct Random {
  uint64_t state;
  uint64_t next() { return assay::splitmix64(state); }
  double uniform() { return double(next() >> 11) * 0x1p-53; }
  void fill(uint8_t* bytes, uint32_t count) {
    for (uint32_t i = 0; i < count; i += 8) {
      const uint64_t word = next();
      std::memcpy(bytes + i, &word, std::min(8u, count - i));
    }
  }
};

/// One stream a tensor, so that a tensor's weights depend on its name and the seed alone (FNV-1a).
Random stream(uint64_t seed, const std::string& name) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : name) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  Random mixed{hash ^ seed * 0x9e3779b97f4a7c15u};
  return {mixed.next()};
}

void put_f16(uint8_t* at, float value) {
  const uint16_t half = k_f32_to_f16(value);
  at[0] = uint8_t(half), at[1] = uint8_t(half >> 8);
}

/// A scale near `wanted`, ±25 %, of at most 7 bits and no finer than 2^-23: then 7.5 times it is a
/// half too.
float short_scale(Random& random, double wanted) {
  const double near = wanted * (0.75 + 0.5 * random.uniform());
  const int exponent = std::max(-23, std::ilogb(near) - 6);
  return float(std::ldexp(std::max(1.0, std::nearbyint(std::ldexp(near, -exponent))), exponent));
}

// block(F, random, rms, at) writes one block of weights of this RMS and mean 0. Codes are uniform,
// so their RMS about the middle of n values is √((n²−1)/12).

void block(quant::F32, Random& random, double rms, uint8_t* at) {
  const float value = float((2 * random.uniform() - 1) * std::sqrt(3.0) * rms);
  std::memcpy(at, &value, 4);
}

void block(quant::F16, Random& random, double rms, uint8_t* at) {
  put_f16(at, float((2 * random.uniform() - 1) * std::sqrt(3.0) * rms));
}

void block(quant::BF16, Random& random, double rms, uint8_t* at) {
  const uint32_t bits = k_bits(float((2 * random.uniform() - 1) * std::sqrt(3.0) * rms));
  at[0] = uint8_t(bits >> 16), at[1] = uint8_t(bits >> 24);
}

void block(quant::Q8_0, Random& random, double rms, uint8_t* at) {
  put_f16(at, short_scale(random, rms / 73.9));  // 256 codes; their mean is −0.5, of RMS 73.9
  random.fill(at + 2, 32);
}

void block(quant::Q4_1, Random& random, double rms, uint8_t* at) {
  const float d = short_scale(random, rms / 4.61);  // 16 codes
  put_f16(at, d);
  put_f16(at + 2, -7.5f * d);
  random.fill(at + 4, 16);
}

/// sc_g = m_g uniform in 32 … 63 (RMS 48.4), dmin = 7.5·d: w = d·sc_g·(q − 7.5).
void block(quant::Q4_K, Random& random, double rms, uint8_t* at) {
  const float d = short_scale(random, rms / (4.61 * 48.4));
  put_f16(at, d);
  put_f16(at + 2, 7.5f * d);
  uint64_t bits = random.next();
  uint8_t scale[8];
  for (uint8_t& s : scale) s = uint8_t(32 + (bits & 31)), bits >>= 5;
  for (uint32_t g = 0; g < 4; ++g) {
    const uint8_t first = scale[g], second = scale[g + 4];
    at[4 + g] = at[8 + g] = uint8_t(first | (second >> 4) << 6);
    at[12 + g] = uint8_t((second & 15) | (second & 15) << 4);
  }
  random.fill(at + 16, 128);
}

/// sc_g uniform in ±(32 … 127) (RMS 84.2); 64 codes, of RMS 18.5 about 32; their mean −0.5 cancels
/// by the signs of sc_g.
void block(quant::Q6_K, Random& random, double rms, uint8_t* at) {
  random.fill(at, 192);
  for (uint32_t g = 0; g < 16; ++g) {
    const uint64_t bits = random.next();
    const int magnitude = 32 + int((bits >> 32) * 96 >> 32);
    at[192 + g] = uint8_t(int8_t(bits & 1 ? magnitude : -magnitude));
  }
  put_f16(at + 208, short_scale(random, rms / (18.5 * 84.2)));
}

/// Any other block format: all bytes uniform, its f16 fields at `scale_at` and `minimum_at`.
/// `spread` is the RMS that blocks of scale 1 then have, with `middle`·scale as the minimum;
/// without a minimum the sign of the scale is random, as the codes' mean is half a step from 0.
struct Layout {
  uint32_t scale_at, minimum_at;
  double spread, middle;
};

void block(const Layout& layout, uint32_t bytes, Random& random, double rms, uint8_t* at) {
  random.fill(at, bytes);
  const float d = short_scale(random, rms / layout.spread);
  const bool negative = layout.middle == 0 && (random.next() & 1);
  put_f16(at + layout.scale_at, negative ? -d : d);
  if (layout.middle != 0) put_f16(at + layout.minimum_at, float(layout.middle) * d);
}

// Codes as above; scale and minimum codes are uniform over all they can be.
constexpr Layout layout_of(quant::Q4_0) {
  return {0, 0, 4.64, 0};  // 16 codes about 8
}
constexpr Layout layout_of(quant::Q5_0) {
  return {0, 0, 9.25, 0};  // 32 codes about 16
}
constexpr Layout layout_of(quant::Q5_1) {
  return {0, 2, 9.23, -15.5};
}
constexpr Layout layout_of(quant::IQ4_NL) {
  return {0, 0, 67.4, 0};  // the RMS of its sixteen values
}
constexpr Layout layout_of(quant::Q2_K) {
  return {80, 82, 13.9, 1.5};  // sc, m in 0 … 15: √(77.5·(3.5 + 1.5²) − 2·11.25²)
}
constexpr Layout layout_of(quant::Q3_K) {
  return {108, 0, 43.3, 0};  // sc of −32 … 31 has 18.5, codes about 4 have 2.35
}
constexpr Layout layout_of(quant::Q5_K) {
  return {0, 2, 527, 15.5};  // sc, m in 0 … 63: √(1333.5·(325.5 + 15.5²) − 2·488.25²)
}

/// The RMS of random blocks whose scales are 1: of formats without a minimum, whose codes have a
/// mean of about 0.
template <class F>
double measured_spread() {
  static_assert(!F::has_minimum, "a format with a minimum needs a layout");
  static const double spread = [] {
    Random random{1};
    std::vector<uint8_t> block(F::block_bytes);
    double sum = 0;
    const int blocks = 1024;
    for (int b = 0; b < blocks; ++b) {
      random.fill(block.data(), F::block_bytes);
      for (uint32_t g = 0; g < quant::own_scales<F>; ++g)
        quant::put_scale<F>(block.data(), g, 1.0f);
      for (uint32_t i = 0; i < F::block_size; ++i) {
        const double w = quant::decode<F>(block.data(), i);
        sum += w * w;
      }
    }
    return std::sqrt(sum / (blocks * double(F::block_size)));
  }();
  return spread;
}

/// Any format: by its layout where it has one here, else random bytes with scales of a random sign.
/// Where scales are not f16, they are the nearest that there are.
template <class F>
void block(F format, Random& random, double rms, uint8_t* at) {
  if constexpr (requires { layout_of(format); }) {
    block(layout_of(format), F::block_bytes, random, rms, at);
  } else {
    random.fill(at, F::block_bytes);
    for (uint32_t g = 0; g < quant::own_scales<F>; ++g) {
      const float d = short_scale(random, rms / measured_spread<F>());
      quant::put_scale<F>(at, g, random.next() & 1 ? -d : d);
    }
  }
}

std::vector<uint8_t> weights(uint32_t type, Random random, uint64_t count, double rms) {
  std::vector<uint8_t> bytes;
  quant::visit(type, [&]<class F>() {
    bytes.resize(count / F::block_size * F::block_bytes);
    for (uint64_t at = 0; at < bytes.size(); at += F::block_bytes)
      block(F{}, random, rms, bytes.data() + at);
  });
  return bytes;
}

/// Norm weights: uniform in 0.75 … 1.25.
std::vector<uint8_t> norm_weights(Random random, uint64_t count) {
  std::vector<float> values(count);
  for (float& value : values) value = float(0.75 + 0.5 * random.uniform());
  std::vector<uint8_t> bytes(4 * count);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

struct Type {
  std::string name;
  uint32_t tensor_type;  ///< of all matrices; for q4_k_m of most
};

/// The mix, and each format alone by its name in small letters.
const std::vector<Type>& types() {
  static const std::vector<Type> all = [] {
    std::vector<Type> list = {{"q4_k_m", quant::Q4_K::id}};
    quant::visit_all([&]<class F>() {
      std::string name(quant::name_of<F>);
      for (char& c : name) c = char(std::tolower(c));
      list.push_back({name, F::id});
    });
    return list;
  }();
  return all;
}

/// llama.cpp's general.file_type of the names that have one.
const std::map<std::string, uint32_t> file_types = {
    {"q4_k_m", 15}, {"q4_k", 14},  {"q2_k", 10},  {"q3_k", 11},    {"q5_k", 16},   {"q6_k", 18},
    {"q8_0", 7},    {"q4_0", 2},   {"q4_1", 3},   {"q5_0", 8},     {"q5_1", 9},    {"iq4_nl", 25},
    {"bf16", 32},   {"f16", 1},    {"f32", 0},    {"iq2_xxs", 19}, {"iq2_xs", 20}, {"iq3_xxs", 23},
    {"iq1_s", 24},  {"iq3_s", 26}, {"iq2_s", 28}, {"iq4_xs", 30},  {"iq1_m", 31},  {"tq1_0", 36},
    {"tq2_0", 37},  {"mxfp4", 38}, {"nvfp4", 39}};

const Type& type_of(const Shape& shape) {
  return *std::ranges::find(types(), shape.type, &Type::name);
}

/// llama.cpp's rule of which layers get more bits in the Q4_K_M mix.
bool more_bits(uint32_t layer, uint32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

std::string problem(const Shape& s) {
  if (s.width % s.heads != 0 || s.width / s.heads % 2 != 0)
    return "--heads must divide --width into even parts";
  if (s.heads % s.kv_heads != 0) return "--kv-heads must divide --heads";
  const quant::Info info = quant::info(type_of(s).tensor_type);
  if (s.width % info.block_size != 0 || s.ffn % info.block_size != 0)
    return fmt::format("--width and --ffn must be multiples of {} for {}", info.block_size, s.type);
  return {};
}

void add_metadata(gguf::Writer& file, const Shape& s) {
  file.add_string("general.architecture", "llama");
  file.add_string("general.name", fmt::format("synthetic {} seed {}", s.type, s.seed));
  if (const auto number = file_types.find(s.type); number != file_types.end())
    file.add_u32("general.file_type", number->second);
  file.add_u32("general.quantization_version", 2);
  file.add_u32("llama.block_count", s.layers);
  file.add_u32("llama.context_length", s.context);
  file.add_u32("llama.embedding_length", s.width);
  file.add_u32("llama.feed_forward_length", s.ffn);
  file.add_u32("llama.attention.head_count", s.heads);
  file.add_u32("llama.attention.head_count_kv", s.kv_heads);
  file.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.add_u32("llama.rope.dimension_count", s.width / s.heads);
  file.add_f32("llama.rope.freq_base", 10000.0f);
  file.add_u32("llama.vocab_size", s.vocabulary);
  file.add_string("tokenizer.ggml.model", "none");
}

gguf::Writer build(const Shape& s) {
  gguf::Writer file;
  add_metadata(file, s);
  const bool mix = s.type == "q4_k_m";
  const uint32_t plain = type_of(s).tensor_type;
  const auto matrix = [&](const std::string& name, uint64_t columns, uint64_t rows, double rms,
                          bool more) {
    const uint32_t type = mix && more ? quant::Q6_K::id : plain;
    file.add_tensor(name, type, {columns, rows}, [=, seed = s.seed] {
      return weights(type, stream(seed, name), columns * rows, rms);
    });
  };
  const auto norm = [&](const std::string& name) {
    file.add_tensor(name, quant::F32::id, {s.width}, [=, seed = s.seed, width = s.width] {
      return norm_weights(stream(seed, name), width);
    });
  };

  const uint64_t kv_width = uint64_t(s.width / s.heads) * s.kv_heads;
  const double in_width = 1 / std::sqrt(double(s.width)), in_ffn = 1 / std::sqrt(double(s.ffn));
  const double residual_gain = 1 / std::sqrt(2.0 * s.layers);
  matrix("token_embd.weight", s.width, s.vocabulary, 1.0, false);
  for (uint32_t layer = 0; layer < s.layers; ++layer) {
    const std::string block_name = fmt::format("blk.{}.", layer);
    const bool more = more_bits(layer, s.layers);
    norm(block_name + "attn_norm.weight");
    matrix(block_name + "attn_q.weight", s.width, s.width, in_width, false);
    matrix(block_name + "attn_k.weight", s.width, kv_width, in_width, false);
    matrix(block_name + "attn_v.weight", s.width, kv_width, in_width, more);
    matrix(block_name + "attn_output.weight", s.width, s.width, in_width * residual_gain, false);
    norm(block_name + "ffn_norm.weight");
    matrix(block_name + "ffn_gate.weight", s.width, s.ffn, in_width, false);
    matrix(block_name + "ffn_up.weight", s.width, s.ffn, in_width, false);
    matrix(block_name + "ffn_down.weight", s.ffn, s.width, in_ffn * residual_gain, more);
  }
  norm("output_norm.weight");
  matrix("output.weight", s.width, s.vocabulary, in_width, true);
  return file;
}

}  // namespace

int main(int argc, char** argv) {
  Shape shape;
  CLI::App app{
      "Writes a llama model with seeded random weights (no tokenizer: run it with --tokens)."};
  const auto count = [&](const char* flag, uint32_t& value, uint32_t most, const char* text) {
    app.add_option(flag, value, text)->check(CLI::Range(1u, most))->capture_default_str();
  };
  count("--layers", shape.layers, 1000, "layers");
  count("--width", shape.width, 1u << 16, "width of the residual");
  count("--ffn", shape.ffn, 1u << 18, "width of the feed-forward part");
  count("--heads", shape.heads, 1u << 12, "query heads");
  count("--kv-heads", shape.kv_heads, 1u << 12, "key-value heads");
  count("--vocab", shape.vocabulary, 1u << 20, "tokens");
  count("--context", shape.context, 1u << 24, "context length written into the file");
  std::vector<std::string> names;
  for (const Type& type : types()) names.emplace_back(type.name);
  app.add_option("--type,--format", shape.type, "format of the matrices")
      ->transform(CLI::IsMember(names, CLI::ignore_case))
      ->capture_default_str();
  app.add_option("--seed", shape.seed, "seed of the weights")->capture_default_str();
  app.add_option("-o,--output", shape.output, "file to write")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : int(Exit::cannot);
  }
  if (const std::string text = problem(shape); !text.empty()) {
    fmt::print(stderr, "{}\n", text);
    return int(Exit::cannot);
  }
  if (const Status written = build(shape).write(shape.output); !written) {
    fmt::print(stderr, "{}\n", written.error().message);
    return int(written.error().exit);
  }
  fmt::print("{}: {} bytes\n", shape.output, std::filesystem::file_size(shape.output));
}
