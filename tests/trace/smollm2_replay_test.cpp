// The strong check on the default model: each operation of all 30 layers of the cpu executor's own
// run, computed again by the judge from the cpu's own inputs, every element inside its derived
// bound.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "judge/replay.h"
#include "run/engine.h"
#include "support/default_model.h"

namespace assay::trace {
namespace {

// "<|im_start|>user\nWhat is the largest planet?<|im_end|>\n<|im_start|>assistant\n"
const std::vector<int32_t> chat = {1,  4093, 198, 1780, 314, 260,  3995, 3925,
                                   47, 2,    198, 1,    520, 9531, 198};
// "Once upon a time, the city of Nova Haven was a thriving metropolis, …": 70 tokens, so that
// attention crosses the boundary of its first chunk of 64 keys
const std::vector<int32_t> story = {
    6403, 1980,  253,   655,   28,   260,   2240, 282,   23324, 27108, 436, 253,  15114, 39228,
    28,   351,   25854, 41658, 284,  14055, 9018, 30,    1249,  347,   260, 929,  3514,  411,
    28,   260,   2240,  2585,  288,  5946,  624,  2798,  3905,  30,    378, 4789, 2585,  288,
    1650, 17803, 28,    284,   260,  2268,  29,   16591, 20215, 2585,  30,  378,  6783,  11318,
    436,  253,   21651, 288,   1205, 26171, 284,  260,   6512,  3330,  282, 8829, 338,   11118};

struct Run {
  std::vector<judge::OperationError> errors;
  size_t operations = 0;
  std::string name;
};

/// Both prompts in a step each, as two sequences, then one decode step of both at once.
Run replay_model(op::CacheType cache, op::Contract contract) {
  run::EngineOptions options;
  options.context = 128;
  options.executor.sequences = 2;
  options.executor.cache = cache;
  options.executor.contract = contract;
  auto engine = run::Engine::open(testing::default_model().string(), options);
  if (!engine) {
    ADD_FAILURE() << engine.error().message;
    return {};
  }
  run::Sequence first = testing::start(*engine), second = testing::start(*engine);
  judge::Replay replay(engine->program(), options.executor);
  const auto step = [&](const std::vector<run::Part>& parts) {
    std::vector<int32_t> tokens;
    std::vector<uint32_t> positions, sequences, selected;
    for (const auto& part : parts)
      for (uint32_t i = 0; i < part.tokens.size(); ++i) {
        selected.push_back(uint32_t(tokens.size()));
        tokens.push_back(part.tokens[i]);
        positions.push_back(part.sequence.position() + i);
        sequences.push_back(part.sequence.number());
      }
    replay.begin_step({tokens, positions, sequences, selected});
    const auto logits = engine->step(parts, run::Wanted::all, std::ref(replay));
    ASSERT_TRUE(bool(logits)) << logits.error().message;
  };
  const std::vector<int32_t> next_chat = {504}, next_story = {468};
  step({{first, chat}});
  step({{second, story}});
  step({{first, next_chat}, {second, next_story}});
  const op::Executor& executor = engine->executor();
  return {replay.results(), engine->program().operations.size(),
          fmt::format("{} {} {}", executor.device(), executor.isa(), executor.contract())};
}

void expect_inside(const Run& run) {
  // embd, 30 layers of 16 operations, the selection, the last norm and the head
  EXPECT_EQ(run.operations, 1u + 30u * 16u + 3u);
  fmt::print("{}\n{:12} {:>12} {:>9} {:>9} {:>9}  worst at\n", run.name, "operation", "elements",
             "outside", "u", "limit");
  for (const judge::OperationError& worst : judge::worst_by_kind(run.errors))
    fmt::print("{:12} {:>12} {:>9} {:>9.2f} {:>9.2f}  {} step {} token {} row {}\n", worst.kind,
               worst.elements, worst.failures, worst.max_u, worst.limit_u, worst.name,
               worst.worst_step, worst.worst_token, worst.worst_row);
  for (const judge::OperationError& error : run.errors) {
    EXPECT_GT(error.elements, 0u) << error.name;
    EXPECT_EQ(error.failures, 0u) << fmt::format("{}: {} of {} elements outside; worst {} u of {}",
                                                 error.name, error.failures, error.elements,
                                                 error.max_u, error.limit_u);
  }
}

TEST(SmolLM2Replay, EveryOperationOfEveryLayerIsInsideItsBound) {
  ASSAY_NEEDS_MODEL();
  expect_inside(replay_model(op::CacheType::f16, op::Contract::assay1));
}

TEST(SmolLM2Replay, ContractF32WithAnF32CacheIsInsideItsBoundToo) {
  ASSAY_NEEDS_MODEL();
  expect_inside(replay_model(op::CacheType::f32, op::Contract::f32));
}

// The parts that the log behind this project suspected one after another, each by name, with the
// model's own weights and activations. `parts` are the ends of the operations' names.
void expect_part_inside(const std::vector<std::string>& parts, size_t expected_operations) {
  auto engine = testing::open_default("cpu", {}, 64);
  judge::Replay replay(engine.program(), {});
  const std::vector<int32_t> tokens = {504, 3575, 282, 4649, 314};  // "The capital of France is"
  const std::vector<uint32_t> positions = {0, 1, 2, 3, 4}, sequences(5, 0), selected = positions;
  replay.begin_step({tokens, positions, sequences, selected});
  run::Sequence sequence = testing::start(engine);
  ASSERT_TRUE(engine.feed(sequence, tokens, run::Wanted::all, {}, std::ref(replay)));
  size_t found = 0;
  for (const judge::OperationError& error : replay.results()) {
    const std::string last = error.name.substr(error.name.rfind('.') + 1);
    if (std::find(parts.begin(), parts.end(), last) == parts.end()) continue;
    ++found;
    EXPECT_GT(error.elements, 0u) << error.name;
    EXPECT_EQ(error.failures, 0u) << error.name << ": " << error.max_u << " u of " << error.limit_u;
  }
  EXPECT_EQ(found, expected_operations);
}

class LogParts : public ::testing::Test {
 protected:
  void SetUp() override { ASSAY_NEEDS_MODEL(); }
};

TEST_F(LogParts, TokenEmbedding) {
  expect_part_inside({"embd"}, 1);
}
TEST_F(LogParts, RmsNorm) {
  expect_part_inside({"attn_norm", "ffn_norm", "out_norm"}, 61);
}
TEST_F(LogParts, QkvProjection) {
  expect_part_inside({"q", "k", "v"}, 90);
}
TEST_F(LogParts, Rope) {
  expect_part_inside({"q_rope", "k_rope"}, 60);
}
TEST_F(LogParts, AttentionAndSoftmax) {
  expect_part_inside({"kv", "kqv", "attn_out"}, 90);
}
TEST_F(LogParts, SwiGlu) {
  expect_part_inside({"gate", "up", "act", "down"}, 120);
}
TEST_F(LogParts, ResidualAdds) {
  expect_part_inside({"attn_residual", "out"}, 60);
}
TEST_F(LogParts, LmHead) {
  expect_part_inside({"logits"}, 1);
}

}  // namespace
}  // namespace assay::trace
