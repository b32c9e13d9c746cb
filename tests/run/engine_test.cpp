// What an engine refuses, and what its sequences hold after forks, truncations and failures. The
// executor is a stand-in whose logits depend on every token that it finds in a sequence's pages.
#include "run/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <random>

#include "recall.h"

namespace assay::run {
namespace {

const std::string kjv =
    (std::filesystem::path(ASSAY_SOURCE_DIR) / "tests/data/kjv/kjv.gguf").string();

struct Shape {
  uint32_t context = 8, sequences = 1, batch = 512, pages = 0;
};

/// `recall`: where the stand-in is put.
Engine open(const Shape& shape, Recall** recall = nullptr) {
  static const auto model = Model::open(kjv);
  EXPECT_TRUE(model) << model.error().message;
  EngineOptions options;
  options.context = shape.context;
  options.executor.sequences = shape.sequences;
  options.executor.batch = shape.batch;
  options.executor.pages = shape.pages;
  options.make = recalling(recall);
  auto engine = Engine::make(*model, options);
  EXPECT_TRUE(engine) << engine.error().message;
  return std::move(*engine);
}

Ids numbered(int32_t count, int32_t first = 0) {
  Ids ids;
  for (int32_t i = 0; i < count; ++i) ids.push_back(first + i);
  return ids;
}

/// Feeds the tokens; the last row's words.
std::vector<float> fed(Engine& engine, Sequence& sequence, const Ids& ids) {
  const auto logits = engine.feed(sequence, ids, Wanted::last);
  EXPECT_TRUE(logits) << logits.error().message;
  if (!logits) return {};
  return {logits->begin(), logits->begin() + words};
}

std::string refusal(Engine& engine, const std::vector<Part>& parts) {
  const auto logits = engine.step(parts, Wanted::last);
  return logits ? "accepted" : logits.error().message;
}

std::string feeding(Engine& engine, Sequence& sequence, const Ids& ids) {
  const auto logits = engine.feed(sequence, ids, Wanted::last);
  return logits ? "accepted" : logits.error().message;
}

TEST(Engine, RefusesWhatTheContextDoesNotHold) {
  Engine engine = open({.context = 8});
  Sequence sequence = started(engine);
  EXPECT_EQ(feeding(engine, sequence, Ids(9, 33)),
            "context full: 9 tokens needed, the limit is 8 (-c sets it)");
  EXPECT_EQ(sequence.position(), 0u);
  EXPECT_EQ(feeding(engine, sequence, Ids(8, 33)), "accepted");
  EXPECT_EQ(sequence.position(), 8u);
  const Ids one = {33};
  EXPECT_EQ(refusal(engine, {{sequence, one}}),
            "context full: 9 tokens needed, the limit is 8 (-c sets it)");
  EXPECT_EQ(sequence.truncate(7), 7u);
  EXPECT_EQ(feeding(engine, sequence, one), "accepted");
}

TEST(Engine, RefusesTokensBeyondTheVocabulary) {
  Engine engine = open({.context = 8});
  Sequence sequence = started(engine);
  const auto size = int32_t(engine.program().vocabulary);
  const std::string beyond = " is beyond the vocabulary of " + std::to_string(size);
  EXPECT_EQ(feeding(engine, sequence, {size}), "token " + std::to_string(size) + beyond);
  EXPECT_EQ(feeding(engine, sequence, {-1}), "token -1" + beyond);
  EXPECT_EQ(sequence.position(), 0u);
  EXPECT_EQ(feeding(engine, sequence, {size - 1}), "accepted");
}

TEST(Engine, RefusesMoreTokensThanTheBatchHoldsAndNone) {
  Engine engine = open({.context = 64, .sequences = 2, .batch = 4});
  Sequence a = started(engine), b = started(engine);
  const Ids three = {1, 2, 3}, two = {4, 5}, nothing;
  EXPECT_EQ(refusal(engine, {{a, three}, {b, two}}),
            "5 tokens in one step are more than the batch of 4");
  EXPECT_EQ(refusal(engine, {{a, nothing}}), "a step needs at least one token");
  EXPECT_EQ(refusal(engine, {{a, two}, {b, two}}), "accepted");
  EXPECT_EQ(feeding(engine, a, numbered(9)), "accepted");  // in three steps
  EXPECT_EQ(a.position(), 11u);
}

TEST(Engine, RefusesASequenceTwiceInOneStep) {
  Engine engine = open({.sequences = 2});
  Sequence a = started(engine), b = started(engine);
  const Ids one = {1};
  EXPECT_EQ(refusal(engine, {{a, one}, {b, one}, {b, one}}), "sequence 1 occurs twice in one step");
  EXPECT_EQ(b.position(), 0u);
  const std::vector<Part> twice = {{a, one}, {a, one}};
  const std::vector<op::Drawing> drawings(2);
  const auto ahead = engine.run_ahead(twice, drawings, 2);
  ASSERT_FALSE(ahead);
  EXPECT_EQ(ahead.error().message, "sequence 0 occurs twice in one step");
}

TEST(Engine, RefusesASequenceThatIsNotItsOwn) {
  Engine engine = open({}), other = open({});
  Sequence foreign = started(other);
  const Ids one = {1};
  EXPECT_EQ(refusal(engine, {{foreign, one}}),
            "a sequence of another engine cannot run in this one");
  const Sequence moved = std::move(foreign);
  EXPECT_EQ(refusal(other, {{foreign, one}}), "a sequence that was moved from cannot run");
  EXPECT_EQ(moved.position(), 0u);
}

TEST(Engine, RefusesToRunAheadWithoutOneTokenAndOneDrawingEach) {
  Engine engine = open({.context = 64, .sequences = 2});
  Sequence a = started(engine), b = started(engine);
  const Ids one = {1}, two = {1, 2};
  const std::vector<op::Drawing> drawings(2);
  const auto said = [&](const std::vector<Part>& parts, size_t drawn, uint32_t count) {
    const auto ahead = engine.run_ahead(parts, std::span(drawings).first(drawn), count);
    return ahead ? "accepted" : ahead.error().message;
  };
  EXPECT_EQ(said({{a, one}, {b, one}}, 1, 3),
            "3 tokens ahead of 2 sequences with 1 drawings: one drawing is needed for each, and at "
            "least one token");
  EXPECT_NE(said({{a, one}}, 1, 0), "accepted");
  EXPECT_EQ(said({{a, two}}, 1, 3),
            "running ahead starts with exactly one token per sequence, not 2");
  EXPECT_EQ(said({{a, one}}, 1, 9), "9 tokens ahead are more than this device draws at once (8)");
  EXPECT_EQ(said({{a, one}, {b, one}}, 2, 3), "accepted");
  EXPECT_EQ(Ids(a.ids().begin(), a.ids().end()), (Ids{1, 2, 3}));  // all but the last drawn
  EXPECT_EQ(b.position(), 3u);
}

TEST(Engine, HasAsManySequencesAsItsExecutor) {
  Engine engine = open({.sequences = 2});
  Sequence a = started(engine);
  std::optional<Sequence> b = started(engine);
  EXPECT_EQ(b->number(), 1u);
  const auto third = engine.start();
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().message, "all 2 sequences of the engine are in use");
  EXPECT_FALSE(a.fork());
  b.reset();
  EXPECT_EQ(started(engine).number(), 1u);
}

TEST(Engine, RefusesADeviceThatIsNotThere) {
  EngineOptions options;
  options.device = "warp";
  const auto engine = Engine::open(kjv, options);
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().exit, Exit::device);
  EXPECT_NE(engine.error().message.find("unknown device 'warp'"), std::string::npos);
}

