// Traces that hold little: right ones pass, and a fault is found in the segment that it is in.
#include <gmock/gmock.h>

#include <fmt/format.h>
#include <set>

#include "diagnose/diagnose.h"
#include "diagnose/fault_trace.h"
#include "diff/narrow.h"
#include "support/architecture_file.h"

namespace assay::diagnose {
namespace {

using diff::kjv_program;
using ::testing::AnyOf;
using ::testing::HasSubstr;

using Wanted = std::function<bool(std::string_view)>;

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::ranges::any_of(ends, [&](std::string_view end) { return name.ends_with(end); });
}
bool layer_outputs(std::string_view name) {
  return name.ends_with(".out");
}

/// A prompt and two decode steps, of which only what is wanted is kept.
Result<trace::Trace> record_with(const op::Program& program, std::optional<fault::Fault> fault,
                                 const Wanted& wanted, uint32_t first = 3, uint32_t tokens = 14) {
  return record_fault(program, std::move(fault),
                      {spaced_tokens(program, first, tokens), 2, wanted});
}

diff::Report judged(const op::Program& program, const trace::Trace& trace) {
  auto report = diff::judge_alone(program, trace);
  if (!report) throw std::runtime_error(report.error().message);
  if (const auto done = explain(program, trace, trace, *report); !done)
    throw std::runtime_error(done.error().message);
  return std::move(*report);
}

TEST(Coarse, RightOnesPassWhateverTheyHold) {
  static const testing::ArchitectureProgram qwen3("qwen3"), phi3("phi3");
  const std::vector<std::pair<const char*, Wanted>> kept = {
      {"layers' outputs", layer_outputs},
      {"logits alone", [](std::string_view name) { return name == "logits"; }},
      {"fused attention and MLP",
       [](std::string_view name) {
         return name == "embd" ||
                ends_with_any(name, {"attn_norm", "attn_residual", "ffn_norm", "out"});
       }},
      {"no rotated keys", [](std::string_view name) { return !name.ends_with("k_rope"); }},
      {"every fifth output",
       [n = 0](std::string_view name) mutable {
         return !name.ends_with(".kv") && (++n % 5 == 0 || name == "logits");
       }},
  };
  for (const op::Program* program : {&kjv_program(), &qwen3.program, &phi3.program})
    for (const auto& [name, wanted] : kept) {
      // Which ones are kept must be the same in each step.
      std::set<std::string> names;
      for (const op::Operation& operation : program->operations)
        if (wanted(operation.name)) names.insert(operation.name);
      const auto trace = record_with(
          *program, {}, [&](std::string_view one) { return names.contains(std::string(one)); });
      ASSERT_TRUE(trace) << trace.error().message;
      const diff::Report report = judged(*program, *trace);
      EXPECT_EQ(report.verdict, diff::Verdict::pass) << name << ": " << report.sentence;
      EXPECT_TRUE(report.unmeasured.empty()) << name << ": " << report.unmeasured.front()
                                             << ", kept " << ::testing::PrintToString(names);
    }
}

TEST(Coarse, WhatFollowsTheRecordIsNotJudged) {
  const auto trace = record_with(kjv_program(), {}, layer_outputs);
  ASSERT_TRUE(trace);
  const diff::Report report = judged(kjv_program(), *trace);
  EXPECT_THAT(report.after_record, ::testing::ElementsAre("out_norm", "logits"));
  EXPECT_THAT(report.sentence, HasSubstr("the record ends before out_norm"));
}

/// A fault in a block of which only the output is recorded.
struct Planted {
  const char* fault;
  const char* cause;
  bool operation = true;  ///< is named, too; else the cause may be unknown
};
void PrintTo(const Planted& planted, std::ostream* out) {
  *out << planted.fault;
}
class CoarseFault : public ::testing::TestWithParam<Planted> {};
INSTANTIATE_TEST_SUITE_P(
    Faults, CoarseFault,
    ::testing::Values(Planted{"norm-plus-one:at=blk.2.ffn_norm", "norm-plus-one"},
                      Planted{"norm-weight-omitted:at=blk.5.attn_norm", "norm-weight-omitted"},
                      Planted{"rope-pairing:at=blk.1.q_rope", "rope-pairing"},
                      Planted{"rope-base:base=20000,at=blk.2.k_rope", "rope-base"},
                      Planted{"position-off-by-one:at=blk.2.q_rope", "position-off-by-one"},
                      Planted{"gqa-modulo:at=blk.3.kqv", "gqa-modulo"},
                      Planted{"mask-off-by-one:at=blk.2.kqv", "mask-off-by-one"},
                      Planted{"mask-missing:at=blk.4.kqv", "mask-missing"},
                      Planted{"score-scale-missing:at=blk.3.kqv", "score-scale-missing"},
                      Planted{"sliding-window:at=blk.3.kqv", "sliding-window"},
                      Planted{"activation-gelu-tanh:at=blk.3.act", "activation-gelu-tanh"},
                      Planted{"gate-up-swapped:at=blk.2.act", "gate-up-swapped"},
                      Planted{"residual-missing:at=blk.3.out", "residual-missing"},
                      Planted{"weight-transposed:at=blk.2.q", "weight-transposed"},
                      Planted{"weight-row-shift:at=blk.4.down", "weight-row-shift"},
                      Planted{"weight-permuted:at=blk.3.k", "weight-permuted"},
                      Planted{"k-tail:at=blk.3.gate", "k-tail"},
                      Planted{"row-tail:at=blk.2.down", "rows-not-written"},
                      Planted{"tile-transposed:size=4,at=blk.2.up", "", false},
                      Planted{"group-scale:row=3,at=blk.1.v", "", false},
                      Planted{"token-scale:token=3,at=blk.4.gate", "token-scale", false}),
    [](const auto& tested) {
      std::string name(tested.param.fault, std::string_view(tested.param.fault).find(':'));
      std::ranges::replace(name, '-', '_');
      return name;
    });

/// ASSAY_SLOW: over more prompts, one of them longer.
std::vector<std::pair<uint32_t, uint32_t>> prompts() {
  if (!std::getenv("ASSAY_SLOW")) return {{3, 14}, {1, 14}};
  return {{1, 14}, {2, 14}, {3, 14}, {5, 14}, {7, 30}};
}

TEST_P(CoarseFault, TheSegmentIsNamedAndMostlyTheOperation) {
  const auto fault = fault::parse_fault(GetParam().fault);
  ASSERT_TRUE(fault) << fault.error().message;
  const std::string place = fault->expected_operation(kjv_program());
  const int layer = place[4] - '0';
  for (const auto& [first, tokens] : prompts()) {
    SCOPED_TRACE(fmt::format("{} tokens from {} on", tokens, first));
    const auto trace = record_with(kjv_program(), *fault, layer_outputs, first, tokens);
    ASSERT_TRUE(trace);
    const diff::Report report = judged(kjv_program(), *trace);
    ASSERT_TRUE(report.first) << report.sentence;
    EXPECT_EQ(report.first->operation, fmt::format("blk.{}.out", layer));
    EXPECT_EQ(report.first->after, fmt::format("blk.{}.out", layer - 1));
    EXPECT_EQ(report.first->unrecorded, 14u);
    EXPECT_TRUE(report.first->a);
    if (GetParam().operation) {
      EXPECT_EQ(report.cause->id, GetParam().cause) << report.cause->evidence;
      EXPECT_EQ(report.cause->operation, place);
      EXPECT_THAT(report.sentence, HasSubstr("cause: in " + place));
    } else {
      EXPECT_THAT(report.cause->id, AnyOf("unknown", GetParam().cause))
          << report.cause->name << ": " << report.cause->evidence;
    }
  }
}

TEST(Coarse, NarrowingEndsAtTheOperation) {
  // Each time what is to be recorded next is recorded, too: few steps lead to the operation.
  const auto fault = fault::parse_fault("tile-transposed:size=4,at=blk.2.up");
  ASSERT_TRUE(fault);
  std::set<std::string> more;
  for (int round = 0; round < 5; ++round) {
    const auto trace = record_with(kjv_program(), *fault, [&](std::string_view name) {
      return layer_outputs(name) || more.contains(std::string(name));
    });
    ASSERT_TRUE(trace);
    const diff::Report report = judged(kjv_program(), *trace);
    ASSERT_TRUE(report.first) << report.sentence;
    if (report.first->unrecorded == 0) {
      EXPECT_EQ(report.first->operation, "blk.2.up");
      EXPECT_EQ(report.cause->id, "tile-transposed");
      return;
    }
    const auto next = diff::narrow(kjv_program(), *trace, report, "kjv.gguf");
    ASSERT_TRUE(next);
    SCOPED_TRACE(fmt::format("round {}: {} to {}, next {}", round, report.first->after,
                             report.first->operation, next->record));
    EXPECT_EQ(next->record, report.first->record_next);
    EXPECT_THAT(next->command, HasSubstr(next->record));
    EXPECT_TRUE(more.insert(next->record).second) << next->record << " is asked for again";
  }
  ADD_FAILURE() << "not narrowed in five rounds";
}

}  // namespace
}  // namespace assay::diagnose
