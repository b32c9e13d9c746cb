// Every invariant holds on our executors, and every planted fault of state is named by the one that it
// breaks, in the smallest case that can show it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <string>

#include "fault/state.h"
#include "invariants/check.h"
#include "invariants/engine.h"
#include "run/device.h"
#include "support/architecture_file.h"

namespace assay::invariants {
namespace {

/// A model of three small layers, once per test program.
std::shared_ptr<const run::Model> small_model() {
  static const auto model = [] {
    const auto path = std::filesystem::temp_directory_path() /
                      ("assay_invariants_" + std::to_string(getpid()) + ".gguf");
    EXPECT_TRUE(testing::ArchitectureFile("qwen3").writer().write(path.string()));
    auto opened = run::Model::open(path.string());
    EXPECT_TRUE(opened) << opened.error().message;
    std::filesystem::remove(path);  // the mapping lives on
    return *opened;
  }();
  return model;
}

/// The model's program, with a window in the layers after the first.
std::shared_ptr<const op::Program> program_of(uint32_t window) {
  auto program = std::make_shared<op::Program>(small_model()->program());
  bool first = true;
  for (op::Operation& operation : program->operations)
    if (auto* attend = std::get_if<op::Attend>(&operation.of); attend && window > 0) {
      if (!first) attend->window = window;
      first = false;
    }
  program->group_caches();
  return program;
}

struct Asked {
  std::string device = "cpu", fault = {};
  uint32_t tokens = 74, sequences = 3, decode = 4, window = 0;
  std::vector<std::string> only = {};
};

Result<Report> ask(const Asked& asked) {
  run::EngineOptions options;
  options.device = asked.device;
  options.executor.sequences = sequences_for(asked.sequences);
  options.executor.batch = batch_for(asked.tokens, asked.sequences);
  options.executor.threads = 2;
  if (!asked.fault.empty())
    options.make =
        [&](const op::Program& program,
            const op::ExecutorOptions& executor) -> Result<std::unique_ptr<op::Executor>> {
      auto inner = run::make_executor(asked.device, program, executor);
      if (!inner) return inner.error();
      return fault::make_faulty_state(std::move(*inner), program, executor, asked.fault);
    };
  auto engine = run::Engine::make(small_model(), program_of(asked.window), options);
  if (!engine) return engine.error();
  Settings settings;
  for (uint32_t i = 0; i < asked.tokens; ++i) settings.tokens.push_back(int32_t(i * 131 % 293 + 3));
  settings.whole = {asked.tokens, asked.sequences, asked.decode};
  settings.only = asked.only;
  return check(subject_of(*engine, asked.device), settings);
}

/// Those of every machine, and CUDA where this one has it.
std::vector<std::string> devices() {
  std::vector<std::string> names = {"cpu", "emulated"};
  if (run::make_queue("cuda")) names.emplace_back("cuda");
  return names;
}

class OfDevice : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Devices, OfDevice, ::testing::ValuesIn(devices()),
                         [](const auto& test) { return test.param; });

TEST_P(OfDevice, EveryInvariantHoldsByBits) {
  for (const uint32_t window : {0u, 20u}) {
    const auto report = ask({.device = GetParam(), .window = window});
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->count(Answer::holds), list().size()) << report->sentence();
    EXPECT_THAT(report->sentence(), ::testing::StartsWith("PASS: 10 invariants hold on"));
  }
}

/// What the smallest case of a fault is, which follows from what the fault does.
struct Expected {
  std::string fault;
  uint32_t tokens, sequences, decode, text, position;
  uint32_t window = 0, whole = 74;
};

std::ostream& operator<<(std::ostream& out, const Expected& expected) {
  return out << expected.fault;
}