TEST(Engine, ASequenceOutlivesTheEngineAndGivesItsPagesBack) {
  std::optional<Engine> engine = open({.context = 200, .sequences = 2});
  EXPECT_EQ(engine->pages().size(), 8u);
  Sequence kept = started(*engine);
  {
    Sequence given = started(*engine);
    fed(*engine, given, numbered(150));
    EXPECT_EQ(engine->pages().free(), 5u);
    kept = std::move(given);  // ends the one that it was
  }
  EXPECT_EQ(kept.number(), 1u);
  EXPECT_EQ(kept.position(), 150u);
  EXPECT_EQ(started(*engine).number(), 0u);
  kept.truncate(0);
  EXPECT_EQ(engine->pages().free(), 8u);
  fed(*engine, kept, numbered(10));
  engine.reset();
  EXPECT_EQ(kept.position(), 10u);
}

TEST(Engine, AFullPoolAndAFailingDeviceLeaveTheSequencesAsTheyWere) {
  Recall* recall = nullptr;
  Engine engine = open({.context = 200, .sequences = 2, .pages = 3}, &recall);
  Sequence a = started(engine), b = started(engine);
  fed(engine, a, numbered(60));
  const Ids many = numbered(70), few = numbered(10);
  // The first part would take one page more, the second two.
  EXPECT_EQ(refusal(engine, {{a, few}, {b, many}}),
            "the KV cache is full: 2 more pages of 64 positions needed, 1 of 3 free");
  EXPECT_EQ(engine.pages().free(), 2u);
  recall->fail = true;
  EXPECT_EQ(refusal(engine, {{a, few}, {b, few}}), "the device is gone");
  const Part part{b, std::span(few).first(1)};
  const op::Drawing drawing;
  EXPECT_FALSE(engine.run_ahead({&part, 1}, {&drawing, 1}, 8));
  EXPECT_EQ(engine.pages().free(), 2u);
  EXPECT_EQ(a.position(), 60u);
  EXPECT_EQ(b.position(), 0u);
  recall->fail = false;
  EXPECT_EQ(refusal(engine, {{a, few}, {b, few}}), "accepted");
  EXPECT_EQ(engine.pages().free(), 0u);
}

