// assay-synthetic: writes a model of a known shape with seeded random weights, for speed and for
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
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/writer.h"
#include "synthetic_weights.h"

namespace {

using namespace assay;
using namespace assay::synthetic;

struct Shape {
  std::string name, architecture;
  uint32_t layers, width, ffn, heads, kv_heads, head_length, vocabulary, context;
  float rope_base, eps;
  std::string type = "q4_k_m";
  uint32_t experts = 0, experts_used = 0;  ///< 0: a dense model; else `ffn` is that of each expert
  bool head_norms = false;                 ///< of queries and keys
  bool biases = false;                     ///< of every projection, router and expert
  bool sinks = false;
  std::string ffn_norm = "ffn_norm";
  uint32_t window = 0;  ///< of every second layer
  float yarn = 0;       ///< factor; the original context is context / yarn
  uint64_t seed = 1;
};

/// Published shapes; each number can be set by an option.
std::vector<Shape> shapes() {
  return {{.name = "tinyllama-1.1b",
           .architecture = "llama",
           .layers = 22,
           .width = 2048,
           .ffn = 5632,
           .heads = 32,
           .kv_heads = 4,
           .head_length = 64,
           .vocabulary = 32000,
           .context = 16384,
           .rope_base = 10000,
           .eps = 1e-5f},
          {.name = "llama-3.1-8b",
           .architecture = "llama",
           .layers = 32,
           .width = 4096,
           .ffn = 14336,
           .heads = 32,
           .kv_heads = 8,
           .head_length = 128,
           .vocabulary = 128256,
           .context = 131072,
           .rope_base = 500000,
           .eps = 1e-5f},
          {.name = "qwen3-30b-a3b",
           .architecture = "qwen3moe",
           .layers = 48,
           .width = 2048,
           .ffn = 768,
           .heads = 32,
           .kv_heads = 4,
           .head_length = 128,
           .vocabulary = 151936,
           .context = 40960,
           .rope_base = 1e6f,
           .eps = 1e-6f,
           .experts = 128,
           .experts_used = 8,
           .head_norms = true},
          {.name = "gpt-oss-20b",
           .architecture = "gpt-oss",
           .layers = 24,
           .width = 2880,
           .ffn = 2880,
           .heads = 64,
           .kv_heads = 8,
           .head_length = 64,
           .vocabulary = 201088,
           .context = 131072,
           .rope_base = 150000,
           .eps = 1e-5f,
           .type = "mxfp4_moe",
           .experts = 32,
           .experts_used = 4,
           .biases = true,
           .sinks = true,
           .ffn_norm = "post_attention_norm",
           .window = 128,
           .yarn = 32}};
}

/// Which format a mix gives to a matrix: of the model or of its experts, with few bits or more.
struct Type {
  std::string name;
  uint32_t few, more, few_of_experts, more_of_experts;
  uint32_t of(bool with_more, bool of_experts) const {
    return of_experts ? with_more ? more_of_experts : few_of_experts : with_more ? more : few;
  }
};

/// The mixes, and each format alone by its name in small letters.
const std::vector<Type>& types() {
  static const std::vector<Type> all = [] {
    using namespace quant;
    std::vector<Type> list = {{"q4_k_m", Q4_K::id, Q6_K::id, Q4_K::id, Q6_K::id},
                              {"mxfp4_moe", Q8_0::id, Q8_0::id, MXFP4::id, MXFP4::id}};
    visit_all([&]<class F>() {
      std::string name(name_of<F>);
      for (char& c : name) c = char(std::tolower(c));
      list.push_back({name, F::id, F::id, F::id, F::id});
    });
    return list;
  }();
  return all;
}

/// llama.cpp's general.file_type of the names that have one.
const std::map<std::string, uint32_t> file_types = {
    {"q4_k_m", 15},    {"q4_k", 14},   {"q2_k", 10},    {"q3_k", 11},  {"q5_k", 16},
    {"q6_k", 18},      {"q8_0", 7},    {"q4_0", 2},     {"q4_1", 3},   {"q5_0", 8},
    {"q5_1", 9},       {"iq4_nl", 25}, {"bf16", 32},    {"f16", 1},    {"f32", 0},
    {"iq2_xxs", 19},   {"iq2_xs", 20}, {"iq3_xxs", 23}, {"iq1_s", 24}, {"iq3_s", 26},
    {"iq2_s", 28},     {"iq4_xs", 30}, {"iq1_m", 31},   {"tq1_0", 36}, {"tq2_0", 37},
    {"mxfp4_moe", 38}, {"nvfp4", 39}};

const Type& type_of(const Shape& shape) {
  return *std::ranges::find(types(), shape.type, &Type::name);
}

/// llama.cpp's rule of which layers get more bits in the Q4_K_M mix.
bool more_bits(uint32_t layer, uint32_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

std::string problem(const Shape& s) {
  if (s.head_length % 2 != 0)
    return fmt::format("--head-length is {}, which is odd", s.head_length);
  if (s.heads % s.kv_heads != 0) return "--kv-heads must divide --heads";
  if (s.experts_used > s.experts) return "--experts-used must be at most --experts";
  if (s.experts && !s.experts_used) return "--experts needs --experts-used";
  const Type& type = type_of(s);
  for (const uint32_t id : {type.few, type.more, type.few_of_experts, type.more_of_experts}) {
    const quant::Info info = quant::info(id);
    for (const auto& [what, columns] : {std::pair{"--width", s.width},
                                        {"--ffn", s.ffn},
                                        {"heads times --head-length", s.heads * s.head_length}})
      if (columns % info.block_size != 0)
        return fmt::format("{} is {}, no multiple of the block of {} that {} has", what, columns,
                           info.block_size, s.type);
  }
  return {};
}

void add_metadata(gguf::Writer& file, const Shape& s) {
  const auto key = [&](const char* name) { return s.architecture + "." + name; };
  file.add_string("general.architecture", s.architecture);
  file.add_string("general.name", fmt::format("synthetic {} {} seed {}", s.name, s.type, s.seed));
  if (const auto number = file_types.find(s.type); number != file_types.end())
    file.add_u32("general.file_type", number->second);
  file.add_u32("general.quantization_version", 2);
  file.add_u32(key("block_count"), s.layers);
  file.add_u32(key("context_length"), s.context);
  file.add_u32(key("embedding_length"), s.width);
  file.add_u32(key("feed_forward_length"), s.ffn);
  file.add_u32(key("attention.head_count"), s.heads);
  file.add_u32(key("attention.head_count_kv"), s.kv_heads);
  file.add_u32(key("attention.key_length"), s.head_length);
  file.add_u32(key("attention.value_length"), s.head_length);
  file.add_f32(key("attention.layer_norm_rms_epsilon"), s.eps);
  file.add_u32(key("rope.dimension_count"), s.head_length);
  file.add_f32(key("rope.freq_base"), s.rope_base);
  file.add_u32(key("vocab_size"), s.vocabulary);
  if (s.experts) {
    file.add_u32(key("expert_count"), s.experts);
    file.add_u32(key("expert_used_count"), s.experts_used);
    file.add_u32(key("expert_feed_forward_length"), s.ffn);
  }
  if (s.window) file.add_u32(key("attention.sliding_window"), s.window);
  if (s.yarn != 0) {
    file.add_string(key("rope.scaling.type"), "yarn");
    file.add_f32(key("rope.scaling.factor"), s.yarn);
    file.add_u32(key("rope.scaling.original_context_length"), uint32_t(float(s.context) / s.yarn));
  }
  file.add_string("tokenizer.ggml.model", "none");
}

gguf::Writer build(const Shape& s) {
  gguf::Writer file;
  add_metadata(file, s);
  const Type& type = type_of(s);
  /// `parts` matrices in one tensor; 0: one, in a tensor without that dimension.
  const auto matrix = [&](const std::string& name, uint64_t columns, uint64_t rows, uint64_t parts,
                          double rms, uint32_t id) {
    std::vector<uint64_t> dims = {columns, rows};
    if (parts) dims.push_back(parts);
    file.add_tensor(name, id, dims, [=, seed = s.seed] {
      return weights(id, seed, name, columns * rows, std::max<uint64_t>(parts, 1), rms);
    });
  };
  const auto values = [&](const std::string& name, std::vector<uint64_t> dims, double middle,
                          double spread) {
    uint64_t count = 1;
    for (const uint64_t dim : dims) count *= dim;
    file.add_tensor(name, quant::F32::id, dims, [=, seed = s.seed] {
      return uniform(stream(seed, name), count, middle, spread);
    });
  };
  const auto norm = [&](const std::string& name, uint64_t width) {
    values(name + ".weight", {width}, 1, 0.25);
  };
  const auto project = [&](const std::string& name, uint64_t columns, uint64_t rows,
                           double gain = 1, bool more = false, uint64_t experts = 0) {
    matrix(name + ".weight", columns, rows, experts, gain / std::sqrt(double(columns)),
           type.of(more, experts != 0));
    std::vector<uint64_t> dims = {rows};
    if (experts) dims.push_back(experts);
    if (s.biases) values(name + ".bias", dims, 0, 0.25);
  };

  const uint64_t q_width = uint64_t(s.head_length) * s.heads;
  const uint64_t kv_width = uint64_t(s.head_length) * s.kv_heads;
  const double residual_gain = 1 / std::sqrt(2.0 * s.layers);
  matrix("token_embd.weight", s.width, s.vocabulary, 0, 1.0, type.few);
  for (uint32_t layer = 0; layer < s.layers; ++layer) {
    const std::string block = fmt::format("blk.{}.", layer);
    const bool more = more_bits(layer, s.layers);
    norm(block + "attn_norm", s.width);
    project(block + "attn_q", s.width, q_width);
    project(block + "attn_k", s.width, kv_width);
    project(block + "attn_v", s.width, kv_width, 1, more);
    if (s.head_norms) norm(block + "attn_q_norm", s.head_length);
    if (s.head_norms) norm(block + "attn_k_norm", s.head_length);
    if (s.sinks) values(block + "attn_sinks.weight", {s.heads}, 0, 1);
    project(block + "attn_output", q_width, s.width, residual_gain);
    norm(block + s.ffn_norm, s.width);
    if (s.experts) {
      const std::string router = block + "ffn_gate_inp";
      matrix(router + ".weight", s.width, s.experts, 0, 1 / std::sqrt(double(s.width)),
             quant::F32::id);
      if (s.biases) values(router + ".bias", {s.experts}, 0, 0.25);
    }
    const std::string suffix = s.experts ? "_exps" : "";
    project(block + "ffn_gate" + suffix, s.width, s.ffn, 1, false, s.experts);
    project(block + "ffn_up" + suffix, s.width, s.ffn, 1, false, s.experts);
    project(block + "ffn_down" + suffix, s.ffn, s.width, residual_gain, more, s.experts);
  }
  norm("output_norm", s.width);
  matrix("output.weight", s.width, s.vocabulary, 0, 1 / std::sqrt(double(s.width)), type.more);
  return file;
}

/// An option that sets one number of the shape.
struct Setting {
  const char* flag;
  uint32_t Shape::*number;
  uint32_t most;
  const char* text;
};

constexpr Setting settings[] = {
    {"--layers", &Shape::layers, 1000, "layers"},
    {"--width", &Shape::width, 1u << 16, "width of the residual"},
    {"--ffn", &Shape::ffn, 1u << 18, "width of the feed-forward part, or of each expert"},
    {"--heads", &Shape::heads, 1u << 12, "query heads"},
    {"--kv-heads", &Shape::kv_heads, 1u << 12, "key-value heads"},
    {"--head-length", &Shape::head_length, 1u << 10, "numbers in a head"},
    {"--experts", &Shape::experts, 512, "experts of a shape that has them"},
    {"--experts-used", &Shape::experts_used, 512, "experts that a token chooses"},
    {"--vocab", &Shape::vocabulary, 1u << 20, "tokens"},
    {"--context", &Shape::context, 1u << 24, "context length written into the file"}};

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Writes a model of a known shape with seeded random weights (no tokenizer: run it with\n"
      "--tokens). Each number can be set: --shape gpt-oss-20b --layers 4."};
  std::vector<Shape> known = shapes();
  std::vector<std::string> names, formats;
  for (const Shape& shape : known) names.push_back(shape.name);
  for (const Type& type : types()) formats.push_back(type.name);
  std::string name = names.front(), type, output;
  uint64_t seed = 1;
  std::map<std::string, uint32_t> numbers;
  app.add_option("--shape", name, "whose shape")
      ->transform(CLI::IsMember(names, CLI::ignore_case))
      ->capture_default_str();
  for (const Setting& setting : settings)
    app.add_option(setting.flag, numbers[setting.flag], setting.text)
        ->check(CLI::Range(1u, setting.most));
  app.add_option("--type,--format", type, "format of the matrices; default: as the shape is known")
      ->transform(CLI::IsMember(formats, CLI::ignore_case));
  app.add_option("--seed", seed, "seed of the weights")->capture_default_str();
  app.add_option("-o,--output", output, "file to write")->required();
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : int(Exit::cannot);
  }
  Shape shape = *std::ranges::find(known, name, &Shape::name);
  shape.seed = seed;
  if (!type.empty()) shape.type = type;
  for (const Setting& setting : settings)
    if (app.count(setting.flag)) shape.*setting.number = numbers[setting.flag];
  const bool other_heads = app.count("--width") + app.count("--heads") > 0;
  if (other_heads && !app.count("--head-length")) shape.head_length = shape.width / shape.heads;
  if (const std::string text = problem(shape); !text.empty()) {
    fmt::print(stderr, "{}\n", text);
    return int(Exit::cannot);
  }
  if (const Status written = build(shape).write(output); !written) {
    fmt::print(stderr, "{}\n", written.error().message);
    return int(written.error().exit);
  }
  fmt::print("{}: {} bytes\n", output, std::filesystem::file_size(output));
}
