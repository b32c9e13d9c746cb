// Engines of programs whose layers look back over windows: how many pages sequences hold, how far they
// go back without running anew, and that no answer depends on it.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <random>

#include "recall.h"
#include "run/engine.h"

namespace assay::run {
namespace {

using Windows = std::vector<uint32_t>;

std::shared_ptr<const Model> kjv() {
  static const auto model =
      Model::open((std::filesystem::path(ASSAY_SOURCE_DIR) / "tests/data/kjv/kjv.gguf").string());
  EXPECT_TRUE(model) << model.error().message;
  return *model;
}

/// The model's program with these windows in its layers, in turns.
std::shared_ptr<const op::Program> with_windows(const Windows& windows, uint32_t context) {
  auto program = std::make_shared<op::Program>(kjv()->program());
  program->context = context;
  size_t layer = 0;
  for (op::Operation& operation : program->operations)
    if (auto* attend = std::get_if<op::Attend>(&operation.of))
      attend->window = windows[layer++ % windows.size()];
  program->group_caches();
  return program;
}

struct Shape {
  uint32_t context = 2048, sequences = 1, batch = 512, pages = 0;
};

/// An engine with the stand-in, which is put into `recall`.
Engine open(const Windows& windows, const Shape& shape, Recall** recall = nullptr) {
  EngineOptions options;
  options.executor.sequences = shape.sequences;
  options.executor.batch = shape.batch;
  options.executor.pages = shape.pages;
  options.make = recalling(recall);
  auto engine = Engine::make(kjv(), with_windows(windows, shape.context), options);
  EXPECT_TRUE(engine) << engine.error().message;
  EXPECT_EQ(engine->program().windows, windows) << "ascending";
  return std::move(*engine);
}

Ids random_ids(size_t count, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  Ids ids(count);
  for (int32_t& id : ids) id = int32_t(random() % 900);
  return ids;
}

uint32_t held(const Engine& engine, uint32_t group) {
  return engine.pages(group).size() - engine.pages(group).free();
}

/// Runs the tokens and expects the answer of the sequence's own ids.
void feed(Engine& engine, Sequence& sequence, std::span<const int32_t> ids) {
  const auto logits = engine.feed(sequence, ids, Wanted::last);
  ASSERT_TRUE(logits) << logits.error().message;
  ASSERT_EQ(std::vector<float>(logits->begin(), logits->begin() + words),
            words_of(sequence.ids(), engine.program().windows));
}

TEST(Windows, ALongTextHoldsThePagesOfItsWindows) {
  const Windows windows{0, 1, 64, 65, 128, 700};
  const Ids ids = random_ids(2000);
  for (const uint32_t batch : {1u, 20u, 64u, 300u}) {
    Engine engine = open(windows, {.batch = batch});
    Sequence sequence = started(engine);
    std::mt19937_64 random(batch);
    std::vector<uint32_t> most(windows.size(), 0);
    while (sequence.position() < ids.size()) {
      const uint32_t begin = sequence.position();
      const size_t count = std::min<size_t>(1 + random() % batch, ids.size() - begin);
      feed(engine, sequence, std::span(ids).subspan(begin, count));
      if (HasFatalFailure()) return;
      for (uint32_t g = 0; g < windows.size(); ++g) {
        const uint32_t before = windows[g] ? uint32_t(pages_for(windows[g] - 1)) : 2048;
        const uint32_t first = begin / 64 > before ? begin / 64 - before : 0;
        ASSERT_EQ(held(engine, g), pages_for(sequence.position()) - first) << windows[g];
        most[g] = std::max(most[g], held(engine, g));
      }
    }
    EXPECT_EQ(most[0], 32u);
    for (uint32_t g = 1; g < windows.size(); ++g) {
      // Positions of 64 that the window and a step reach into, and no more.
      const uint64_t step = std::max(batch, op::most_drawn_ahead);
      EXPECT_EQ(engine.pages(g).size(), pages_for(windows[g] - 1) + pages_for(step - 1) + 1);
      EXPECT_LE(most[g], engine.pages(g).size());
    }
  }
}

TEST(Windows, GoingBackFartherThanTheStepsFirstPageRunsAllAnew) {
  Engine engine = open({0, 128}, {});
  Sequence sequence = started(engine);
  const Ids ids = random_ids(600);
  const auto begin = std::span(ids).first(500);
  feed(engine, sequence, begin);
  EXPECT_EQ(sequence.truncate(70), 70u) << "one step holds all of its positions";
  feed(engine, sequence, begin.subspan(70));
  feed(engine, sequence, std::span(ids).subspan(500, 1));  // sees 373, in page 5
  EXPECT_EQ(sequence.pages(1)[4], op::none);
  EXPECT_EQ(sequence.truncate(470), 470u);
  EXPECT_EQ(sequence.truncate(448), 448u) << "where the page in hand begins";
  feed(engine, sequence, std::span(ids).subspan(448, 100));
  EXPECT_EQ(sequence.truncate(448), 448u);
  EXPECT_EQ(sequence.truncate(447), 0u);
  EXPECT_EQ(sequence.position(), 0u);
  EXPECT_EQ(held(engine, 0) + held(engine, 1), 0u);
  EXPECT_EQ(sequence.continue_with(ids).size(), 600u);
  feed(engine, sequence, std::span(ids).first(512));
  feed(engine, sequence, std::span(ids).subspan(512));
  Ids other(ids.begin(), ids.begin() + 200);
  other.push_back(5);
  const auto rest = sequence.continue_with(other);
  EXPECT_EQ(rest.size(), 201u) << "all of them";
  feed(engine, sequence, rest);
}

TEST(Windows, WhatRanAheadIsTakenBackWithoutRunningAnew) {
  for (const uint32_t window : {1u, 2u, 64u, 65u})
    for (uint32_t begin = 120; begin < 136; ++begin) {
      Engine engine = open({window}, {.context = 256, .batch = 1});
      Sequence sequence = started(engine);
      const Ids ids = random_ids(begin + 1);
      feed(engine, sequence, std::span(ids).first(begin));
      const Part part{sequence, std::span(ids).last(1)};
      const op::Drawing drawing;
      ASSERT_TRUE(engine.run_ahead({&part, 1}, {&drawing, 1}, 8));
      ASSERT_EQ(sequence.position(), begin + 8);
      EXPECT_EQ(sequence.truncate(begin + 3), begin + 3);
      feed(engine, sequence, std::span(ids).first(1));
      EXPECT_EQ(sequence.truncate(begin + 3), begin + 3);
      feed(engine, sequence, std::span(ids).first(1));
    }
}

TEST(Windows, AForkSharesTheLastBordersWindow) {
  for (const uint32_t window : {1u, 2u, 63u, 64u, 65u, 66u, 128u}) {
    Engine engine = open({0, window}, {.context = 1024, .sequences = 3, .batch = 64});
    Sequence sequence = started(engine);
    const Ids ids = random_ids(1000);
    for (uint32_t position = 0; position < 800; ++position) {
      feed(engine, sequence, std::span(ids).subspan(position, 1));
      auto fork = sequence.fork();
      ASSERT_TRUE(fork);
      const uint32_t border = (position + 1) / 64 * 64;
      ASSERT_EQ(fork->position(), border);
      const uint32_t before = std::min<uint32_t>(border / 64, uint32_t(pages_for(window - 1)));
      ASSERT_LE(held(engine, 1), before + 2) << "shared, not copied";
      if (position % 64 < 60) continue;
      feed(engine, *fork, random_ids(90, position));
      // Another page begins where the fork does; the older ones stay the first one's.
      auto again = sequence.fork(border);
      ASSERT_TRUE(again);
      feed(engine, *again, std::span(ids).subspan(border, 30));
    }
    // Farther back all runs anew, unless the next token sees itself alone.
    EXPECT_EQ(sequence.fork(130)->position(), window == 1 ? 128u : 0u);
    EXPECT_EQ(sequence.position(), 800u);
  }
}

/// Where the fork goes on inside what both share, one of them must give up the page, in all groups.
TEST(Windows, ATruncationInsideASharedPageGoesBackToItsBorder) {
  Engine engine = open({0, 65}, {.context = 1024, .sequences = 2, .batch = 64});
  Sequence sequence = started(engine);
  const Ids ids = random_ids(400);
  feed(engine, sequence, std::span(ids).first(256));
  auto fork = sequence.fork();
  ASSERT_TRUE(fork);
  feed(engine, *fork, random_ids(100, 2));  // gives back what only the other still sees
  EXPECT_EQ(sequence.truncate(250), 192u);
  feed(engine, sequence, std::span(ids).subspan(192));
  feed(engine, *fork, random_ids(100, 3));
}

TEST(Windows, AFullPoolAndAFailingDeviceLeaveTheSequencesAsTheyWere) {
  Recall* recall = nullptr;
  Engine engine =
      open({0, 65}, {.context = 1024, .sequences = 2, .batch = 64, .pages = 8}, &recall);
  EXPECT_EQ(engine.pages(1).size(), 6u);
  Sequence a = started(engine), b = started(engine);
  const Ids ids = random_ids(450);
  feed(engine, a, std::span(ids).first(420));  // seven pages
  feed(engine, b, std::span(ids).first(60));
  const Part part{a, std::span(ids).subspan(420, 30)};
  const auto refused = engine.step({&part, 1}, Wanted::last);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message,
            "the KV cache is full: 1 more page of 64 positions needed, 0 of 8 free");
  EXPECT_EQ(a.position(), 420u);
  b.truncate(0);
  recall->fail = true;
  EXPECT_FALSE(engine.step({&part, 1}, Wanted::last));
  EXPECT_EQ(held(engine, 0), 7u);
  recall->fail = false;
  feed(engine, a, part.tokens);
}

class SequencesAtRandom : public ::testing::TestWithParam<Windows> {};

/// Steps of several sequences, forks, truncations, other continuations and ends in random order: every
/// answer is that of the sequence's own ids, and no windowed group runs out of pages.
TEST_P(SequencesAtRandom, HaveTheAnswersOfTheirOwnIds) {
  const Windows& windows = GetParam();
  uint64_t anew = 0, shared = 0, full = 0;
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    Engine engine =
        open(windows,
             {.context = 700, .sequences = 4, .batch = 128, .pages = windows[0] == 0 ? 20u : 0u});
    std::vector<Sequence> sequences;
    const auto any = [&]() -> Sequence& { return sequences[random() % sequences.size()]; };
    for (int i = 0; i < 400; ++i) {
      const uint64_t what = sequences.empty() ? 0 : random() % 12;
      if (what == 0) {
        if (auto made = engine.start()) sequences.push_back(std::move(*made));
      } else if (what == 1) {
        if (auto made = any().fork(uint32_t(random() % 700))) {
          shared += made->position() > 0;
          sequences.push_back(std::move(*made));
        }
      } else if (what == 2) {
        Sequence& one = any();
        const auto wanted = uint32_t(one.position() - random() % (one.position() + 1) / 8);
        anew += one.truncate(wanted) == 0 && wanted > 0;
      } else if (what == 3) {
        Sequence& one = any();
        const auto common = size_t(random() % (one.position() + 1));
        Ids other(one.ids().begin(), one.ids().begin() + std::ptrdiff_t(common));
        other.push_back(901);
        const auto rest = one.continue_with(other);
        anew += common > 0 && rest.size() == other.size();
        const auto logits = engine.feed(one, rest, Wanted::last);
        if (!logits) continue;
        ASSERT_EQ(std::vector<float>(logits->begin(), logits->begin() + words),
                  words_of(other, windows));
      } else if (what == 4 && i % 3 == 0) {
        sequences.erase(sequences.begin() + std::ptrdiff_t(random() % sequences.size()));
      } else {
        std::vector<Ids> more(sequences.size());
        std::vector<Part> parts;
        for (size_t s = 0; s < sequences.size(); ++s) {
          if (random() % 2) continue;
          more[s] = random_ids(1 + random() % 32, random());
          parts.push_back({sequences[s], more[s]});
        }
        if (parts.empty()) continue;
        const auto logits = engine.step(parts, Wanted::last);
        if (!logits) {
          ++full;
          ASSERT_TRUE(windows[0] == 0 || logits.error().message.starts_with("context full"));
          continue;
        }
        for (size_t p = 0; p < parts.size(); ++p) {
          const auto row = logits->subspan(p * engine.program().vocabulary, words);
          ASSERT_EQ(std::vector<float>(row.begin(), row.end()),
                    words_of(parts[p].sequence.ids(), windows));
        }
      }
      if (HasFatalFailure()) return;
    }
    sequences.clear();
    for (uint32_t g = 0; g < windows.size(); ++g) EXPECT_EQ(held(engine, g), 0u);
  }
  EXPECT_GT(anew, 0u);
  EXPECT_GT(shared, 0u);
  EXPECT_TRUE(full > 0 || windows[0] != 0);
}
INSTANTIATE_TEST_SUITE_P(Windows, SequencesAtRandom,
                         ::testing::Values(Windows{0, 1}, Windows{0, 64}, Windows{63},
                                           Windows{0, 65, 128}, Windows{2, 200}));

