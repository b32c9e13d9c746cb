// One Answer on a whole small model: the same bits for any threads, cuts, batches, instruction set,
// observed or not, denormals flushed or not.
#include <set>

#include "contract_replay.h"
#include "tiny_program.h"

namespace assay::tests {
namespace {

/// Every format, and all of them in one model.
std::vector<uint32_t> model_formats() {
  std::vector<uint32_t> list(all_formats.begin(), all_formats.end());
  list.push_back(mixed);
  return list;
}
constexpr uint32_t prompt = 70;  // past one chunk of 64 keys

class OneAnswer : public testing::TestWithParam<uint32_t> {
 protected:
  TinyProgram tiny_{GetParam()};

  std::vector<float> run(const op::ExecutorOptions& options,
                         const std::vector<uint32_t>& pieces = {prompt}) {
    return run_cut(*made(tiny_.program, options), pieces);
  }
};

TEST_P(OneAnswer, ForEveryNumberOfThreadsAndInstructionSet) {
  const auto want = run(options_with(1));
  ASSERT_EQ(want.size(), size_t(prompt) * vocabulary);
  std::set<uint32_t> distinct;
  for (float y : want) {
    ASSERT_TRUE(std::isfinite(y));
    distinct.insert(k_bits(y));
  }
  ASSERT_GT(distinct.size(), want.size() / 2) << "the model gives nothing to compare";
  for (const cpu::Kernels* kernels : all_kernels())
    for (uint32_t threads : {1u, 2u, 3u, 7u})
      ASSERT_EQ(difference(run(options_with(threads, kernels->isa)), want), "")
          << kernels->isa << " threads " << threads;
}

TEST_P(OneAnswer, ForThePromptWholeTokenByTokenAndInRandomCuts) {
  const auto want = run(options_with(2));
  ASSERT_EQ(difference(run(options_with(2), std::vector<uint32_t>(prompt, 1)), want), "");
  for (uint32_t seed = 0; seed < 4; ++seed) {
    Random random(seed);
    std::vector<uint32_t> pieces;
    for (uint32_t left = prompt; left > 0; left -= pieces.back())
      pieces.push_back(std::min(left, 1 + random.below(33)));
    ASSERT_EQ(difference(run(options_with(1 + seed % 3), pieces), want), "") << "seed " << seed;
  }
}

TEST_P(OneAnswer, ForSequencesTogetherAndAlone) {
  const uint32_t lengths[] = {5, prompt, 33};
  auto together = made(tiny_.program, options_with(3));
  // Interleaved: one token of each sequence in turn, then one more of each as a decode step.
  Tokens batch, decode;
  for (uint32_t i = 0; i < prompt; ++i)
    for (uint32_t s = 0; s < 3; ++s)
      if (i < lengths[s]) batch.add(token(i, s), i, s);
  for (uint32_t s = 0; s < 3; ++s) decode.add(token(lengths[s], s), lengths[s], s);
  const auto batch_logits = logits_of(*together, batch);
  const auto decode_logits = logits_of(*together, decode);
  for (uint32_t s = 0; s < 3; ++s) {
    const auto want = run_cut(*made(tiny_.program, options_with(1)), {lengths[s] + 1}, s);
    for (size_t row = 0; row < batch.ids.size(); ++row)
      if (batch.sequences[row] == s) {
        ASSERT_EQ(
            difference(std::span(batch_logits).subspan(row * vocabulary, vocabulary),
                       std::span(want).subspan(batch.positions[row] * vocabulary, vocabulary)),
            "")
            << "sequence " << s << " position " << batch.positions[row];
      }
    ASSERT_EQ(difference(std::span(decode_logits).subspan(s * vocabulary, vocabulary),
                         std::span(want).subspan(lengths[s] * vocabulary, vocabulary)),
              "")
        << "sequence " << s;
  }
}

TEST_P(OneAnswer, UnderEachOtherContractToo) {
  const auto plain = run(options_with(2));
  for (bool f32_cache : {false, true})
    for (bool f32_activations : {false, true}) {
      auto options = options_with(1);
      options.cache = f32_cache ? op::CacheType::f32 : op::CacheType::f16;
      options.contract = f32_activations ? op::Contract::f32 : op::Contract::assay1;
      const auto want = run(options);
      options.threads = 3;
      ASSERT_EQ(difference(run(options, {1, 40, 2, 27}), want), "");
      options.isa = "portable";
      ASSERT_EQ(difference(run(options), want), "");
      const bool float_model = quant::info(GetParam()).block_size == 1;  // nothing to quantise
      EXPECT_EQ(difference(want, plain) == "", !f32_cache && (!f32_activations || float_model));
      EXPECT_EQ(made(tiny_.program, options)->contract(),
                std::string(f32_activations ? "f32" : "assay/1") + (f32_cache ? " kv=f32" : ""));
    }
}

TEST_P(OneAnswer, WithDenormalsFlushed) {
  const auto want = run(options_with(2));
  for (const cpu::Kernels* kernels : all_kernels()) {
    auto options = options_with(2, kernels->isa);
    options.flush_denormals = true;
    ASSERT_EQ(difference(run(options), want), "") << kernels->isa;
  }
}

TEST_P(OneAnswer, ObservedOrNot) {
  Tokens tokens;
  for (uint32_t i = 0; i < prompt; ++i) tokens.add(token(i), i, 0, i % 3 == 1);
  auto plain = made(tiny_.program, options_with(3)),
       observed = made(tiny_.program, options_with(3));
  const auto want = logits_of(*plain, tokens);
  std::vector<std::string> names;
  const op::Program& program = tiny_.program;
  const auto got = logits_of(*observed, tokens, [&](const op::Operation& operation, auto output) {
    names.push_back(operation.name);
    uint64_t elements = 0;
    if (operation.output != op::none) {
      const op::Value& value = program.values[operation.output];
      elements = (value.selected ? tokens.selected.size() : prompt) * value.width;
    } else {
      for (uint32_t input : operation.inputs) elements += prompt * program.values[input].width;
    }
    EXPECT_EQ(output.size(), elements) << operation.name;
  });
  EXPECT_EQ(difference(got, want), "");
  ASSERT_EQ(names.size(), program.operations.size());
  for (size_t i = 0; i < names.size(); ++i) EXPECT_EQ(names[i], program.operations[i].name);
}

TEST_P(OneAnswer, ForAnySelectionOfRows) {
  const auto want = run(options_with(2));
  auto executor = made(tiny_.program, options_with(2));
  Tokens some, none;
  for (uint32_t i = 0; i < 40; ++i) some.add(token(i), i, 0, i % 7 == 3 || i == 39);
  for (uint32_t i = 40; i < 50; ++i) none.add(token(i), i, 0, false);
  const auto logits = logits_of(*executor, some);
  ASSERT_EQ(logits.size(), some.selected.size() * vocabulary);
  for (size_t i = 0; i < some.selected.size(); ++i)
    ASSERT_EQ(difference(std::span(logits).subspan(i * vocabulary, vocabulary),
                         std::span(want).subspan(some.selected[i] * vocabulary, vocabulary)),
              "")
        << "row " << some.selected[i];
  EXPECT_EQ(logits_of(*executor, none).size(), 0u);
  Tokens last;  // what ran without a selected row is in the cache all the same
  for (uint32_t i = 50; i < prompt; ++i) last.add(token(i), i, 0, i + 1 == prompt);
  EXPECT_EQ(difference(logits_of(*executor, last),
                       std::span(want).subspan((prompt - 1) * vocabulary, vocabulary)),
            "");
}

TEST_P(OneAnswer, AfterGoingBack) {
  auto executor = made(tiny_.program, options_with(2));
  const auto want = run_cut(*executor, {prompt});
  Tokens other;  // positions 20 … 69 of another text, then the first text again from 20
  for (uint32_t i = 20; i < prompt; ++i) other.add(token(i, 2), i, 0);
  executor->truncate(0, 20);
  EXPECT_NE(difference(logits_of(*executor, other), std::span(want).subspan(20 * vocabulary)), "");
  executor->truncate(0, 20);
  Tokens again;
  for (uint32_t i = 20; i < prompt; ++i) again.add(token(i), i, 0);
  EXPECT_EQ(difference(logits_of(*executor, again), std::span(want).subspan(20 * vocabulary)), "");
}

/// Every operation replayed from the executor's own inputs by the scalar contract, bit for bit.
TEST_P(OneAnswer, EachOperationIsTheContractsOfItsInputs) {
  Tokens tokens;
  for (uint32_t i = 0; i < prompt; ++i) tokens.add(token(i), i, 0, i % 2 == 0);
  ContractReplay replay(tiny_.program, tokens);
  auto executor = made(tiny_.program, options_with(3));
  logits_of(*executor, tokens, [&](const op::Operation& operation, std::span<const float> output) {
    EXPECT_EQ(difference(output, replay.want(operation)), "") << operation.name;
    replay.keep(operation, output);
  });
}

std::string format_name(const testing::TestParamInfo<uint32_t>& info) {
  return info.param == mixed ? "Mixed" : std::string(quant::info(info.param).name);
}
INSTANTIATE_TEST_SUITE_P(Formats, OneAnswer, testing::ValuesIn(model_formats()), format_name);

/// embd is the token's row, decoded: first and last row, repeated and out of order.
TEST(TokenEmbedding, IsTheDecodedRowOfEachToken) {
  for (uint32_t type : all_formats) {
    const TinyProgram tiny(type);
    auto executor = made(tiny.program, options_with(2));
    Tokens tokens;
    for (int32_t id : {0, int32_t(vocabulary) - 1, 5, 5, 0, 31})
      tokens.add(id, uint32_t(tokens.ids.size()), 0);
    std::vector<float> got, want;
    logits_of(*executor, tokens, [&](const op::Operation& operation, auto output) {
      if (operation.is<op::Embed>()) got.assign(output.begin(), output.end());
    });
    for (int32_t id : tokens.ids) {
      const auto row = contract::decoded(tiny.program.weights[0], uint64_t(id));
      want.insert(want.end(), row.begin(), row.end());
    }
    EXPECT_EQ(difference(got, want), "") << "format " << type;
    EXPECT_NE(difference(std::span(got).subspan(0, tiny.program.width),
                         std::span(got).subspan(tiny.program.width, tiny.program.width)),
              "");
  }
}

TEST(MakeExecutor, RefusesAnUnknownInstructionSetByName) {
  const TinyProgram tiny(8);
  const auto executor = cpu::make_executor(tiny.program, options_with(1, "avx1024"));
  ASSERT_FALSE(executor);
  EXPECT_NE(executor.error().message.find("avx1024"), std::string::npos);
  EXPECT_EQ(executor.error().exit, Exit::device);
}

TEST(MakeExecutor, RefusesMoreMemoryThanTheMachineHasBeforeAllocating) {
  const TinyProgram tiny(8);
  auto options = options_with(1);
  options.context = 1u << 31;  // 2 layers · 3 sequences · 2 heads · 2^31 · 32 values · 2 bytes
  options.sequences = 1000;
  const auto executor = cpu::make_executor(tiny.program, options);
  ASSERT_FALSE(executor);
  EXPECT_NE(executor.error().message.find("KV cache"), std::string::npos);
  EXPECT_EQ(executor.error().exit, Exit::device);
}

TEST(MakeExecutor, ReportsEachWeightOnceAsPreparedAndReleased) {
  const TinyProgram tiny(mixed);
  auto options = options_with(2);
  uint64_t last = 0, wanted = 0, total_said = 0;
  std::set<const uint8_t*> released;
  options.progress = [&](uint64_t done, uint64_t total) {
    EXPECT_GT(done, last);
    last = done;
    total_said = total;
  };
  options.release = [&](std::span<const uint8_t> bytes) {
    EXPECT_TRUE(released.insert(bytes.data()).second);
  };
  std::set<const uint8_t*> matrices;
  for (const op::Operation& operation : tiny.program.operations)
    if (operation.is<op::Matmul>()) {
      matrices.insert(tiny.program.weights[operation.weight].data.data());
      wanted += tiny.program.weights[operation.weight].data.size();
    }
  made(tiny.program, options);
  EXPECT_EQ(released, matrices) << "the embedding table is still read";
  EXPECT_EQ(last, wanted);
  EXPECT_EQ(total_said, wanted);
}

TEST(MakeExecutor, SaysWhatItIs) {
  const TinyProgram tiny(8);
  const auto executor = made(tiny.program, options_with(3, "portable"));
  EXPECT_EQ(executor->device(), "cpu");
  EXPECT_EQ(executor->isa(), "portable");
  EXPECT_EQ(executor->threads(), 3u);
  EXPECT_EQ(executor->contract(), "assay/1");
}

}  // namespace
}  // namespace assay::tests
