// The table of keys: what is ignored may hold anything, what is not known must be neutral, and
// numbers mean what llama.cpp's reader makes of them.
#include "model/keys.h"

#include <cmath>

#include "small_file.h"

namespace assay::tests {
namespace {

const char* const every[] = {"llama", "qwen2", "qwen3", "phi3"};

/// All that a wrong key could change of a program beside its weights.
std::string text_of(const op::Program& program) {
  std::string text = std::to_string(program.context) + program.rope_factors;
  for (const op::Operation& operation : program.operations) {
    text += "\n" + operation.name;
    if (const auto* p = operation.as<op::RmsNorm>())
      text += " " + std::to_string(p->eps) + " " + std::to_string(p->parts);
    if (const auto* p = operation.as<op::Attend>())
      text += " " + std::to_string(p->scale) + " " + std::to_string(p->window) + " " +
              std::to_string(p->soft_cap) + " " + std::to_string(p->alibi);
  }
  for (const double frequency : program.rope_tables[0].frequency)
    text += " " + std::to_string(frequency);
  return text + " " + std::to_string(program.rope_tables[0].magnitude);
}

/// A name that a row of the table stands for.
std::string name_of(const model::KeyRow& row) {
  std::string name(row.name);
  if (const size_t star = name.find('*'); star != name.npos) name.replace(star, 1, "some");
  return name;
}

TEST(Keys, AnIgnoredKeyMayHoldAnythingAndChangesNothing) {
  const SmallFile::Value values[] = {7u,
                                     0u,
                                     0.5f,
                                     -INFINITY,
                                     true,
                                     false,
                                     std::string("all"),
                                     std::vector<float>{1, 2},
                                     std::vector<int32_t>{-1, 3}};
  for (const char* architecture : every) {
    const std::string plain = text_of(*Built(SmallFile(architecture)).program);
    for (const model::KeyRow& row : model::common_keys()) {
      // by_trait: none of these four asks for it.
      if (row.use != model::Use::ignored && row.use != model::Use::by_trait) continue;
      for (const auto& value : values) {
        SmallFile small(architecture);
        small.set(name_of(row), value);
        const Built built(small);
        ASSERT_TRUE(built.program) << built.error;
        EXPECT_EQ(text_of(*built.program), plain) << architecture << "." << name_of(row);
      }
    }
  }
}

TEST(Keys, ARowThatIsReadIsReadAndNoOther) {
  // A text is no number, a number no text: the reader notices either.
  for (const model::KeyRow& row : model::common_keys()) {
    if (row.use != model::Use::read || row.name == "vocab_size" || row.name == "rope.scale_linear")
      continue;
    SmallFile text, number;
    text.set(std::string(row.name), std::string("some"));
    number.set(std::string(row.name), 1e30f);
    EXPECT_TRUE(!Built(text).program || !Built(number).program) << row.name;
  }
}

TEST(Keys, OneThatNoTableHasMustBeNeutral) {
  const SmallFile::Value neutral[] = {0u,
                                      0.0f,
                                      false,
                                      std::string(),
                                      std::string("none"),
                                      std::vector<float>{0, 0},
                                      std::vector<int32_t>{},
                                      std::vector<std::string>{"none"}};
  const SmallFile::Value other[] = {1u,
                                    0.5f,
                                    true,
                                    std::string("gelu"),
                                    std::vector<float>{0, 1},
                                    std::vector<int32_t>{2},
                                    std::vector<std::string>{"x"}};
  for (const char* architecture : every) {
    const std::string key = std::string(architecture) + ".attention.new_idea";
    for (const auto& value : neutral) {
      SmallFile small(architecture);
      small.set("attention.new_idea", value);
      EXPECT_TRUE(Built(small).program) << Built(small).error;
    }
    for (const auto& value : other) {
      SmallFile small(architecture);
      small.set("attention.new_idea", value);
      expect_refused(small, {key, "does not implement it"});
    }
  }
  // What multiplies is off at 1.
  SmallFile scale;
  scale.set("new.embedding_multiplier", 1.0f);
  EXPECT_TRUE(Built(scale).program);
  scale.set("new.embedding_multiplier", 12.0f);
  expect_refused(scale, {"llama.new.embedding_multiplier"});
}

TEST(Keys, OfAnotherArchitectureOrNoneMeanNothing) {
  SmallFile small;
  small.keys["qwen3.attention.new_idea"] = 7u;
  small.keys["xielu.beta"] = std::vector<float>(512, 1.0f);
  small.keys["general.new_idea"] = 7u;
  EXPECT_TRUE(Built(small).program);
}

TEST(Keys, AListHasANumberForEachBlockAndTheFirstCounts) {
  for (const char* key : {"attention.head_count", "attention.head_count_kv"}) {
    SmallFile small;
    const int32_t count = std::string(key).ends_with("kv") ? 2 : 4;
    small.set(key, std::vector<int32_t>{count, count});
    EXPECT_TRUE(Built(small).program) << Built(small).error;
    small.set(key, std::vector<int32_t>{count});
    expect_refused(small, {key, "each of 2 blocks"});
    small.set(key, std::vector<int32_t>{-1, count});
    expect_refused(small, {key});
    small.set(key, std::vector<float>{4, 4});
    expect_refused(small, {key});
  }
  SmallFile unequal;
  unequal.set("attention.head_count_kv", std::vector<int32_t>{2, 1});
  expect_refused(unequal, {"llama.attention.head_count_kv differs from block to block"});
  unequal.set("attention.head_count_kv", 2u);
  unequal.set("attention.head_count", std::vector<int32_t>{4, 2});  // here the first counts
  EXPECT_TRUE(Built(unequal).program) << Built(unequal).error;
  SmallFile scalar;
  scalar.set("context_length", std::vector<int32_t>{256, 256});
  expect_refused(scalar, {"context_length"});
}

TEST(Keys, BlocksThatOnlyPredictDoNotRun) {
  SmallFile small;
  small.set("nextn_predict_layers", 1u);
  expect_refused(small, {"blk.1.", "not used"});  // its tensors stand for another model
  std::erase_if(small.tensors, [](const auto& one) { return one.first.starts_with("blk.1."); });
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->layers, 1u);
  small.set("nextn_predict_layers", 2u);
  expect_refused(small, {"nextn_predict_layers is 2, outside 0 to 1"});
}

TEST(Keys, ExpertsMustNotContradictThemselves) {
  SmallFile small("qwen2");
  small.set("expert_used_count", 2u);
  expect_refused(small, {"qwen2.expert_used_count is 2, of 0 experts"});
  small.set("expert_count", 8u);  // the reader of qwen2 does not look further
  EXPECT_TRUE(Built(small).program);
  small.set("expert_used_count", 0u);
  expect_refused(small, {"expert_used_count"});
  SmallFile list;
  list.set("expert_used_count", std::vector<int32_t>{0, 0});
  EXPECT_TRUE(Built(list).program) << Built(list).error;
}

TEST(Keys, ZeroIsRefusedWhereItWouldBeGuessed) {
  for (const char* key : {"attention.key_length", "attention.value_length",
                          "attention.head_count_kv", "rope.dimension_count"}) {
    SmallFile small;
    small.set(key, 0u);
    expect_refused(small, {key, "is 0"});
  }
  SmallFile base;
  base.set("rope.freq_base", 0.0f);
  expect_refused(base, {"rope.freq_base"});
}

TEST(Keys, ATrainedContextBeyondExactAnglesRunsWithASmallerLimit) {
  SmallFile small;
  small.set("context_length", UINT32_MAX);
  expect_refused(small, {"4294967295 positions", "-c sets a smaller limit, 16777216 at most"});
  EXPECT_TRUE(Built(small, 1u << 24).program) << Built(small, 1u << 24).error;
  EXPECT_FALSE(Built(small, (1u << 24) + 1).program);
}

TEST(Keys, AttnFactorMultipliesTheMagnitudeOfEveryScaling) {
  for (const char* type : {"none", "linear", "longrope", "yarn"}) {
    SmallFile small("qwen2");
    small.set("rope.scaling.type", std::string(type));
    small.set("rope.scaling.factor", 4.0f);
    small.set("rope.scaling.attn_factor", 1.5f);
    const Built built(small);
    ASSERT_TRUE(built.program) << built.error;
    const bool yarn = std::string(type) == "yarn";
    EXPECT_NEAR(built.program->rope_tables[0].magnitude,
                1.5 * (yarn ? 1 + 0.1 * std::log(4.0) : 1.0), 1e-12);
    // The first pair is never stretched by yarn; none has no factor.
    EXPECT_EQ(built.program->rope_tables[0].frequency[0],
              yarn || std::string(type) == "none" ? 1.0 : 0.25);
  }
  SmallFile small;
  small.set("rope.scaling.attn_factor", 0.0f);  // 0 is no default: the turned lanes become 0
  const Built built(small);
  ASSERT_TRUE(built.program) << built.error;
  EXPECT_EQ(built.program->rope_tables[0].magnitude, 0.0);
}

TEST(Keys, AWindowIsThatOfEveryLayerUnlessAListSaysOtherwise) {
  for (const char* architecture : every) {
    SmallFile small(architecture);
    small.set("attention.sliding_window", 64u);
    const Built built(small);
    ASSERT_TRUE(built.program) << built.error;
    for (const char* name : {"blk.0.kqv", "blk.1.kqv"}) {
      const op::AttentionShape shape = built.program->attention_of(*find(*built.program, name));
      EXPECT_EQ(shape.window, 64u) << architecture;
      EXPECT_EQ(shape.first_key(63), 0u);  // a query sees itself, too
      EXPECT_EQ(shape.first_key(64), 1u);
    }
    small.set("attention.sliding_window_pattern", std::vector<int32_t>{0, 1});
    const Built listed(small);
    ASSERT_TRUE(listed.program) << listed.error;
    EXPECT_EQ(find(*listed.program, "blk.0.kqv")->as<op::Attend>()->window, 0u);
    EXPECT_EQ(find(*listed.program, "blk.1.kqv")->as<op::Attend>()->window, 64u);
    small.set("attention.sliding_window_pattern", std::vector<int32_t>{0, 1, 0});
    expect_refused(small, {"attention.sliding_window_pattern", "each of 2 blocks"});
    small.set("attention.sliding_window_pattern", std::vector<int32_t>{0, 2});
    expect_refused(small, {"attention.sliding_window_pattern is 2, outside 0 to 1"});
    small.set("attention.sliding_window", 0u);
    EXPECT_EQ(find(*Built(small).program, "blk.1.kqv")->as<op::Attend>()->window, 0u);
  }
}

TEST(Keys, ARemarkSaysWhereLlamaCppSwitchesAWindowOff) {
  SmallFile small("phi3");
  EXPECT_TRUE(model::remarks(*Built(small).file).empty());
  small.set("attention.sliding_window", 64u);
  const auto remarks = model::remarks(*Built(small).file);
  ASSERT_EQ(remarks.size(), 1u);
  EXPECT_NE(remarks[0].find("phi3.attention.sliding_window is 64"), std::string::npos);
  EXPECT_NE(remarks[0].find("llama.cpp"), std::string::npos);
  small.set("attention.sliding_window", 256u);  // no context needs it
  EXPECT_TRUE(model::remarks(*Built(small).file).empty());
}

TEST(Keys, TheVocabularysSizeCountsOnlyWithoutTokens) {
  SmallFile small("phi3");
  small.set("vocab_size", 41u);
  expect_refused(small, {"phi3.vocab_size", "40"});
  for (int i = 0; i < 40; ++i) small.tokens.push_back(std::to_string(i));
  EXPECT_TRUE(Built(small).program);
}

}  // namespace
}  // namespace assay::tests
