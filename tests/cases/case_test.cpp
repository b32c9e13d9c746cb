// Cases: every kind of operation comes back from its file, fails again where it failed, and passes
// on our devices; a device that is wrong is called so.
#include "cases/case_file.h"

#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "cases/replay.h"
#include "cpu/executor.h"
#include "diff/support.h"
#include "fault/executor.h"
#include "reference/executor.h"
#include "reference/mixed_model.h"
#include "reference/tiny_model.h"

namespace assay::cases {
namespace {

using diff::eight;
using diff::kjv_program;
using diff::record;
using ::testing::HasSubstr;

/// One element of the operation is wrong in the last step of a prompt and two decode steps.
Case case_of(const std::string& name, float wrong, uint64_t column, uint32_t decode = 2) {
  uint32_t step = 0;
  const auto trace = record(
      {.decode = decode, .alter = [&](const op::Operation& operation, std::vector<float>& out) {
         if (operation.name == name && step++ == decode) out[column] = wrong;
       }});
  if (!trace) throw std::runtime_error(trace.error().message);
  const auto side = diff::judge_trace(kjv_program(), *trace);
  if (!side) throw std::runtime_error(side.error().message);
  const diff::Failure& first = side->failures.at(0);
  const auto scene = diff::scene_at(kjv_program(), *trace, *side, first.step, first.operation);
  if (!scene) throw std::runtime_error(scene.error().message);
  return cut_case(kjv_program(), *scene, side->engine);
}

std::vector<uint8_t> bytes_of(const Case& the) {
  static int count = 0;
  const diff::TemporaryFile file("case" + std::to_string(count++));
  if (const auto written = write_case(the, file.path); !written)
    throw std::runtime_error(written.error().message);
  std::ifstream in(file.path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

Result<std::unique_ptr<op::Executor>> reference_of(const op::Program& program,
                                                   op::ExecutorOptions options) {
  return reference::make_executor(program, options, reference::Mode::contract);
}

const std::vector<MakeExecutor> devices = {cpu::make_executor, reference_of};

struct Wrong {
  const char* name;
  uint64_t column;
};

class EveryKind : public ::testing::TestWithParam<Wrong> {};
INSTANTIATE_TEST_SUITE_P(Operations, EveryKind,
                         ::testing::Values(Wrong{"embd", 9}, Wrong{"blk.0.attn_norm", 0},
                                           Wrong{"blk.1.q", 255}, Wrong{"blk.3.k", 17},
                                           Wrong{"blk.1.q_rope", 31}, Wrong{"blk.2.kv", 3},
                                           Wrong{"blk.2.kqv", 200}, Wrong{"blk.3.attn_residual", 5},
                                           Wrong{"blk.4.act", 700}, Wrong{"blk.4.down", 0},
                                           Wrong{"out_selected", 1}, Wrong{"out_norm", 2},
                                           Wrong{"logits", 2047}),
                         [](const auto& with) {
                           std::string name(with.param.name);
                           std::ranges::replace(name, '.', '_');
                           return name;
                         });

TEST_P(EveryKind, FailsAgainFromItsFileAndPassesOnOurDevices) {
  const auto [name, column] = GetParam();
  for (const auto& [decode, wrong] : {std::pair{0u, NAN}, std::pair{2u, 7.5f}}) {
    const Case whole = case_of(name, wrong, column, decode);
    const auto the = parse_case(bytes_of(whole), "x");
    ASSERT_TRUE(the) << the.error().message;
    EXPECT_EQ(the->operation().name, name);
    EXPECT_EQ(the->scene.step, decode);
    EXPECT_EQ(the->seen.failures, 1u);
    EXPECT_EQ(the->seen.row, column);
    EXPECT_EQ(the->expected.data, whole.expected.data);
    EXPECT_EQ(the->allowed.data, whole.allowed.data);
    for (const auto& make : devices) {
      const auto again = replay(*the, make);
      ASSERT_TRUE(again) << again.error().message;
      EXPECT_TRUE(again->as_recorded) << again->sentence;
      EXPECT_EQ(the->whole_row(again->stored.row), column);
      EXPECT_EQ(again->stored.failures, 1u);
      EXPECT_EQ(again->device.failures, 0u) << again->sentence;
      EXPECT_EQ(again->device.elements, the->output().data.size());
      EXPECT_THAT(again->sentence, ::testing::StartsWith("PASS " + std::string(name)));
      EXPECT_THAT(again->sentence, HasSubstr("fails again: token"));
    }
  }
}

TEST(Case, AMatmulKeepsTheFailingRowAndItsNeighbours) {
  const Case the = case_of("blk.1.q", 7.5f, 40);
  EXPECT_THAT(the.rows, ::testing::ElementsAre(39u, 40u, 41u));
  EXPECT_EQ(the.program.weights[0].rows, 3u);
  EXPECT_EQ(the.whole_rows, kjv_program().width);
  EXPECT_LT(bytes_of(the).size(), 8000u);
}

TEST(Case, TheOutputIsASliceOfTheWhole) {
  const Case the = case_of("blk.4.down", 7.5f, 40, 0);
  const auto right = record({});
  const auto whole = right->values(*right->find(0, "blk.4.down"));
  uint64_t compared = 0;
  for (uint64_t t = 0; t < the.output().rows; ++t)
    for (uint64_t i = 0; i < the.output().width; ++i) {
      if (t == 0 && the.whole_row(i) == 40) continue;
      EXPECT_EQ(the.output().row(t)[i], whole->row(t)[the.whole_row(i)]);
      ++compared;
    }
  EXPECT_EQ(compared, 3 * eight.size() - 1);
}

/// The reference with one element of one operation moved.
class Faulty final : public op::Executor {
 public:
  Faulty(std::unique_ptr<op::Executor> right, std::string name)
      : right_(std::move(right)), name_(std::move(name)) {}
  std::span<const float> run(const op::Step& step, const op::Sink& sink) override {
    return right_->run(step, [&](const op::Operation& operation, std::span<const float> output) {
      std::vector<float> copy(output.begin(), output.end());
      if (operation.name == name_) copy[0] += 1;
      if (sink) sink(operation, copy);
    });
  }
  void truncate(uint32_t, uint32_t) override {}
  std::string device() const override { return "faulty"; }
  std::string isa() const override { return ""; }
  std::string contract() const override { return "assay/1"; }
  uint32_t threads() const override { return 1; }

 private:
  std::unique_ptr<op::Executor> right_;
  std::string name_;
};

TEST(Case, AWrongDeviceFails) {
  for (const char* name : {"blk.1.q", "blk.2.kqv", "blk.1.k_rope"}) {
    const auto again = replay(case_of(name, 7.5f, 3), [&](const auto& program, auto options) {
      return Result<std::unique_ptr<op::Executor>>(std::make_unique<Faulty>(
          reference::make_executor(program, options, reference::Mode::contract), name));
    });
    ASSERT_TRUE(again);
    EXPECT_EQ(again->device.failures, 1u);
    EXPECT_THAT(again->sentence, ::testing::StartsWith("FAIL "));
    const auto json = nlohmann::json::parse(to_json(case_of(name, 7.5f, 3), *again));
    EXPECT_EQ(json["schema"], "assay.replay/1");
    EXPECT_EQ(json["device"]["passes"], false);
    EXPECT_EQ(json["stored"]["as_recorded"], true);
  }
}

/// A run of the model that has every kind of operation, with one element of an operation wrong.
Result<trace::Trace> record_mixed(const op::Program& program, const std::string& name,
                                  uint64_t column) {
  op::ExecutorOptions options;
  options.context = 64;
  const auto executor = fault::make_executor(program, options);
  trace::Recorder recorder(program, {});
  const tests::Tokens tokens(tests::token_ids(24, program.vocabulary, 3));
  recorder.begin_step(tokens.step());
  executor->run(tokens.step(), [&](const op::Operation& operation, std::span<const float> output) {
    std::vector<float> copy(output.begin(), output.end());
    const size_t width = copy.size() / tokens.tokens.size();
    if (operation.name == name) copy[2 * width + column] = 1234.5f;
    recorder(operation, copy);
  });
  static int count = 0;
  const diff::TemporaryFile file("mixed" + std::to_string(count++));
  if (const auto written =
          recorder.write(file.path, {{"engine", "assay fault"}, {"contract", "assay/1"}});
      !written)
    return written.error();
  return trace::Trace::open(file.path);
}

Result<std::unique_ptr<op::Executor>> plain_loops(const op::Program& program,
                                                  op::ExecutorOptions options) {
  return fault::make_executor(program, options);
}

TEST(Case, EveryKindOfOperationComesBackFromItsFile) {
  const tests::MixedModel model;
  const op::Program& program = model.program;
  for (const op::Operation& operation : program.operations) {
    SCOPED_TRACE(operation.name);
    const auto trace = record_mixed(program, operation.name, 1);
    ASSERT_TRUE(trace) << trace.error().message;
    const auto side = diff::judge_trace(program, *trace);
    ASSERT_TRUE(side) << side.error().message;
    const auto first = std::ranges::find_if(side->failures, [&](const diff::Failure& failure) {
      return program.operations[failure.operation].name == operation.name;
    });
    ASSERT_NE(first, side->failures.end());
    const auto scene = diff::scene_at(program, *trace, *side, first->step, first->operation);
    ASSERT_TRUE(scene) << scene.error().message;
    const Case whole = cut_case(program, *scene, side->engine);
    const uint32_t width =
        operation.output == op::none ? 2 : program.values[operation.output].width;
    const uint64_t row = width > 1 ? 1 : 0;  // column 1 of one column is the next token's 0
    EXPECT_EQ(whole.seen.failures, 1u);
    EXPECT_EQ(whole.seen.row, row);
    const std::vector<uint8_t> bytes = bytes_of(whole);
    const auto the = parse_case(bytes, "x");
    ASSERT_TRUE(the) << the.error().message;
    EXPECT_EQ(the->operation().of.index(), operation.of.index());
    EXPECT_EQ(the->expected.data, whole.expected.data);
    EXPECT_EQ(the->allowed.data, whole.allowed.data);
    for (const MakeExecutor& make : {MakeExecutor(plain_loops), MakeExecutor(reference_of)}) {
      const auto again = replay(*the, make);
      ASSERT_TRUE(again) << again.error().message;
      EXPECT_TRUE(again->as_recorded) << again->sentence;
      EXPECT_EQ(again->stored.failures, 1u);
      EXPECT_EQ(the->whole_row(again->stored.row), row);
      EXPECT_EQ(again->device.failures, 0u) << again->sentence;
    }
  }
}

/// Of experts only those that are chosen are kept, and of each the rows around the wrong one.
TEST(Case, ExpertsThatAreNotChosenAreLeftOut) {
  const tests::MixedModel model;
  const auto trace = record_mixed(model.program, "blk.3.experts_up", 32 + 7);  // slot 1, row 7
  const auto side = diff::judge_trace(model.program, *trace);
  const auto scene = diff::scene_at(model.program, *trace, *side, side->failures[0].step,
                                    side->failures[0].operation);
  ASSERT_TRUE(scene) << scene.error().message;
  diff::Scene few = *scene;
  for (uint64_t t = 0; t < few.inputs[1].rows; ++t)
    for (uint64_t slot = 0; slot < 3; ++slot)
      few.inputs[1].row(t)[slot] = few.inputs[1].row(t)[slot] < 2 ? 1 : 4;
  const Case the = cut_case(model.program, few, "x");
  EXPECT_EQ(the.operation().as<op::MatmulExperts>()->experts, 2u);
  EXPECT_EQ(the.program.weights[0].rows % 2, 0u);
  EXPECT_EQ(the.rows.front() / 32, 1u);
  EXPECT_EQ(the.rows.back() / 32, 4u);
  for (const double id : the.scene.inputs[1].row(0).first(3)) EXPECT_LT(id, 2);
  EXPECT_EQ(cut_case(model.program, *scene, "x").rows.size() % 5, 0u);
}

TEST(Case, AnAlteredOutputIsNotCalledAsRecorded) {
  Case the = case_of("blk.1.q", 7.5f, 40);
  the.scene.output.data[1] = 9;
  const auto again = replay(the, reference_of);
  ASSERT_TRUE(again);
  EXPECT_FALSE(again->as_recorded);
  the.seen.max_u = INFINITY;
  EXPECT_FALSE(replay(the, reference_of)->as_recorded);
  the.scene.output = the.expected;
  EXPECT_THAT(replay(the, reference_of)->sentence, HasSubstr("output passes here"));
}

TEST(Case, EveryTruncationIsRefused) {
  const std::vector<uint8_t> bytes = bytes_of(case_of("blk.2.kqv", 7.5f, 3));
  for (size_t size = 0; size < bytes.size(); size += size < 4000 ? 1 : 97) {
    const auto the = parse_case({bytes.begin(), bytes.begin() + std::ptrdiff_t(size)}, "x");
    ASSERT_FALSE(the) << size;
    EXPECT_THAT(the.error().message, ::testing::StartsWith("x: "));
  }
}

// Every byte of the header set to others: a case that still reads is run, and nothing breaks.
TEST(Case, EditsAreRefusedOrRun) {
  uint64_t refused = 0, run = 0;
  for (const char* name : {"embd", "blk.1.q", "blk.1.q_rope", "blk.2.kv", "blk.2.kqv"}) {
    const std::vector<uint8_t> bytes = bytes_of(case_of(name, 7.5f, 3, 0));
    const size_t header = 8 + size_t(bytes[0]) + (size_t(bytes[1]) << 8);
    for (size_t i = 8; i < header; ++i)
      for (const char byte : {'9', '"'}) {
        std::vector<uint8_t> edited = bytes;
        edited[i] = uint8_t(byte);
        const auto the = parse_case(std::move(edited), "x");
        if (!the) {
          ++refused;
          ASSERT_EQ(the.error().message.find('\n'), std::string::npos);
          continue;
        }
        ++run;
        ASSERT_TRUE(replay(*the, reference_of)) << name << i;
      }
  }
  EXPECT_GT(refused, 2000u);
  EXPECT_GT(run, 200u);
}

TEST(Case, EditsOfTheOtherKindsAreRefusedOrRun) {
  const tests::MixedModel model;
  uint64_t refused = 0, run = 0;
  for (const char* name : {"positions", "blk.0.kqv", "blk.1.q_scaled", "blk.2.routing",
                           "blk.2.experts_up", "blk.2.experts_down_scaled", "blk.2.k"}) {
    const auto trace = record_mixed(model.program, name, 1);
    const auto side = diff::judge_trace(model.program, *trace);
    const auto scene = diff::scene_at(model.program, *trace, *side, side->failures[0].step,
                                      side->failures[0].operation);
    ASSERT_TRUE(scene) << scene.error().message;
    const std::vector<uint8_t> bytes = bytes_of(cut_case(model.program, *scene, "x"));
    const size_t header = 8 + size_t(bytes[0]) + (size_t(bytes[1]) << 8);
    for (size_t i = 8; i < header; ++i)
      for (const char byte : {'9', '0', '"'}) {
        std::vector<uint8_t> edited = bytes;
        edited[i] = uint8_t(byte);
        const auto the = parse_case(std::move(edited), "x");
        if (!the) {
          ++refused;
          continue;
        }
        ++run;
        ASSERT_TRUE(replay(*the, reference_of)) << name << i;
      }
  }
  EXPECT_GT(refused, 2000u);
  EXPECT_GT(run, 200u);
}

}  // namespace
}  // namespace assay::cases
