// Every weight format through a whole small file: written, read, built and run. The same bits for
// any threads, cuts and instruction set; frozen; and every operation inside the judge's bound.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "cpu/tiny_program.h"
#include "gguf/writer.h"
#include "judge/replay.h"
#include "run/engine.h"
#include "trace/statistics.h"

namespace assay::tests {
namespace {

/// Which format a tensor has. The mixes are those that llama.cpp's quantiser writes.
struct Recipe {
  const char* name;
  uint32_t plain, more, embedding;  ///< most matrices; attn_v and ffn_down; token_embd
  uint32_t width, ffn;
  bool tied;         ///< the head is token_embd
  const char* hash;  ///< the first 16 digits of the logits' hash under assay/1
};

void PrintTo(const Recipe& recipe, std::ostream* out) {
  *out << recipe.name;
}

using namespace quant;

template <class F>
Recipe pure(const char* hash) {
  static const std::string name(quant::name_of<F>);
  return {name.c_str(), F::id, F::id, F::id, 256, 512, true, hash};
}

const Recipe recipes[] = {
    pure<F32>("12040ede72eef89a"),
    pure<F16>("d3a74f259de5275f"),
    pure<BF16>("c4d344c310e5c3f6"),
    pure<Q8_0>("09c6c654c5392e03"),
    pure<Q4_0>("6ea26bf01be26087"),
    pure<Q4_1>("59a18d9b002c3aa4"),
    pure<Q5_0>("b8958d4729459370"),
    pure<Q5_1>("52b9462158993628"),
    pure<Q2_K>("ef2ee913c38152b9"),
    pure<Q3_K>("675e90e8d2be3476"),
    pure<Q4_K>("064b80fe114d574f"),
    pure<Q5_K>("c790aa300a95ae48"),
    pure<Q6_K>("9bf18228eda15582"),
    pure<IQ4_NL>("b11965c0371fa8c6"),
    pure<IQ4_XS>("dd51b022a430ec57"),
    pure<MXFP4>("ebbbd4aa1b781139"),
    pure<NVFP4>("7c943d495cdbd19a"),
    pure<IQ3_S>("498aa6c025db236b"),
    pure<IQ3_XXS>("734c7bb6fd2a2bb4"),
    pure<IQ2_S>("90599e43df988c3f"),
    pure<IQ2_XS>("13155141692c713e"),
    pure<IQ2_XXS>("da9836fdedf5dc26"),
    pure<IQ1_M>("da8909bd29ba69a2"),
    pure<IQ1_S>("41938528c7670ead"),
    pure<TQ1_0>("1ce6703cd30d7f98"),
    pure<TQ2_0>("d24d3911425e85f5"),
    {"Q4_K_M", Q4_K::id, Q6_K::id, Q4_K::id, 256, 512, false, "62e28be331f6b0f0"},
    {"Q2_K_mix", Q2_K::id, Q3_K::id, Q2_K::id, 256, 768, false, "60d45108dbbc0e68"},
    {"Q3_K_M", Q3_K::id, Q5_K::id, Q3_K::id, 256, 512, false, "fbfe9925a14fb266"},
    // rows of 96 and 160 weights hold no block of 256: the quantiser's fall-backs
    {"Q4_K_M_narrow", Q5_0::id, Q8_0::id, Q5_0::id, 96, 160, false, "03bb587503f52c99"},
    {"Q5_K_M_narrow", Q5_1::id, Q8_0::id, Q5_1::id, 96, 160, true, "60692dfcfb05fc01"},
    {"Q2_K_narrow", IQ4_NL::id, Q5_0::id, IQ4_NL::id, 96, 160, true, "b3783c5d5c144534"},
};

std::vector<uint8_t> ones(uint32_t n) {
  const std::vector<float> values(n, 1.0f);
  std::vector<uint8_t> bytes(4 * n);
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

/// A llama of two layers, 4 heads on 2 KV heads. `changed`: the tensor whose first block gets
/// another scale: its lowest bit flipped (float formats: one part in 256 of its first value).
gguf::Writer file_of(const Recipe& recipe, const std::string& changed = {}) {
  gguf::Writer file;
  file.add_string("general.architecture", "llama");
  file.add_u32("llama.block_count", 2);
  file.add_u32("llama.context_length", 256);
  file.add_u32("llama.embedding_length", recipe.width);
  file.add_u32("llama.feed_forward_length", recipe.ffn);
  file.add_u32("llama.attention.head_count", 4);
  file.add_u32("llama.attention.head_count_kv", 2);
  file.add_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  file.add_u32("llama.rope.dimension_count", recipe.width / 4);
  file.add_f32("llama.rope.freq_base", 10000.0f);
  file.add_u32("llama.vocab_size", vocabulary);
  file.add_string("tokenizer.ggml.model", "none");
  uint32_t seed = 7;
  const auto matrix = [&](const std::string& name, uint32_t type, uint64_t columns, uint64_t rows,
                          float size) {
    Random random(seed++);
    std::vector<uint8_t> bytes = model_matrix(type, rows, columns, size, random).bytes;
    if (name == changed && info(type).block_size == 1) bytes[info(type).block_bytes - 2] ^= 0x80;
    if (name == changed) alter_scale(type, bytes.data());
    file.add_tensor(name, type, {columns, rows}, [bytes] { return bytes; });
  };
  const auto norm = [&](const std::string& name) {
    file.add_tensor(name, F32::id, {recipe.width}, [n = recipe.width] { return ones(n); });
  };
  const float size = 1 / std::sqrt(float(recipe.width));
  matrix("token_embd.weight", recipe.embedding, recipe.width, vocabulary, 1.0f);
  for (const std::string b : {"blk.0.", "blk.1."}) {
    norm(b + "attn_norm.weight");
    matrix(b + "attn_q.weight", recipe.plain, recipe.width, recipe.width, size);
    matrix(b + "attn_k.weight", recipe.plain, recipe.width, recipe.width / 2, size);
    matrix(b + "attn_v.weight", recipe.more, recipe.width, recipe.width / 2, size);
    matrix(b + "attn_output.weight", recipe.plain, recipe.width, recipe.width, size);
    norm(b + "ffn_norm.weight");
    matrix(b + "ffn_gate.weight", recipe.plain, recipe.width, recipe.ffn, size);
    matrix(b + "ffn_up.weight", recipe.plain, recipe.width, recipe.ffn, size);
    matrix(b + "ffn_down.weight", recipe.more, recipe.ffn, recipe.width, size);
  }
  norm("output_norm.weight");
  if (!recipe.tied) matrix("output.weight", recipe.more, recipe.width, vocabulary, size);
  return file;
}

/// A file of the temporary folder, removed at the end.
class Written {
 public:
  explicit Written(const gguf::Writer& file)
      : path_(std::filesystem::temp_directory_path() /
              ("assay_formats_" + std::to_string(getpid()) + "_" + std::to_string(count++))) {
    if (const Status written = file.write(path_.string()); !written)
      throw std::runtime_error(written.error().message);
  }
  ~Written() { std::filesystem::remove(path_); }
  Written(const Written&) = delete;

  run::Engine open(const op::ExecutorOptions& executor, const char* device = "cpu") const {
    run::EngineOptions options;
    options.device = device;
    options.executor = executor;
    auto engine = run::Engine::open(path_.string(), options);
    if (!engine) throw std::runtime_error(engine.error().message);
    return std::move(*engine);
  }

 private:
  static inline int count = 0;
  std::filesystem::path path_;
};

constexpr uint32_t prompt_length = 70;  // past one chunk of 64 keys

std::vector<int32_t> prompt() {
  std::vector<int32_t> tokens;
  for (uint32_t i = 0; i < prompt_length; ++i) tokens.push_back(token(i));
  return tokens;
}

op::ExecutorOptions executor_of(uint32_t threads, const char* isa = "") {
  op::ExecutorOptions options;
  options.threads = threads;
  options.isa = isa;
  return options;
}

/// The hash of all tokens' logits, run in pieces of these lengths.
std::string hash_of(run::Engine engine, const std::vector<uint32_t>& pieces = {prompt_length}) {
  const auto tokens = prompt();
  trace::LogitsHash hash;
  run::Sequence sequence = std::move(*engine.start());
  uint32_t start = 0;
  for (const uint32_t piece : pieces) {
    const auto fed = engine.feed(sequence, std::span(tokens).subspan(start, piece),
                                 run::Wanted::all, [&](auto part) { hash.update(part); });
    EXPECT_TRUE(fed);
    start += piece;
  }
  EXPECT_EQ(start, prompt_length);
  return hash.hex();
}

class FormatFile : public testing::TestWithParam<Recipe> {
 protected:
  Written file_{file_of(GetParam())};
};

TEST_P(FormatFile, HasOneHashForThreadsCutsAndInstructionSets) {
  const std::string want = hash_of(file_.open(executor_of(1)));
  EXPECT_EQ(want.substr(0, 16), GetParam().hash) << "the frozen bits of contract assay/1";
  for (const cpu::Kernels* kernels : all_kernels())
    for (const uint32_t threads : {1u, 2u, 3u})
      EXPECT_EQ(hash_of(file_.open(executor_of(threads, kernels->isa))), want)
          << kernels->isa << " threads " << threads;
  EXPECT_EQ(hash_of(file_.open(executor_of(2)), std::vector<uint32_t>(prompt_length, 1)), want);
  for (uint32_t seed = 0; seed < 3; ++seed) {
    Random random(seed);
    std::vector<uint32_t> pieces;
    for (uint32_t left = prompt_length; left > 0; left -= pieces.back())
      pieces.push_back(std::min(left, 1 + random.below(33)));
    EXPECT_EQ(hash_of(file_.open(executor_of(1 + seed)), pieces), want) << "cuts of seed " << seed;
  }
}

/// Replays a run of `engine` with the program of `judge`: the operations outside their bound.
std::vector<std::string> outside(run::Engine& engine, const run::Engine& judge,
                                 const op::ExecutorOptions& options) {
  judge::Replay replay(judge.program(), options);
  // a replay knows an operation by its place in the program
  const auto watch = [&](const op::Operation& operation, std::span<const float> output) {
    const auto place = &operation - engine.program().operations.data();
    replay(judge.program().operations[size_t(place)], output);
  };
  run::Sequence sequence = std::move(*engine.start());
  const auto tokens = prompt();
  for (uint32_t start : {0u, 69u}) {  // a prompt, then a decode step
    const uint32_t count = start == 0 ? 69 : 1;
    const auto part = std::span(tokens).subspan(start, count);
    std::vector<uint32_t> positions(count), sequences(count, 0), selected(count);
    for (uint32_t i = 0; i < count; ++i) positions[i] = start + i, selected[i] = i;
    replay.begin_step({part, positions, sequences, selected});
    EXPECT_TRUE(engine.feed(sequence, part, run::Wanted::all, {}, watch));
  }
  std::vector<std::string> names;
  for (const judge::OperationError& error : replay.results()) {
    EXPECT_GT(error.elements, 0u) << error.name;
    if (error.failures > 0)
      names.push_back(error.name + ": " + std::to_string(error.max_u) + " u of " +
                      std::to_string(error.limit_u));
  }
  return names;
}

TEST_P(FormatFile, EveryOperationIsInsideItsBoundUnderBothContracts) {
  for (const op::Contract contract : {op::Contract::assay1, op::Contract::f32}) {
    op::ExecutorOptions options = executor_of(2);
    options.contract = contract;
    run::Engine engine = file_.open(options);
    EXPECT_EQ(outside(engine, engine, options), std::vector<std::string>());
  }
}

/// The mirror: one scale of one block, wrong in its last bit, is seen in the operation that reads
/// it and in no other.
TEST_P(FormatFile, OneWrongScaleIsSeenInItsOperationAlone) {
  const Written other(file_of(GetParam(), "blk.1.ffn_gate.weight"));
  const op::ExecutorOptions options = executor_of(2);
  run::Engine engine = file_.open(options);
  const auto names = outside(engine, other.open(options), options);
  ASSERT_EQ(names.size(), 1u);
  EXPECT_EQ(names[0].find("blk.1.gate"), 0u) << names[0];
}

/// The judge as an executor: each row of the embedding decodes to the same bits, in each format.
TEST_P(FormatFile, TheEmbeddingOfTheReferenceIsTheCpusBitForBit) {
  std::vector<float> embedded[2];
  for (const bool reference : {false, true}) {
    op::ExecutorOptions options = executor_of(2);
    options.contract = reference ? op::Contract::exact : op::Contract::assay1;
    run::Engine engine = file_.open(options, reference ? "reference" : "cpu");
    const auto tokens = prompt();
    run::Sequence sequence = std::move(*engine.start());
    const auto fed = engine.feed(
        sequence, tokens, run::Wanted::last, {},
        [&](const op::Operation& operation, std::span<const float> output) {
          if (operation.is<op::Embed>())
            embedded[reference].insert(embedded[reference].end(), output.begin(), output.end());
        });
    ASSERT_TRUE(fed);
  }
  ASSERT_EQ(embedded[0].size(), size_t(prompt_length) * GetParam().width);
  EXPECT_EQ(difference(embedded[0], embedded[1]), "");
}

std::string recipe_name(const testing::TestParamInfo<Recipe>& info) {
  return info.param.name;
}
INSTANTIATE_TEST_SUITE_P(Recipes, FormatFile, testing::ValuesIn(recipes), recipe_name);

/// A new format must join the recipes.
TEST(FormatFiles, HaveEveryFormat) {
  for (const uint32_t id : all_formats) {
    const auto pure_one = std::find_if(std::begin(recipes), std::end(recipes), [&](const auto& r) {
      return r.plain == id && r.more == id && r.embedding == id;
    });
    EXPECT_NE(pure_one, std::end(recipes)) << info(id).name;
  }
}

}  // namespace
}  // namespace assay::tests
