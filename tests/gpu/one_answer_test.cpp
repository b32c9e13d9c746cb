// The emulated grid gives the cpu's bits: under every schedule and map of a tile's lanes, for every
// format, fused or not, in every cut and batch.
#include <gtest/gtest.h>

#include <cmath>

#include "../cpu/tiny_program.h"
#include "device/arithmetic.h"
#include "device/emulated/kernels.h"
#include "mixture.h"

namespace assay {
namespace {

using emulated::QueueOptions;
using tests::all_schedules;
using tests::run_cut;
using tests::TinyProgram;
using tests::TinyShape;
using tests::Tokens;

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float value : values) bits.push_back(k_bits(value));
  return bits;
}

class EveryFormat : public testing::TestWithParam<uint32_t> {};

TEST_P(EveryFormat, HasTheBitsOfTheCpu) {
  const TinyProgram tiny(GetParam());
  const auto options = tests::options_with(1, "portable");
  const auto want = bits_of(run_cut(*tests::made(tiny.program, options), {13}));
  for (const QueueOptions& queue : all_schedules()) {
    const auto executor = tests::emulated_executor(tiny.program, tests::options_with(1), queue);
    EXPECT_EQ(bits_of(run_cut(*executor, {1, 9, 2, 1})), want);
  }
}
INSTANTIATE_TEST_SUITE_P(Kernel, EveryFormat, testing::ValuesIn(tests::formats_and_mixed()));

// Heads of 128 have an attention tile of their own.
TEST(EmulatedExecutor, WideHeadsAndScaledRowsHaveTheBitsOfTheCpu) {
  const TinyProgram tiny(quant::Q4_K::id, 1, {.head_dim = 128, .scaled = true});
  const auto options = tests::options_with(1, "portable");
  const auto want = bits_of(run_cut(*tests::made(tiny.program, options), {13}));
  for (const QueueOptions& queue : all_schedules()) {
    tests::WatchedQueue::Seen seen;
    const auto executor =
        tests::emulated_executor(tiny.program, tests::options_with(1), queue, &seen);
    EXPECT_EQ(bits_of(run_cut(*executor, {10, 2, 1})), want);
    EXPECT_EQ(seen.launches["attention_tile_128"], 2u);
    EXPECT_GT(seen.launches["scale"], 0u);
  }
}

// A row's chunks of 256 columns are a simd's each, as many as a group may have, then in rounds.
TEST(EmulatedExecutor, LongRowsTakeTheLargestGroups) {
  for (const TinyShape& shape :
       {TinyShape{.width = 3072, .head_dim = 16, .ffn = 64}, TinyShape{.ffn = 6144},
        TinyShape{.width = 3104, .head_dim = 16, .ffn = 6176}}) {
    const TinyProgram tiny(quant::Q4_0::id, 1, shape);
    const auto options = tests::options_with(1, "portable");
    tests::WatchedQueue::Seen seen;
    const auto executor = tests::emulated_executor(tiny.program, tests::options_with(1), {}, &seen);
    EXPECT_EQ(bits_of(run_cut(*executor, {1})),
              bits_of(run_cut(*tests::made(tiny.program, options), {1})));
    if (shape.width != 3104) {
      EXPECT_EQ(seen.threads[shape.width == 3072 ? "gate_up" : "matvec"], 768u);
    }
  }
}

// A number that is no activation gives NaN: every launch that has a gate in it is told the program's.
TEST(EmulatedExecutor, EveryFormOfAGateHasItsActivation) {
  TinyProgram tiny(quant::Q4_0::id);
  for (op::Operation& operation : tiny.program.operations)
    if (auto* gate = operation.as<op::Gate>())
      gate->activation = op::Activation(op::activations.size());
  tests::WatchedQueue::Seen seen;
  const auto executor = tests::emulated_executor(tiny.program, tests::options_with(1), {}, &seen);
  for (const float logit : run_cut(*executor, {1, 2})) ASSERT_TRUE(std::isnan(logit));
  for (const char* form : {"gate_up", "gate"}) EXPECT_GT(seen.launches[form], 0u) << form;
}

