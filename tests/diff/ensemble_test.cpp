// What correct runs give: correct traces lie inside whatever their contract, and one wrong layer is
// the first outside, with statistics alone.
#include "diff/ensemble.h"

#include "diff/support.h"

namespace assay::diff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const Ensemble& of_eight() {
  static const Ensemble ensemble = correct_ensemble(kjv_program(), eight, 8, 1);
  return ensemble;
}

trace::TokenLines lines_of(const Result<trace::Trace>& trace) {
  if (!trace) throw std::runtime_error(trace.error().message);
  const auto lines = trace::token_lines(kjv_program(), *trace);
  if (!lines) throw std::runtime_error(lines.error().message);
  return *lines;
}

Recording doubled(const std::string& name, bool statistics, uint64_t token) {
  return {.alter =
              [name, token](const op::Operation& operation, std::vector<float>& out) {
                if (operation.name != name) return;
                const size_t width = out.size() / eight.size();
                for (size_t i = 0; i < width; ++i) out[token * width + i] *= 2;
              },
          .statistics = statistics};
}

TEST(Ensemble, CorrectRunsOfEveryContractLieInside) {
  EXPECT_EQ(of_eight().runs, 8u);
  op::ExecutorOptions f32, wide;
  f32.contract = op::Contract::f32;
  wide.cache = op::CacheType::f32;
  for (const auto& options : {op::ExecutorOptions{}, f32, wide})
    for (const bool statistics : {false, true}) {
      const Growth growth = judge_growth(
          kjv_program(), lines_of(record({.statistics = statistics}, open_kjv("cpu", options))),
          of_eight());
      EXPECT_FALSE(growth.first) << growth.sentence;
      EXPECT_THAT(growth.sentence, StartsWith("normal: growth of "));
      // 100 operations, of which 6 store keys and values, and 8 tokens.
      EXPECT_EQ(growth.rows, 94u * 8);
      ASSERT_EQ(growth.layers.size(), kjv_program().layers);
      for (size_t i = 0; i < growth.layers.size(); ++i)
        EXPECT_TRUE(of_eight().growth[i].holds(growth.layers[i]));
    }
}

TEST(Ensemble, RangesAreNarrowEnoughToSeeAFifth) {
  for (const auto& layer : of_eight().rms)
    for (const Range& range : layer) EXPECT_LT(range.high, 1.2 * range.low);
}

TEST(Ensemble, TheFirstWrongRowIsNamed) {
  for (const bool statistics : {false, true})
    for (const char* name : {"embd", "blk.0.q", "blk.3.kqv", "blk.5.out", "logits"}) {
      const Growth growth =
          judge_growth(kjv_program(), lines_of(record(doubled(name, statistics, 6))), of_eight());
      ASSERT_TRUE(growth.first) << name;
      EXPECT_EQ(kjv_program().operations[growth.first->operation].name, name);
      EXPECT_EQ(growth.first->token, 6u);
      EXPECT_THAT(growth.sentence, StartsWith("first layer outside the ensemble: "));
      EXPECT_THAT(growth.sentence, HasSubstr("@ token 6: "));
    }
}

TEST(Ensemble, OneTokenGetsMoreRuns) {
  const Ensemble one = correct_ensemble(kjv_program(), std::span(eight).first(1), 8, 1);
  EXPECT_EQ(one.runs, 64u);
  const auto lines = lines_of(record({.tokens = {eight[0]}}));
  EXPECT_FALSE(judge_growth(kjv_program(), lines, one).first);
}

TEST(Ensemble, TwoTracesPartWhereOneIsWrongAndNotBefore) {
  const auto right = lines_of(record({}));
  const Partings same = judge_parting(kjv_program(), right, right, of_eight());
  EXPECT_FALSE(same.first);
  EXPECT_EQ(same.rows, 94u * 8);
  const auto wrong = lines_of(record(doubled("blk.2.up", true, 1)));
  const Partings apart = judge_parting(kjv_program(), wrong, right, of_eight());
  ASSERT_TRUE(apart.first);
  EXPECT_EQ(kjv_program().operations[apart.first->operation].name, "blk.2.up");
  EXPECT_EQ(apart.first->token, 1u);
  EXPECT_DOUBLE_EQ(apart.first->a / apart.first->b, 2.0);
  EXPECT_THAT(apart.sentence, StartsWith("a and b part first at blk.2.up @ token 1"));
}

TEST(Ensemble, NoRowsIsNotNormal) {
  const Growth growth = judge_growth(kjv_program(), {}, of_eight());
  EXPECT_THAT(growth.sentence, StartsWith("cannot tell"));
  EXPECT_THAT(judge_parting(kjv_program(), {}, {}, of_eight()).sentence, StartsWith("cannot tell"));
}

}  // namespace
}  // namespace assay::diff
