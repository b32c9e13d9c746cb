// Every fault, at places and with parameters drawn from seeds: the first output with other bits is
// the one that the fault names, and the judge fails that operation and none before it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <map>

#include "fault/harness.h"
#include "fault/seeded.h"
#include "support/architecture_file.h"
#include "trace/statistics.h"

namespace assay::fault {
namespace {

// 22 = 2 mod 4, 6 mod 8: no whole tiles, no whole chunk of keys.
constexpr size_t prompt_tokens = 22, decode_tokens = 3;

uint64_t seeds() {
  const char* slow = std::getenv("ASSAY_SLOW");
  return slow && *slow == '1' ? 12 : 3;
}

const std::vector<tests::Tokens>& steps() {
  static const auto made = script(
      {kjv().tokens.begin(), kjv().tokens.begin() + prompt_tokens + decode_tokens}, prompt_tokens);
  return made;
}

const op::Program& loud() {
  static const Loud model(kjv().program, 2, 1e5f);
  return model.program();
}
const op::Program& program_for(const Fault& fault) {
  return fault.needs().large_values ? loud() : kjv().program;
}

const Outputs& faultless_loud() {
  static const Outputs outputs = run(loud(), {}, steps());
  return outputs;
}
const Outputs& faultless(const op::Program& program) {
  if (&program != &kjv().program) return faultless_loud();
  static const Outputs outputs = run(kjv().program, {}, steps());
  return outputs;
}

/// A run of a model without a fault: a prompt of this many tokens, then decoding.
struct Plain {
  std::vector<tests::Tokens> steps;
  Outputs outputs;
};
const Plain& plain(const op::Program& program, uint32_t prompt) {
  static std::map<std::pair<const op::Program*, uint32_t>, Plain> all;
  Plain& one = all[{&program, prompt}];
  if (!one.steps.empty()) return one;
  one.steps = script(tests::token_ids(prompt + decode_tokens, program.vocabulary, 3), prompt);
  if (prompt == prompt_tokens && &program != &mixed_program()) one.steps = steps();
  one.outputs = run(program, {}, one.steps);
  return one;
}

size_t index_of(const op::Program& program, const std::string& name) {
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (program.operations[i].name == name) return i;
  return program.operations.size();
}

class Sweep : public ::testing::TestWithParam<std::string_view> {};

TEST_P(Sweep, ChangesTheOperationThatItNamesFirst) {
  for (uint64_t seed = 1; seed <= seeds(); ++seed) {
    const auto [program, fault, prompt] = seeded(GetParam(), seed, kjv().program, prompt_tokens);
    SCOPED_TRACE("seed " + std::to_string(seed) + ": " + fault.text());
    const Needs needs = fault.needs();
    ASSERT_LE(needs.decode_steps, decode_tokens);
    const Plain& right = plain(program, prompt);
    const Outputs outputs = run(program, {}, right.steps, fault);
    const auto where = first_difference(right.outputs, outputs);
    ASSERT_TRUE(where) << "nothing changed";
    EXPECT_EQ(program.operations[where->operation].name, fault.expected_operation(program));
    EXPECT_EQ(where->step, needs.decode_steps);
    const auto errors = replayed(program, {}, right.steps, outputs, where);
    std::printf("seed %llu: %s -> %s, step %zu; cause %s; %s\n",
                static_cast<unsigned long long>(seed), fault.text().c_str(),
                fault.expected_operation(program).c_str(), where->step,
                fault.expected_cause().c_str(), describe(errors[where->operation]).c_str());
    EXPECT_EQ(failures(errors), errors[where->operation].failures)
        << "an operation before it fails";
    // Another order of a sum is no fault.
    EXPECT_EQ(errors[where->operation].failures > 0, fault.bug != Bug::sum_order);
  }
}

INSTANTIATE_TEST_SUITE_P(Faults, Sweep, ::testing::ValuesIn(names()), [](const auto& tested) {
  std::string name(tested.param);
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

/// The model that has every kind of operation: without a fault the judge has nothing to say, and all
/// faults that it can have are named.
TEST(MixedSweep, ChangesTheOperationThatItNamesFirst) {
  const op::Program& program = mixed_program();
  int drawn_faults = 0;
  for (const uint32_t prompt : {22u, 90u})
    for (const auto& error :
         replayed(program, {}, plain(program, prompt).steps, plain(program, prompt).outputs))
      EXPECT_EQ(error.failures, 0u) << describe(error);
  for (const std::string_view name : names())
    for (uint64_t seed = 1; seed <= 2 * seeds(); ++seed) {
      const auto fault = draw(name, seed, program);
      if (!fault || fault->needs().large_values) continue;
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + fault->text());
      ++drawn_faults;
      const Plain& right = plain(program, fault->needs().tokens > 22 ? 90 : 22);
      const Outputs outputs = run(program, {}, right.steps, *fault);
      const auto where = first_difference(right.outputs, outputs);
      ASSERT_TRUE(where) << "nothing changed";
      EXPECT_EQ(program.operations[where->operation].name, fault->expected_operation(program));
      const auto errors = replayed(program, {}, right.steps, outputs, where);
      EXPECT_EQ(failures(errors), errors[where->operation].failures)
          << "an operation before it fails";
      EXPECT_EQ(errors[where->operation].failures > 0, fault->bug != Bug::sum_order)
          << describe(errors[where->operation]);
    }
  EXPECT_GT(drawn_faults, 500);
}

/// Faults that any model can have, on random weights of other shapes.
TEST(TinySweep, ChangesTheOperationThatItNamesFirst) {
  int drawn_faults = 0;
  for (const uint32_t type : {0u, 1u, 8u})
    for (const std::string_view name : names()) {
      tests::Shape shape;
      shape.type = type;
      shape.adjacent = type != 1;
      const tests::TinyModel model(shape);
      const auto fault = draw(name, 7 + type, model.program);
      if (!fault || fault->needs().large_values || fault->needs().tokens > 22) continue;
      SCOPED_TRACE("type " + std::to_string(type) + ": " + fault->text());
      ++drawn_faults;
      const auto tiny_steps = script(tests::token_ids(25, model.program.vocabulary, 3), 22);
      const Outputs outputs = run(model.program, {}, tiny_steps, *fault);
      const auto where = first_difference(run(model.program, {}, tiny_steps), outputs);
      ASSERT_TRUE(where) << "nothing changed";
      EXPECT_EQ(model.program.operations[where->operation].name,
                fault->expected_operation(model.program));
      const auto errors = replayed(model.program, {}, tiny_steps, outputs, where);
      EXPECT_EQ(errors[where->operation].failures > 0, fault->bug != Bug::sum_order)
          << describe(errors[where->operation]);
    }
  EXPECT_GT(drawn_faults, 3 * 40);
}

double relative_difference(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(double(a[i]) - b[i], 2);
    size += std::pow(double(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

/// Rows 13 and 28: other bits, the same model.
TEST(Benign, LogitsStayWhereTheyAre) {
  const Outputs& plain = faultless(kjv().program);
  const auto difference = [&](const char* text) {
    const Outputs outputs = run(kjv().program, {}, steps(), *parse_fault(text));
    EXPECT_TRUE(first_difference(plain, outputs)) << text;
    const double found = relative_difference(outputs[0].back(), plain[0].back());
    std::printf("%s: logits differ by %.2e\n", text, found);
    return found;
  };
  // Keys are rounded to f16 after another rotation; activations are rounded to 8 bits or are not.
  // A rounding that falls the other way moves a code by a whole unit, 1/127 of its 32's maximum.
  EXPECT_LT(difference("position-shifted"), 0.02);
  EXPECT_LT(difference("contract-f32"), 0.05);
  EXPECT_LT(difference("sum-order"), 0.02);
  EXPECT_GT(difference("position-off-by-one"), 0.05);
}

TEST(Benign, TheOtherContractPassesAsWhatItIs) {
  const Fault fault = *parse_fault("contract-f32");
  const Outputs outputs = run(kjv().program, {}, steps(), fault);
  op::ExecutorOptions as_f32;
  as_f32.contract = op::Contract::f32;
  EXPECT_EQ(failures(replayed(kjv().program, as_f32, steps(), outputs)), 0u);
  EXPECT_GT(failures(replayed(kjv().program, {}, steps(), outputs)), 0u);
}

/// Row 18's signature, and row 19's: what a judge sees first is a value that is no number.
TEST(NotFinite, FaultsOfRows18And19MakeValuesThatAreNotFinite) {
  for (const char* text :
       {"softmax-nan:at=blk.1.kqv", "softmax-infinite:at=blk.1.kqv", "f16-overflow:at=blk.2.up"}) {
    const Fault fault = *parse_fault(text);
    const op::Program& program = program_for(fault);
    const Outputs outputs = run(program, {}, steps(), fault);
    const size_t i = index_of(program, fault.expected_operation(program));
    const auto& bad = outputs[0][i];
    const auto not_finite =
        std::count_if(bad.begin(), bad.end(), [](float x) { return !std::isfinite(x); });
    EXPECT_GT(not_finite, 0) << text;
    if (fault.bug != Bug::f16_overflow) continue;
    for (size_t j = 0; j < bad.size(); ++j)  // 65520 and above round to infinity
      EXPECT_EQ(std::isfinite(bad[j]), std::fabs(faultless(program)[0][i][j]) < 65520.0f);
  }
}

/// The same on small models of other architectures: norms per head, half pairing, RoPE of a part
/// of each head, fused matrices.
class ArchitectureSweep : public ::testing::TestWithParam<const char*> {};

TEST_P(ArchitectureSweep, ChangesTheOperationThatItNamesFirst) {
  const assay::testing::ArchitectureProgram model(GetParam());
  const op::Program& program = model.program;
  const auto small_steps = script(tests::token_ids(25, program.vocabulary, 3), 22);
  const Outputs right = run(program, {}, small_steps);
  EXPECT_EQ(failures(replayed(program, {}, small_steps, right)), 0u);
  int drawn_faults = 0;
  for (const std::string_view name : names())
    for (uint64_t seed = 1; seed <= seeds(); ++seed) {
      const auto fault = draw(name, seed, program);
      if (!fault || fault->needs().large_values || fault->needs().tokens > 22) continue;
      SCOPED_TRACE("seed " + std::to_string(seed) + ": " + fault->text());
      ++drawn_faults;
      const Outputs outputs = run(program, {}, small_steps, *fault);
      const auto where = first_difference(right, outputs);
      ASSERT_TRUE(where) << "nothing changed";
      EXPECT_EQ(program.operations[where->operation].name, fault->expected_operation(program));
      const auto errors = replayed(program, {}, small_steps, outputs, where);
      EXPECT_EQ(failures(errors), errors[where->operation].failures)
          << "an operation before it fails";
      EXPECT_EQ(errors[where->operation].failures > 0, fault->bug != Bug::sum_order)
          << describe(errors[where->operation]);
    }
  EXPECT_GT(drawn_faults, 40);
}

INSTANTIATE_TEST_SUITE_P(Architecture, ArchitectureSweep, ::testing::Values("qwen3", "phi3"),
                         [](const auto& tested) { return std::string(tested.param); });

}  // namespace
}  // namespace assay::fault