// Past 64 keys, where attention's chunks begin to be combined, and past 512, where groups share a
// head in steps of few tokens.
TEST(EmulatedExecutor, CutsAndLongContextsHaveTheBitsOfTheCpu) {
  const TinyProgram tiny(quant::Q4_1::id);
  auto options = tests::options_with(1);
  options.context = options.batch = 560;
  auto plain = options;
  plain.isa = "portable";
  const auto want = bits_of(run_cut(*tests::made(tiny.program, plain), {550}));
  tests::WatchedQueue::Seen seen;
  const auto executor = tests::emulated_executor(tiny.program, options, {}, &seen);
  EXPECT_EQ(bits_of(run_cut(*executor, {33, 1, 2, 9, 20, 64, 382, 1, 1, 2, 28, 1, 2, 2, 1, 1})),
            want);
  // Recorded once for steps of one token and of two, in each of two layers.
  EXPECT_EQ(seen.launches["attention_chunks"], 4u);
  EXPECT_EQ(seen.launches["attention_combine"], 4u);
}

TEST(EmulatedExecutor, TracedOrNotTheBitsAreTheSame) {
  const TinyProgram tiny(tests::mixed);
  const auto options = tests::options_with(1);
  Tokens tokens;
  for (uint32_t i = 0; i < 5; ++i) tokens.add(tests::token(i), i, 0);
  const auto executor = tests::emulated_executor(tiny.program, options);
  const auto fused = tests::logits_of(*executor, tokens);
  uint64_t offered = 0;
  const auto plain = tests::logits_of(
      *executor, tokens, [&](const op::Operation&, std::span<const float>) { ++offered; });
  EXPECT_EQ(offered, tiny.program.operations.size());
  EXPECT_EQ(bits_of(fused), bits_of(plain));
}

TEST(EmulatedExecutor, OffersWhatTheCpuOffers) {
  const TinyProgram tiny(tests::mixed);
  Tokens tokens;
  for (uint32_t i = 0; i < 6; ++i) tokens.add(tests::token(i), i, 0, i % 2 == 0);
  std::map<std::string, std::vector<uint32_t>> want, got;
  const auto keep = [](auto& map) {
    return [&map](const op::Operation& operation, std::span<const float> output) {
      map[operation.name] = bits_of({output.begin(), output.end()});
    };
  };
  tests::made(tiny.program, tests::options_with(1, "portable"))->run(tokens.step(), keep(want));
  tests::emulated_executor(tiny.program, tests::options_with(1))->run(tokens.step(), keep(got));
  EXPECT_EQ(want, got);
}

TEST(EmulatedExecutor, SequencesOfABatchAreThoseAlone) {
  const TinyProgram tiny(quant::Q4_K::id);
  const auto options = tests::options_with(1);
  const auto alone = tests::emulated_executor(tiny.program, options);
  const auto together = tests::emulated_executor(tiny.program, options);
  std::vector<float> want[3], got[3];
  for (uint32_t s = 0; s < 3; ++s) want[s] = run_cut(*alone, {11, 1, 1}, s);
  uint32_t position = 0;
  for (uint32_t piece : {11u, 1u, 1u}) {
    Tokens tokens;
    for (uint32_t s = 0; s < 3; ++s)
      for (uint32_t i = 0; i < piece; ++i)
        tokens.add(tests::token(position + i, s), position + i, s);
    const auto logits = tests::logits_of(*together, tokens);
    for (uint32_t s = 0; s < 3; ++s)
      got[s].insert(got[s].end(), logits.begin() + s * piece * tests::vocabulary,
                    logits.begin() + (s + 1) * piece * tests::vocabulary);
    position += piece;
  }
  for (uint32_t s = 0; s < 3; ++s) EXPECT_EQ(bits_of(got[s]), bits_of(want[s])) << s;
}