TEST(Sequence, ContinuesWithWhatItDoesNotHoldYet) {
  Engine engine = open({.context = 200});
  Sequence sequence = started(engine);
  const auto rest = [&](const Ids& ids) {
    const auto left = sequence.continue_with(ids);
    return Ids(left.begin(), left.end());
  };
  EXPECT_EQ(rest({1, 2, 3}), (Ids{1, 2, 3}));
  fed(engine, sequence, {1, 2, 3});
  EXPECT_EQ(rest({1, 2, 3, 4, 5}), (Ids{4, 5}));
  EXPECT_EQ(sequence.position(), 3u);
  EXPECT_EQ(rest({1, 2, 7}), Ids{7});
  EXPECT_EQ(sequence.position(), 2u);
  fed(engine, sequence, {7});
  EXPECT_EQ(rest({1, 2, 7}), Ids{7});  // its logits are wanted
  EXPECT_EQ(sequence.position(), 2u);
  EXPECT_EQ(rest({1}), Ids{1});
  EXPECT_EQ(rest({}), Ids{});
  EXPECT_EQ(sequence.position(), 0u);
}

TEST(Sequence, RunsAheadIntoPagesOfItsOwn) {
  Engine engine = open({.context = 128});
  Sequence sequence = started(engine);
  Ids ids = numbered(62);
  fed(engine, sequence, ids);
  const int32_t token = 700;
  const Part part{sequence, {&token, 1}};
  const op::Drawing drawing;
  ASSERT_TRUE(engine.run_ahead({&part, 1}, {&drawing, 1}, 6));
  EXPECT_EQ(sequence.pages().size(), 2u);
  for (int32_t i = 0; i < 6; ++i) ids.push_back(700 + i);
  EXPECT_TRUE(std::ranges::equal(sequence.ids(), ids));
  ids.push_back(5);
  EXPECT_EQ(fed(engine, sequence, {5}), words_of(ids));
}

TEST(Sequence, AForkSharesFullPagesAndGoesOnAsAFreshOneWould) {
  Engine engine = open({.context = 256, .sequences = 3});
  Sequence a = started(engine);
  Ids ids = numbered(150);
  fed(engine, a, ids);
  auto fork = a.fork();
  ASSERT_TRUE(fork) << fork.error().message;
  EXPECT_EQ(fork->position(), 128u);
  EXPECT_EQ(engine.pages().free(), 9u);  // of 12
  Ids other(ids.begin(), ids.begin() + 128);
  for (int32_t i = 0; i < 30; ++i) other.push_back(500 + i);
  EXPECT_EQ(fed(engine, *fork, Ids(other.begin() + 128, other.end())), words_of(other));
  ids.push_back(7);
  EXPECT_EQ(fed(engine, a, {7}), words_of(ids));
  // Inside a shared page a goes back to the page's beginning, and continue_with feeds it again.
  EXPECT_EQ(a.truncate(100), 64u);
  const Ids shorter(ids.begin(), ids.begin() + 101);
  const auto rest = a.continue_with(shorter);
  EXPECT_EQ(rest.size(), 37u);
  EXPECT_EQ(fed(engine, a, Ids(rest.begin(), rest.end())), words_of(shorter));
  EXPECT_EQ(fed(engine, *fork, {8}), (other.push_back(8), words_of(other)));
  EXPECT_EQ(a.fork(63)->position(), 0u);
  EXPECT_EQ(a.fork(64)->position(), 64u);
}

