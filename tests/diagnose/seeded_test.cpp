// Every fault of src/fault, drawn by printed seeds: the judge must name operation and cause.
#include <gmock/gmock.h>

#include <cstdlib>

#include "diagnose/diagnose.h"
#include "diff/support.h"
#include "fault/executor.h"
#include "fault/faults.h"
#include "fault/loud.h"

namespace assay::diagnose {
namespace {

using diff::kjv_program;

/// A prompt and three decode steps: enough for every fault of the list to show.
Result<trace::Trace> record_with(const op::Program& program, std::optional<fault::Fault> fault,
                                 uint32_t prompt_tokens) {
  op::ExecutorOptions options;
  options.context = 64;
  auto executor = fault::make_executor(program, options, fault);
  if (!executor) return Error{"no executor"};
  trace::Recorder recorder(program, {});
  std::vector<int32_t> tokens;
  for (uint32_t i = 0; i < prompt_tokens; ++i) tokens.push_back(int32_t(1 + 131 * i % 2047));
  uint32_t position = 0;
  for (int step = 0; step < 4; ++step) {
    std::vector<uint32_t> positions, sequences(tokens.size(), 0), selected;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      positions.push_back(position + i);
      selected.push_back(i);
    }
    const op::Step one{tokens, positions, sequences, selected};
    recorder.begin_step(one);
    executor->run(one, std::ref(recorder));
    position += uint32_t(tokens.size());
    tokens = {int32_t(300 + 17 * step)};
  }
  static int count = 0;
  const diff::TemporaryFile file("seeded" + std::to_string(count++));
  if (const auto written = recorder.write(file.path, {{"engine", "assay fault"}}); !written)
    return written.error();
  return trace::Trace::open(file.path);
}

struct Found {
  std::string operation = "none", cause = "none", evidence;
};

Found look(const op::Program& program, const trace::Trace& faulty, const trace::Trace& right) {
  auto report = diff::compare(program, faulty, right, {.runs = 0});
  if (!report) throw std::runtime_error(report.error().message);
  if (const auto done = explain(program, faulty, right, *report); !done)
    throw std::runtime_error(done.error().message);
  if (!report->first) return {"none", "none", report->benign.empty() ? "" : report->benign.back()};
  EXPECT_TRUE(report->first->a && !report->first->b);
  return {report->first->operation, report->cause->id, report->cause->evidence};
}

class Seeded : public ::testing::TestWithParam<std::string_view> {};
INSTANTIATE_TEST_SUITE_P(Faults, Seeded, ::testing::ValuesIn(fault::names()), [](const auto& with) {
  std::string name(with.param);
  std::ranges::replace(name, '-', '_');
  return name;
});

TEST_P(Seeded, OperationAndCauseAreNamed) {
  const uint64_t seeds = std::getenv("ASSAY_SLOW") ? 20 : 1;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    auto fault = fault::draw(GetParam(), seed, kjv_program());
    if (!fault) GTEST_SKIP() << fault.error().message;
    static const fault::Loud loud(kjv_program(), 2, 1e5f);
    if (fault->needs().large_values) fault->at = fault::loud_place(seed);
    const op::Program& program = fault->needs().large_values ? loud.program() : kjv_program();
    const uint32_t prompt = std::max(13u, fault->needs().tokens);
    const auto right = record_with(program, {}, prompt);
    ASSERT_TRUE(right) << right.error().message;
    const auto trace = record_with(program, *fault, prompt);
    ASSERT_TRUE(trace) << trace.error().message;
    const Found found = look(program, *trace, *right);
    if (fault->benign()) {
      EXPECT_EQ(found.operation, "none") << fault->text() << ": " << found.cause;
      continue;
    }
    EXPECT_EQ(found.operation, fault->expected_operation(program)) << fault->text();
    EXPECT_EQ(found.cause, fault->expected_cause())
        << fault->text() << " seed " << seed << ": " << found.evidence;
  }
}

}  // namespace
}  // namespace assay::diagnose