TEST(EmulatedExecutor, TheCacheInF32IsTheCpus) {
  const TinyProgram tiny(quant::Q8_0::id);
  auto options = tests::options_with(1);
  options.cache = op::CacheType::f32;
  auto plain = options;
  plain.isa = "portable";
  const auto executor = tests::emulated_executor(tiny.program, options);
  EXPECT_EQ(executor->contract(), "assay/1 kv=f32");
  EXPECT_EQ(bits_of(run_cut(*executor, {70})),
            bits_of(run_cut(*tests::made(tiny.program, plain), {70})));
}

std::vector<std::pair<int32_t, uint32_t>> bits_of(const std::vector<op::Candidate>& list) {
  std::vector<std::pair<int32_t, uint32_t>> bits;
  for (const auto& [id, logit] : list) bits.emplace_back(id, k_bits(logit));
  return bits;
}

// 257 is more than the kernel chooses, and 0 is all: there the host does. Each step comes twice, so
// that a recording is replayed, and after one of another `most`.
TEST(EmulatedExecutor, TheBestLogitsAreThoseOfTheCpu) {
  const TinyProgram tiny(quant::Q4_K::id);
  for (const QueueOptions& queue : all_schedules()) {
    const auto cpu = tests::made(tiny.program, tests::options_with(1, "portable"));
    tests::WatchedQueue::Seen seen;
    const auto executor =
        tests::emulated_executor(tiny.program, tests::options_with(1), queue, &seen);
    uint32_t position = 0;
    for (const uint32_t most : {1u, 40u, 256u, 1u, 40u, 257u, 0u}) {
      Tokens tokens;
      for (uint32_t s = 0; s < 3; ++s) tokens.add(tests::token(position, s), position, s);
      ++position;
      const auto logits = tests::logits_of(*cpu, tokens);
      const auto best = executor->run_best(tokens.step(), most);
      ASSERT_EQ(best.size(), 3u);
      for (size_t s = 0; s < 3; ++s) {
        const auto row = std::span(logits).subspan(s * tests::vocabulary, tests::vocabulary);
        EXPECT_EQ(bits_of(best[s]), bits_of(op::best_of(row, most))) << most << ", sequence " << s;
      }
    }
    EXPECT_GE(seen.launches["top_k"], 3u);
  }
}

// A kernel that no test launches would be one that nobody proves.
TEST(Kernels, AllAreLaunched) {
  tests::WatchedQueue::Seen seen;
  const TinyProgram quantised(quant::Q4_K::id), floats(quant::F16::id),
      wide(quant::F16::id, 1, {.head_dim = 128, .scaled = true});
  for (const TinyProgram* tiny : {&quantised, &floats, &wide}) {
    const auto executor =
        tests::emulated_executor(tiny->program, tests::options_with(1), {}, &seen);
    run_cut(*executor, {33, 2, 1});
    Tokens tokens;
    tokens.add(1, 0, 0);
    executor->run(tokens.step(), [](const op::Operation&, std::span<const float>) {});
    executor->run_best(tokens.step(), 1);
    const op::Drawing drawing{0.8f, 0.95f, 0.05f, 40, 1};
    executor->run_ahead(tokens.step(), {&drawing, 1}, 3);
  }
  auto long_options = tests::options_with(1);
  long_options.context = 576;
  run_cut(*tests::emulated_executor(floats.program, long_options, {}, &seen), {512, 1});
  for (const tests::MixtureShape& shape :
       {tests::MixtureShape{}, tests::MixtureShape{.type = quant::F16::id, .head_dim = 128}}) {
    const tests::Mixture mixture(shape);
    run_cut(*tests::emulated_executor(mixture.program, tests::options_with(1), {}, &seen),
            {40, 9, 1});
  }
  const tests::Mixture far({.window = 600});
  run_cut(*tests::emulated_executor(far.program, long_options, {}, &seen), {512, 1});
  tests::WatchedQueue queue(emulated::make_queue({}), seen);
  EXPECT_TRUE(device::prove_arithmetic(queue));
  for (const KernelEntry* kernel : emulated::all_kernels())
    EXPECT_TRUE(seen.launches.contains(kernel->name)) << kernel->name;
}

}  // namespace
}  // namespace assay
