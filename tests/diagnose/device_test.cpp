// Faults seeded at the queue of the emulated grid: operation, layer and cause from the traces.
#include <gmock/gmock.h>

#include "device/emulated/queue.h"
#include "diagnose/diagnose.h"
#include "diff/support.h"
#include "fault/device_queue.h"
#include "gpu/executor.h"

namespace assay::diagnose {
namespace {

using diff::Recording;

// More than 8 tokens: the tile kernel runs.
const std::vector<int32_t> eleven = {1, 1044, 261, 1798, 1249, 391, 282, 561, 300, 394, 1991};

/// An engine on the emulated grid, its threads in the order of `seed`; no fault where `fault` is
/// empty.
run::Engine open_faulty(std::string_view fault, uint64_t seed) {
  run::EngineOptions options;
  options.make = [=](const op::Program& program,
                     const op::ExecutorOptions& executor) -> Result<std::unique_ptr<op::Executor>> {
    emulated::GridOptions grid;
    grid.schedule = {emulated::Schedule::Order::shuffled, seed};
    if (fault == "race") grid.workers = 1;  // several share the groups out as they come
    std::unique_ptr<device::Queue> queue = emulated::make_queue({.grid = grid});
    if (!fault.empty()) {
      auto faulty = fault::make_faulty_queue(std::move(queue), fault);
      if (!faulty) return faulty.error();
      queue = std::move(*faulty);
    }
    return gpu::make_executor("emulated", std::move(queue), program, executor);
  };
  options.executor.context = 64;
  auto engine = run::Engine::open(diff::data / "kjv" / "kjv.gguf", options);
  if (!engine) throw std::runtime_error(engine.error().message);
  return std::move(*engine);
}

Recording recording(std::vector<int32_t> tokens, uint32_t decode) {
  Recording how;
  how.tokens = std::move(tokens);
  how.decode = decode;
  how.metadata = {{"engine", "assay emulated"}, {"contract", "assay/1"}, {"model_sha256", "kjv"}};
  return how;
}

trace::Trace recorded(const Recording& how, run::Engine engine) {
  auto trace = diff::record(how, std::move(engine));
  if (!trace) throw std::runtime_error(trace.error().message);
  return std::move(*trace);
}

diff::Report explained(const trace::Trace& a, const trace::Trace& b) {
  auto report = diff::compare(diff::kjv_program(), a, b, {.runs = 0});
  if (!report) throw std::runtime_error(report.error().message);
  if (const auto done = explain(diff::kjv_program(), a, b, *report); !done)
    throw std::runtime_error(done.error().message);
  return std::move(*report);
}

/// The faulty run's tokens once more on the cpu, and what the diff of the two says.
diff::Report against_the_cpu(std::string_view fault, uint32_t decode) {
  const auto faulty = recorded(recording(eleven, decode), open_faulty(fault, 1));
  Recording right = recording(diff::all_tokens(faulty), 0);
  right.metadata["engine"] = "assay cpu";
  return explained(faulty, recorded(right, diff::open_kjv()));
}

TEST(DeviceFaults, ThoseOfTheTraceAreNamed) {
  struct {
    const char *fault, *operation;
    uint32_t step, layer;
  } const cases[] = {{"matmul-path", "blk.0.q", 0, 0},
                     {"stale-input", "embd", 2, op::none},
                     {"fast-math", "blk.0.act", 0, 0}};
  for (const auto& one : cases) {
    SCOPED_TRACE(one.fault);
    const auto report = against_the_cpu(one.fault, 3);
    ASSERT_TRUE(report.first);
    EXPECT_TRUE(report.first->a && !report.first->b);
    EXPECT_EQ(report.first->operation, one.operation);
    EXPECT_EQ(report.first->step, one.step);
    EXPECT_EQ(report.first->layer, one.layer);
    EXPECT_EQ(report.cause->id, one.fault) << report.sentence;
    std::printf("%s\n", report.sentence.c_str());
  }
}

TEST(DeviceFaults, ARaceShowsInTwoRunsOfOneEngine) {
  const auto once = recorded(recording(diff::eight, 0), open_faulty("race", 1));
  const auto again = recorded(recording(diff::eight, 0), open_faulty("race", 2));
  const auto report = explained(once, again);
  ASSERT_TRUE(report.first);
  EXPECT_EQ(report.first->operation, "blk.0.attn_norm");
  EXPECT_EQ(report.cause->id, "race") << report.sentence;
  EXPECT_THAT(report.cause->evidence, ::testing::HasSubstr("from token 0 channel "));
  std::printf("%s\n", report.sentence.c_str());
  // The same schedule is the same run, and another engine is no evidence.
  const auto same = recorded(recording(diff::eight, 0), open_faulty("race", 1));
  EXPECT_NE(explained(once, same).cause->id, "race");
  Recording other = recording(diff::eight, 0);
  other.metadata["engine"] = "assay cpu";
  EXPECT_NE(explained(once, recorded(other, diff::open_kjv())).cause->id, "race");
}

TEST(DeviceFaults, WithoutAFaultNothingIsFound) {
  const auto report = against_the_cpu("", 2);
  EXPECT_EQ(report.verdict, diff::Verdict::pass) << report.sentence;
  for (const double difference : report.differences) EXPECT_LE(difference, 0);
  const auto once = recorded(recording(diff::eight, 0), open_faulty("", 1));
  const auto again = recorded(recording(diff::eight, 0), open_faulty("", 2));
  EXPECT_THAT(explained(once, again).benign,
              ::testing::Each(::testing::Not(::testing::HasSubstr("race"))));
}

/// What the fused plan gives, in recordings: logits of a prompt and of four steps after it.
std::vector<float> logits_of(run::Engine engine) {
  run::Sequence sequence = testing::start(engine);
  std::vector<float> all;
  for (size_t at = 0; at < eleven.size(); at = at ? at + 1 : 7) {
    const auto part = std::span(eleven).subspan(at, at ? 1 : 7);
    const auto logits = engine.feed(sequence, part, run::Wanted::last);
    if (!logits) throw std::runtime_error(logits.error().message);
    all.insert(all.end(), logits->begin(), logits->end());
  }
  return all;
}

TEST(DeviceFaults, AStaleGraphShowsInLogitsAndNotInATrace) {
  EXPECT_EQ(against_the_cpu("stale-graph", 3).verdict, diff::Verdict::pass);
  const auto right = logits_of(open_faulty("", 1)),
             wrong = logits_of(open_faulty("stale-graph", 1));
  EXPECT_EQ(right, logits_of(diff::open_kjv()));
  // The prompt's recording and the first one of a single token are replayed for the first time.
  const auto good = size_t(std::ranges::mismatch(right, wrong).in1 - right.begin());
  EXPECT_EQ(good / diff::kjv_program().vocabulary, 2u);
}

TEST(DeviceFaults, EachIsSeededAndOthersAreRefused) {
  EXPECT_EQ(fault::device_faults().size(), 5u);
  const auto refused = fault::make_faulty_queue(emulated::make_queue({}), "race:layer=3");
  ASSERT_FALSE(refused);
  EXPECT_EQ(
      refused.error().message,
      "a device cannot have the fault 'race:layer=3'; it can have: device-lost, matmul-path, race, "
      "stale-input, stale-graph, fast-math");
}

}  // namespace
}  // namespace assay::diagnose
