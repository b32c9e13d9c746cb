// One Answer on the default model: the same bits for any thread count, cut, instruction set, batch,
// denormal mode.
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>
#include <random>
#include <set>

#include "cpu/kernels.h"
#include "support/default_model.h"
#include "trace/recorder.h"
#include "trace/statistics.h"

namespace assay {
namespace {

/// 75 tokens: past one chunk of 64 keys.
std::vector<int32_t> prompt() {
  std::vector<int32_t> tokens = {504, 3575, 282, 4649, 314};
  for (int32_t i = 0; i < 70; ++i) tokens.push_back(i * 631 % 40000 + 100);
  return tokens;
}

std::string hash(std::span<const float> logits) {
  trace::LogitsHash hash;
  hash.update(logits);
  return hash.hex();
}

std::string hash_with(op::ExecutorOptions executor, std::vector<size_t> ends = {}) {
  auto engine = testing::open_default("cpu", std::move(executor));
  return hash(testing::all_logits(engine, prompt(), std::move(ends)));
}

/// tests/golden/smollm2_logits.sha256: the hash of contract assay/1, renewed only with a new
/// version of it.
std::string golden() {
  std::ifstream file(std::string(ASSAY_SOURCE_DIR) + "/tests/golden/smollm2_logits.sha256");
  std::string contract, hash;
  file >> contract >> hash;
  return contract == "assay/1" ? hash : "no golden";
}

class OneAnswer : public ::testing::Test {
 protected:
  void SetUp() override { ASSAY_NEEDS_MODEL(); }
};

TEST_F(OneAnswer, Threads) {
  for (uint32_t threads : {1u, 2u, 3u, 7u}) {
    op::ExecutorOptions options;
    options.threads = threads;
    EXPECT_EQ(hash_with(options), golden()) << threads << " threads";
  }
}

TEST_F(OneAnswer, TokenByToken) {
  std::vector<size_t> ends;
  for (size_t i = 1; i < prompt().size(); ++i) ends.push_back(i);
  EXPECT_EQ(hash_with({}, ends), golden());
}

TEST_F(OneAnswer, FiveRandomCuts) {
  std::mt19937 random(20251);
  for (int i = 0; i < 5; ++i) {
    std::set<size_t> cuts;
    while (cuts.size() < size_t(i) + 1) cuts.insert(1 + random() % (prompt().size() - 1));
    EXPECT_EQ(hash_with({}, {cuts.begin(), cuts.end()}), golden()) << "cut set " << i;
  }
}

class OneAnswerIsa : public ::testing::TestWithParam<const char*> {};

TEST_P(OneAnswerIsa, GivesTheGolden) {
  ASSAY_NEEDS_MODEL();
  op::ExecutorOptions options;
  options.isa = GetParam();
  if (!cpu::find_kernels(GetParam())) {
    run::EngineOptions engine;
    engine.context = 512;
    engine.executor = options;
    const auto opened = run::Engine::open(testing::default_model().string(), engine);
    ASSERT_FALSE(opened);  // forcing what the machine lacks is an error, never another path
    EXPECT_EQ(opened.error().exit, Exit::device);
    GTEST_SKIP() << "this machine has no " << GetParam();
  }
  EXPECT_EQ(hash_with(options), golden());
}
INSTANTIATE_TEST_SUITE_P(Isa, OneAnswerIsa, ::testing::Values("portable", "avx2", "avx512"),
                         [](const auto& isa) { return std::string(isa.param); });

TEST_F(OneAnswer, DenormalsFlushedOrNot) {
  op::ExecutorOptions options;
  options.flush_denormals = true;
  EXPECT_EQ(hash_with(options), golden());
}

// A recorder reads what is there: values, statistics and a filter, over prefill, cuts and decode.
TEST_F(OneAnswer, TracedOrNot) {
  const auto few = [](std::string_view name) { return name.ends_with(".out"); };
  const trace::RecorderOptions modes[] = {{{}, false}, {{}, true}, {few, false}, {few, true}};
  std::vector<size_t> decode(68);  // the prompt's first 7 tokens at once, then one a step
  std::iota(decode.begin(), decode.end(), 7);
  for (const trace::RecorderOptions& mode : modes)
    for (const std::vector<size_t>& ends : {std::vector<size_t>{}, {3, 40}, decode}) {
      auto engine = testing::open_default();
      trace::Recorder recorder(engine.program(), mode);
      engine.watch_steps([&](const op::Step& step) { recorder.begin_step(step); });
      const auto logits = testing::all_logits(engine, prompt(), ends, std::ref(recorder));
      EXPECT_EQ(hash(logits), golden()) << mode.statistics << " " << ends.size();
      const uint64_t layers = engine.program().layers;
      // Of every operation one tensor a step, of kv_store two; of the filter's one a layer.
      const uint64_t tensors = mode.wanted ? layers : engine.program().operations.size() + layers;
      EXPECT_EQ(recorder.tensors(), tensors * (ends.size() + 1));
    }
}

// Three sequences of different length in one batch, each as if alone.
TEST_F(OneAnswer, BatchOfSequences) {
  op::ExecutorOptions options;
  options.sequences = 3;
  auto engine = testing::open_default("cpu", options);
  const auto tokens = prompt();
  const uint32_t vocabulary = engine.program().vocabulary;
  const std::span all(tokens);
  // The first is ahead by 3 tokens, the second runs the whole prompt, the third another text.
  run::Sequence first = testing::start(engine), second = testing::start(engine),
                third = testing::start(engine);
  ASSERT_TRUE(engine.feed(first, all.first(3), run::Wanted::last));
  const std::vector<run::Part> parts = {
      {first, all.subspan(3)}, {second, all}, {third, all.subspan(10, 20)}};
  const auto logits = engine.step(parts, run::Wanted::all);
  ASSERT_TRUE(logits);
  const size_t ahead = tokens.size() - 3;
  const auto whole = logits->subspan(ahead * vocabulary, tokens.size() * vocabulary);
  EXPECT_EQ(hash(whole), golden());
  EXPECT_EQ(hash(logits->first(ahead * vocabulary)), hash(whole.subspan(3 * vocabulary)));
}

// The hash sees a change of one bit, so the tests above can fail.
TEST_F(OneAnswer, HashSeesOneBit) {
  std::vector<float> logits(1000, 1.0f);
  const std::string before = hash(logits);
  logits[500] = std::nextafter(1.0f, 2.0f);
  EXPECT_NE(hash(logits), before);
}

// Another KV type and another arithmetic are other contracts, by name, with other bits.
TEST_F(OneAnswer, OtherContractsAreNamed) {
  op::ExecutorOptions options;
  options.cache = op::CacheType::f32;
  auto wide = testing::open_default("cpu", options);
  EXPECT_EQ(wide.executor().contract(), "assay/1 kv=f32");
  EXPECT_NE(hash_with(options), golden());
  options = {};
  options.contract = op::Contract::f32;
  auto plain = testing::open_default("cpu", options);
  EXPECT_EQ(plain.executor().contract(), "f32");
}

}  // namespace
}  // namespace assay