const Expected expected_cases[] = {
    // The slot of token 0 is lost when token 1 runs; token 2 is the first that sees it.
    {"decode-slot", 3, 1, 2, 0, 2},
    // Token 1 runs twice, as itself and as what was undone; token 2 sees the latter.
    {"undo-stale", 3, 1, 2, 0, 2},
    // A page of 64 positions lies before what sequence 1 writes, and its text is one token shorter.
    {"page-of-other", 66, 2, 1, 1, 64},
    {"rows-swapped", 1, 2, 0, 0, 0},
    // A copy shares full pages: that of positions 0 to 63, whose last token is lost.
    {"restored-short", 65, 1, 1, 0, 64},
    // The first decode step is right.
    {"decode-stuck", 3, 1, 2, 0, 2},
    {"padding-read", 2, 1, 1, 0, 1},
    // Two pieces of two tokens: the first token of the second.
    {"buffer-reused", 4, 1, 0, 0, 2},
    // Position 128 begins the page whose window no longer reaches into the first.
    {"window-evicted", 129, 1, 1, 0, 128, 65, 136},
    // The texts have three tokens and two: positions 2 and 1 in the decode step.
    {"batch-longest", 3, 2, 1, 1, 1},
    {"slots-alike", 3, 2, 1, 1, 1},
    {"racing-logit", 1, 1, 0, 0, 0},
};

class OfFault : public ::testing::TestWithParam<std::tuple<std::string, Expected>> {};
INSTANTIATE_TEST_SUITE_P(Faults, OfFault,
                         ::testing::Combine(::testing::ValuesIn(devices()),
                                            ::testing::ValuesIn(expected_cases)),
                         [](const auto& test) {
                           std::string name =
                               std::get<0>(test.param) + "_" + std::get<1>(test.param).fault;
                           std::ranges::replace(name, '-', '_');
                           return name;
                         });

TEST_P(OfFault, IsNamedByItsInvariantInTheSmallestCase) {
  const auto& [device, expected] = GetParam();
  const auto known =
      std::ranges::find(fault::state_faults(), expected.fault, &fault::StateFault::name);
  ASSERT_NE(known, fault::state_faults().end());
  const std::string id(known->breaks);
  const auto report = ask({.device = device,
                           .fault = expected.fault,
                           .tokens = expected.whole,
                           .window = expected.window,
                           .only = {id}});
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_EQ(report->findings.size(), 1u);
  const Finding& finding = report->findings[0];
  ASSERT_EQ(finding.answer, Answer::breaks) << report->sentence();
  EXPECT_EQ(finding.invariant->id, id);
  EXPECT_EQ(finding.smallest.tokens, expected.tokens) << report->sentence();
  EXPECT_EQ(finding.smallest.sequences, expected.sequences) << report->sentence();
  EXPECT_EQ(finding.smallest.decode, expected.decode) << report->sentence();
  EXPECT_EQ(finding.in_smallest->first.text, expected.text) << report->sentence();
  EXPECT_EQ(finding.in_smallest->first.position, expected.position) << report->sentence();
  ASSERT_TRUE(finding.in_smallest->channel) << report->sentence();
  EXPECT_GT(finding.in_smallest->size, 0);
  EXPECT_THAT(report->sentence(),
              ::testing::StartsWith("FAIL '" + std::string(finding.invariant->name)));
}

TEST(Faults, AllAreExpected) {
  std::vector<std::string_view> have, listed;
  for (const Expected& one : expected_cases) have.push_back(one.fault);
  for (const auto& one : fault::state_faults()) listed.push_back(one.name);
  EXPECT_THAT(have, ::testing::UnorderedElementsAreArray(listed));
}

TEST(Faults, OfDecodingLeavePromptsAndRepeatsAlone) {
  const auto report = ask({.fault = "decode-slot", .only = {"repeat", "chunked", "rows"}});
  ASSERT_TRUE(report) << report.error().message;
  // The order of rows, too: both orders have the fault.
  EXPECT_EQ(report->count(Answer::holds), 3u) << report->sentence();
}

TEST(Faults, ARestoredStateThatReadsPaddingHasNaN) {
  const auto report = ask({.fault = "padding-read", .only = {"padding"}});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_TRUE(report->findings[0].in_smallest->not_finite);
  EXPECT_TRUE(std::isinf(report->findings[0].in_smallest->size));
  EXPECT_THAT(report->sentence(), ::testing::HasSubstr("NaN or infinite logits"));
}

