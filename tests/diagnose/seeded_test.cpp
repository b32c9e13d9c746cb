// Every fault of src/fault, drawn by printed seeds: the judge must name operation and cause.
#include <gmock/gmock.h>

#include <cstdlib>

#include "diagnose/diagnose.h"
#include "diagnose/fault_trace.h"
#include "fault/seeded.h"
#include "support/architecture_file.h"

namespace assay::diagnose {
namespace {

using diff::kjv_program;

/// A prompt and three decode steps: enough for every fault of the list to show.
Result<trace::Trace> record_with(const op::Program& program, std::optional<fault::Fault> fault,
                                 uint32_t prompt_tokens) {
  return record_fault(program, std::move(fault), {spaced_tokens(program, 1, prompt_tokens)});
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

void expect_cause(const fault::Fault& fault, const Found& found, uint64_t seed) {
  EXPECT_EQ(found.cause, fault.expected_cause())
      << fault.text() << " seed " << seed << ": " << found.evidence;
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
    const auto [program, fault, prompt] = fault::seeded(GetParam(), seed, kjv_program(), 13);
    const auto right = record_with(program, {}, prompt);
    ASSERT_TRUE(right) << right.error().message;
    const auto trace = record_with(program, fault, prompt);
    ASSERT_TRUE(trace) << trace.error().message;
    const Found found = look(program, *trace, *right);
    if (fault.benign()) {
      EXPECT_EQ(found.operation, "none") << fault.text() << ": " << found.cause;
      continue;
    }
    EXPECT_EQ(found.operation, fault.expected_operation(program)) << fault.text();
    expect_cause(fault, found, seed);
  }
}

/// Where the architectures beside llama are another thing: "fault@place" as the command line has
/// it. q_norm and k_norm have parts, phi3 turns 24 of 32 lanes in pairs (i, i + 12).
struct Placed {
  const char* architecture;
  const char* fault;
};

void PrintTo(const Placed& placed, std::ostream* out) {
  *out << placed.architecture << " " << placed.fault;
}

class SeededArchitecture : public ::testing::TestWithParam<Placed> {};

TEST_P(SeededArchitecture, OperationAndCauseAreNamed) {
  static const testing::ArchitectureProgram qwen3("qwen3"), phi3("phi3");
  const bool first = GetParam().architecture == std::string_view("qwen3");
  const op::Program& program = first ? qwen3.program : phi3.program;
  const auto fault = fault::parse_fault(GetParam().fault);
  ASSERT_TRUE(fault) << fault.error().message;
  const uint32_t prompt = std::max(13u, fault->needs().tokens);
  const auto right = record_with(program, {}, prompt), trace = record_with(program, *fault, prompt);
  ASSERT_TRUE(right && trace);
  const Found found = look(program, *trace, *right);
  EXPECT_EQ(found.operation, fault->expected_operation(program)) << fault->text();
  EXPECT_EQ(found.cause, fault->expected_cause()) << fault->text() << ": " << found.evidence;
}

INSTANTIATE_TEST_SUITE_P(Places, SeededArchitecture,
                         ::testing::Values(Placed{"qwen3", "norm-eps:eps=0.1,at=blk.1.q_norm"},
                                           Placed{"qwen3", "norm-plus-one:at=blk.1.k_norm"},
                                           Placed{"qwen3", "norm-weight-omitted:at=blk.0.q_norm"},
                                           Placed{"qwen3", "norm-weight-twice:at=blk.2.k_norm"},
                                           Placed{"qwen3", "weight-permuted:at=blk.1.q"},
                                           Placed{"qwen3", "rope-pairing:layer=1"},
                                           Placed{"phi3", "weight-permuted:at=blk.1.k"},
                                           Placed{"phi3", "rope-pairing:layer=1"},
                                           Placed{"phi3", "rope-base:base=20000,layer=1"},
                                           Placed{"phi3", "rope-scaling:layer=2"},
                                           Placed{"phi3", "rope-factors:layer=0"},
                                           Placed{"phi3", "weight-row-shift:at=blk.1.up"},
                                           Placed{"phi3", "gate-up-swapped:at=blk.1.act"}),
                         [](const auto& tested) {
                           std::string name =
                               std::string(tested.param.architecture) + "_" + tested.param.fault;
                           for (char& c : name)
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           return name;
                         });

/// All faults that can be drawn, on one seed (ASSAY_SLOW: on ten).
class SeededDrawn : public ::testing::TestWithParam<const char*> {};

void expect_drawn_faults_named(const op::Program& program) {
  for (const std::string_view name : fault::names())
    for (uint64_t seed = 1; seed <= (std::getenv("ASSAY_SLOW") ? 10 : 1); ++seed) {
      const auto fault = fault::draw(name, seed, program);
      if (!fault || fault->needs().large_values) continue;
      const uint32_t prompt = std::max(13u, fault->needs().tokens);
      const auto right = record_with(program, {}, prompt),
                 trace = record_with(program, *fault, prompt);
      ASSERT_TRUE(right && trace);
      const Found found = look(program, *trace, *right);
      if (fault->benign()) {
        EXPECT_EQ(found.operation, "none") << fault->text() << ": " << found.cause;
        continue;
      }
      EXPECT_EQ(found.operation, fault->expected_operation(program)) << fault->text();
      expect_cause(*fault, found, seed);
    }
}

TEST_P(SeededDrawn, OperationAndCauseAreNamed) {
  const testing::ArchitectureProgram model(GetParam());
  expect_drawn_faults_named(model.program);
}

/// The same in the model that has every kind of operation.
TEST(SeededMixed, OperationAndCauseAreNamed) {
  expect_drawn_faults_named(fault::mixed_program());
}

INSTANTIATE_TEST_SUITE_P(Architecture, SeededDrawn, ::testing::Values("qwen3", "phi3"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace assay::diagnose