/// Steps of several sequences, forks and ends in random order: every answer is that of the
/// sequence's own ids, as if it ran alone.
TEST(Sequence, RandomUseGivesEverySequenceItsOwnAnswer) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Engine engine = open({.context = 300, .sequences = 4, .pages = 12});
    std::vector<Sequence> sequences;
    uint64_t full = 0;
    for (int i = 0; i < 400; ++i) {
      const uint64_t what = sequences.empty() ? 0 : random() % 8;
      const auto any = [&]() -> Sequence& { return sequences[random() % sequences.size()]; };
      if (what == 0) {
        if (auto made = engine.start()) sequences.push_back(std::move(*made));
      } else if (what == 1) {
        if (auto made = any().fork(uint32_t(random() % 300))) sequences.push_back(std::move(*made));
      } else if (what == 2) {
        any().truncate(uint32_t(random() % 300));
      } else if (what == 3) {
        sequences.erase(sequences.begin() + std::ptrdiff_t(random() % sequences.size()));
      } else {
        std::vector<Ids> more(sequences.size());
        std::vector<Part> parts;
        for (size_t s = 0; s < sequences.size(); ++s) {
          if (random() % 2) continue;
          for (uint64_t n = 1 + random() % 90; n > 0; --n)
            more[s].push_back(int32_t(random() % 900));
          parts.push_back({sequences[s], more[s]});
        }
        if (parts.empty()) continue;
        const auto logits = engine.step(parts, Wanted::last);
        if (!logits) {
          ++full;
          continue;
        }
        for (size_t p = 0; p < parts.size(); ++p) {
          const auto row = logits->subspan(p * engine.program().vocabulary, words);
          ASSERT_EQ(std::vector<float>(row.begin(), row.end()), words_of(parts[p].sequence.ids()));
        }
      }
    }
    EXPECT_GT(full, 0u);
    sequences.clear();
    EXPECT_EQ(engine.pages().free(), 12u);
  }
}

class ForkOnADevice : public ::testing::TestWithParam<const char*> {};

// For executors that read op::Step::pages.
TEST_P(ForkOnADevice, GivesTheBitsOfAFreshSequence) {
  EngineOptions options;
  options.device = GetParam();
  options.context = 192;
  options.executor.sequences = 3;
  if (options.device == "reference") options.executor.contract = op::Contract::exact;
  auto engine = Engine::open(kjv, options);
  ASSERT_TRUE(engine) << engine.error().message;
  const auto bits = [&](Sequence& sequence, std::span<const int32_t> ids) {
    const auto logits = engine->feed(sequence, ids, Wanted::last);
    EXPECT_TRUE(logits) << logits.error().message;
    return std::vector<float>(logits->begin(), logits->end());
  };
  const Ids ids = numbered(140, 300);
  Ids other(ids.begin(), ids.begin() + 128);
  for (int32_t i = 0; i < 20; ++i) other.push_back(700 + i);
  Sequence a = started(*engine);
  const auto of_a = bits(a, ids);
  {
    Sequence fresh = started(*engine);
    const auto want = bits(fresh, other);
    fresh.truncate(0);
    auto fork = a.fork();
    ASSERT_TRUE(fork);
    ASSERT_EQ(fork->position(), 128u);
    EXPECT_EQ(bits(*fork, std::span(other).subspan(128)), want);
    // The first one goes back into a page that the fork shares, and runs its end again.
    EXPECT_EQ(a.truncate(100), 64u);
    EXPECT_EQ(bits(a, a.continue_with(ids)), of_a);
    fork->truncate(140);
    EXPECT_EQ(bits(*fork, fork->continue_with(other)), want);
  }
  // Freed pages are used again, in another order than their first.
  Sequence late = started(*engine);
  EXPECT_EQ(bits(late, ids), of_a);
}
INSTANTIATE_TEST_SUITE_P(Devices, ForkOnADevice, ::testing::Values("cpu", "emulated", "reference"),
                         [](const auto& device) { return std::string(device.param); });

}  // namespace
}  // namespace assay::run