class WindowsOnADevice : public ::testing::TestWithParam<const char*> {};

TEST_P(WindowsOnADevice, CutsForksAndUndoingChangeNoBit) {
  EngineOptions options;
  options.device = GetParam();
  if (options.device == "reference") options.executor.contract = op::Contract::exact;
  const auto program = with_windows({0, 65}, 320);
  const auto made = [&](uint32_t sequences, uint32_t batch) {
    options.executor.sequences = sequences;
    options.executor.batch = batch;
    auto engine = Engine::make(kjv(), program, options);
    EXPECT_TRUE(engine) << engine.error().message;
    return std::move(*engine);
  };
  const Ids ids = random_ids(150);
  const auto bits = [](Engine& engine, Sequence& sequence, std::span<const int32_t> tokens) {
    const auto logits = engine.feed(sequence, tokens, Wanted::last);
    EXPECT_TRUE(logits) << logits.error().message;
    return std::vector<float>(logits->begin(), logits->end());
  };
  // All at once: nothing is given back.
  Engine whole = made(1, 320);
  Sequence uncut = started(whole);
  const auto want = bits(whole, uncut, ids);
  uncut.truncate(0);
  const auto want_shorter = bits(whole, uncut, std::span(ids).first(90));

  Engine engine = made(2, 29);
  Sequence a = started(engine);
  bits(engine, a, std::span(ids).first(131));
  {
    auto fork = a.fork();
    ASSERT_TRUE(fork);
    EXPECT_EQ(fork->position(), 128u);
    EXPECT_EQ(bits(engine, *fork, std::span(ids).subspan(128)), want);
  }
  EXPECT_EQ(bits(engine, a, std::span(ids).subspan(131)), want);  // into pages used before
  const auto rest = a.continue_with(std::span(ids).first(90));
  EXPECT_EQ(rest.size(), 90u) << "position 89 sees page 0";
  EXPECT_EQ(bits(engine, a, rest), want_shorter);
}
INSTANTIATE_TEST_SUITE_P(Devices, WindowsOnADevice,
                         ::testing::Values("cpu", "emulated", "reference"),
                         [](const auto& device) { return std::string(device.param); });

}  // namespace
}  // namespace assay::run