TEST(Check, AsksOnlyWhatTheCaseCanShow) {
  const auto one = ask({.tokens = 1, .sequences = 1, .decode = 0});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->count(Answer::breaks), 0u);
  for (const Finding& finding : one->findings) {
    const bool possible = finding.invariant->id == "repeat" || finding.invariant->id == "padding";
    EXPECT_EQ(finding.answer, possible ? Answer::holds : Answer::unmeasured)
        << finding.invariant->id;
    EXPECT_EQ(finding.why.empty(), possible);
  }
  const auto unknown = ask({.only = {"chached"}});
  ASSERT_FALSE(unknown);
  EXPECT_THAT(unknown.error().message,
              ::testing::HasSubstr("no invariant 'chached'; there are: repeat, "));
}

// --- an engine that knows log-probabilities only ---

Row best(std::vector<std::pair<int64_t, double>> tokens) {
  Row row;
  row.best = std::move(tokens);
  return row;
}

TEST(Compare, TakesTheLargestDifferenceOfWhatBothName) {
  const Rows a{{{0, 3}, best({{7, -0.5}, {9, -1.0}})}}, b{{{0, 3}, best({{7, -0.5}, {9, -1.25}})}};
  EXPECT_FALSE(compare(a, b, false, 0.25));
  const auto found = compare(a, b, false, 0.2);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->log_probability, 0.25);
  EXPECT_EQ((std::pair{found->differ, found->of}), (std::pair<uint64_t, uint64_t>{1, 1}));
  EXPECT_EQ(found->first, (Place{0, 3}));
}

TEST(Compare, ATokenThatOneSideDoesNotNameIsAtMostAsLikelyAsItsLast) {
  const Rows a{{{0, 0}, best({{7, -0.5}, {9, -1.0}})}}, b{{{0, 0}, best({{7, -0.5}, {8, -3.0}})}};
  const auto found = compare(a, b, false, 1.5);  // 9: -1 against at most -3
  ASSERT_TRUE(found);
  EXPECT_EQ(found->log_probability, 2.0);
  EXPECT_FALSE(compare(a, b, false, 2.0));
}

TEST(Compare, OfBitsNaNIsLikeNaNAndUnlikeNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Rows number{{{0, 0}, row_of({1, 2}, false, true)}},
      broken{{{0, 0}, row_of({1, nan}, false, true)}},
      other{{{0, 0}, row_of({1, -nan}, false, true)}};
  EXPECT_FALSE(compare(broken, other, true, 0));
  for (const bool by_bits : {true, false}) {
    const auto found = compare(number, broken, by_bits, 1e9);
    ASSERT_TRUE(found);
    EXPECT_TRUE(found->not_finite);
    EXPECT_EQ(found->channel, 1u);
    EXPECT_TRUE(std::isinf(found->size));
  }
}

/// The n-th answer is off by `off(n)`.
Subject noisy(std::function<double(int)> off) {
  Subject subject;
  subject.by_bits = false;
  subject.abilities = {Ability::several};
  subject.run = [off = std::move(off), n = 0](const Schedule& schedule, const Texts&,
                                              const Place*) mutable -> Result<Rows> {
    Rows rows;
    for (const Action& action : schedule.actions)
      for (const Part& part : std::get<Step>(action).parts)
        rows[{schedule.texts[part.sequence], part.end - 1}] = best({{1, -1.0 + off(n)}});
    ++n;
    return rows;
  };
  return subject;
}

TEST(Noise, OfRepeatsIsTheYardstick) {
  Settings settings;
  settings.tokens = {1, 2, 3, 4, 5, 6};
  settings.whole = {6, 2, 2};
  const auto quiet = check(noisy([](int n) { return 0.01 * (n % 2); }), settings);
  ASSERT_TRUE(quiet);
  EXPECT_NEAR(quiet->noise, 0.01, 1e-12);
  EXPECT_EQ(quiet->limit, 2 * quiet->noise);
  EXPECT_EQ(quiet->count(Answer::breaks), 0u) << quiet->sentence();
  EXPECT_THAT(quiet->sentence(),
              ::testing::HasSubstr("not measured: positions, undone, restored, padding"));
  // Far beyond the noise of the eight repeats that it is measured by.
  const auto loud =
      check(noisy([](int n) { return n < 8 ? 0.01 * (n % 2) : 0.1 * (n % 2); }), settings);
  ASSERT_TRUE(loud);
  EXPECT_GT(loud->count(Answer::breaks), 0u) << loud->sentence();
}

}  // namespace
}  // namespace assay::invariants
