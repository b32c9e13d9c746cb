// A stream's tokens are those of single steps, however far a device runs ahead; and where it stops,
// the sequence holds what was given.
#include "run/token_stream.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace assay::run {
namespace {

const std::vector<int32_t> prompt = {1, 300, 301, 302, 303};

/// An engine and its only sequence.
struct Text {
  Engine engine;
  Sequence sequence;
};

Text open(const std::string& device, uint32_t context) {
  EngineOptions options;
  options.device = device;
  options.context = context;
  auto engine =
      Engine::open(std::filesystem::path(ASSAY_SOURCE_DIR) / "tests/data/kjv/kjv.gguf", options);
  EXPECT_TRUE(engine) << engine.error().message;
  auto sequence = engine->start();
  EXPECT_TRUE(sequence) << sequence.error().message;
  return {std::move(*engine), std::move(*sequence)};
}

Sampler sampler() {
  SamplerOptions options;
  options.seed = 4, options.temperature = 1.5f;
  return Sampler(options);
}

/// Gives up to `count` tokens, to the end of the context at most.
std::vector<int32_t> tokens_of(Text& text, std::span<const float> logits, uint32_t count,
                               double patience, TokenStream::See see = {}) {
  const Sampler how = sampler();
  TokenStream stream(text.engine, text.sequence, how, logits, see, patience);
  std::vector<int32_t> tokens;
  while (tokens.size() < count && !(tokens.size() && stream.full())) {
    const auto token = stream.next(count - tokens.size());
    EXPECT_TRUE(token) << token.error().message;
    if (!token) break;
    tokens.push_back(*token);
  }
  return tokens;
}

std::span<const float> logits_of(Text& text, std::span<const int32_t> tokens) {
  const auto logits = text.engine.feed(text.sequence, tokens, Wanted::last);
  EXPECT_TRUE(logits) << logits.error().message;
  return *logits;
}

constexpr double at_once = 0, for_ever = 1e9;  // patience: one at a time; up to eight

TEST(TokenStream, RunsAheadToTheTokensOfTheCpu) {
  Text cpu = open("cpu", 64), ahead = open("emulated", 64);
  const auto want = tokens_of(cpu, logits_of(cpu, prompt), 20, at_once);
  EXPECT_EQ(tokens_of(ahead, logits_of(ahead, prompt), 20, for_ever), want);
  // The last token has not run.
  EXPECT_EQ(cpu.sequence.position(), prompt.size() + 19);
  EXPECT_EQ(ahead.sequence.position(), prompt.size() + 19);
}

TEST(TokenStream, WhereItStopsTheSequenceHoldsWhatWasGiven) {
  Text cpu = open("cpu", 64), ahead = open("emulated", 64);
  auto want = tokens_of(cpu, logits_of(cpu, prompt), 14, at_once);
  // Of 100 wanted five are taken: 1, 1, 2, and one of four that were drawn.
  const Sampler how = sampler();
  const auto logits = logits_of(ahead, prompt);
  std::vector<int32_t> got;
  {
    TokenStream stream(ahead.engine, ahead.sequence, how, logits, {}, for_ever);
    while (got.size() < 5) got.push_back(*stream.next(100));
    EXPECT_GT(ahead.sequence.position(), prompt.size() + 4);
  }
  EXPECT_EQ(ahead.sequence.position(), prompt.size() + 4);
  std::vector<int32_t> ran = prompt;
  ran.insert(ran.end(), got.begin(), got.end() - 1);  // the last one given has not run
  EXPECT_TRUE(std::ranges::equal(ahead.sequence.ids(), ran));
  // It continues from there.
  const auto next = tokens_of(ahead, logits_of(ahead, {{got.back()}}), 9, for_ever);
  got.insert(got.end(), next.begin(), next.end());
  EXPECT_EQ(got, want);
}

TEST(TokenStream, EndsWhereTheContextDoes) {
  for (const uint32_t room : {1u, 6u, 9u}) {
    const auto context = uint32_t(prompt.size()) + room;
    Text cpu = open("cpu", context), ahead = open("emulated", context);
    const auto want = tokens_of(cpu, logits_of(cpu, prompt), 100, at_once);
    EXPECT_EQ(want.size(), room + 1);
    EXPECT_EQ(tokens_of(ahead, logits_of(ahead, prompt), 100, for_ever), want);
    EXPECT_EQ(ahead.sequence.position(), context);
  }
}

TEST(TokenStream, WhoSeesAllLogitsGetsTheSameTokens) {
  Text text = open("emulated", 64);
  uint64_t rows = 0;
  const auto seen =
      tokens_of(text, logits_of(text, prompt), 6, for_ever, [&](std::span<const float> row) {
        EXPECT_EQ(row.size(), text.engine.program().vocabulary);
        ++rows;
      });
  EXPECT_EQ(rows, 6u);
  text.sequence.truncate(0);
  EXPECT_EQ(tokens_of(text, logits_of(text, prompt), 6, for_ever), seen);
}

TEST(EngineAhead, RefusesMoreThanTheContextHolds) {
  Text text = open("emulated", 12);
  logits_of(text, prompt);
  const int32_t token = 300;
  const Part part{text.sequence, {&token, 1}};
  const op::Drawing best;
  const auto refused = text.engine.run_ahead({&part, 1}, {&best, 1}, 8);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "context full: 13 tokens needed, the limit is 12 (-c sets it)");
  EXPECT_EQ(text.sequence.position(), 5u);
  ASSERT_TRUE(text.engine.run_ahead({&part, 1}, {&best, 1}, 7));
  EXPECT_EQ(text.sequence.position(), 12u);
}

}  // namespace
}  // namespace assay::run
