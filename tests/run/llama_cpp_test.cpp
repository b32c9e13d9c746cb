// Against llama.cpp's own logits on the default model: 8 prompts, the 20 best logits of each
// position.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <fstream>

#include "support/default_model.h"
#include "text/tokenizer.h"
#include "trace/statistics.h"

namespace assay {
namespace {

using nlohmann::json;

class LlamaCpp : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSAY_NEEDS_MODEL();
    std::ifstream file(testing::shared_data() / "llama_cpp_smollm2.json");
    if (!file) GTEST_SKIP() << "the shared data is not there: " << testing::shared_data();
    cases_ = json::parse(file)["cases"];
    ASSERT_EQ(cases_.size(), 8u);
  }

  struct Divergence {
    double mean = 0, worst = 0;
    int positions = 0;
  };

  /// KL(p‖q) in nats: p = softmax of llama.cpp's 20 logits, q = softmax of ours at the same ids.
  static double divergence(const json& position, const float* ours) {
    const auto ids = position["ids"].get<std::vector<int>>();
    const auto theirs = position["logits"].get<std::vector<double>>();
    double max_p = -1e30, max_q = -1e30, sum_p = 0, sum_q = 0, kl = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      max_p = std::max(max_p, theirs[i]);
      max_q = std::max(max_q, double(ours[ids[i]]));
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      sum_p += std::exp(theirs[i] - max_p);
      sum_q += std::exp(ours[ids[i]] - max_q);
    }
    for (size_t i = 0; i < ids.size(); ++i) {
      const double log_p = theirs[i] - max_p - std::log(sum_p);
      const double log_q = ours[ids[i]] - max_q - std::log(sum_q);
      kl += std::exp(log_p) * (log_p - log_q);
    }
    return kl;
  }

  /// Runs every prompt; also wants the same best token wherever llama.cpp's lead is above 1.
  Divergence compare(const std::string& device) {
    auto session = testing::open_default(device);
    const uint32_t vocabulary = session.program().vocabulary;
    Divergence total;
    for (const json& one : cases_) {
      const auto tokens = one["tokens"].get<std::vector<int32_t>>();
      session.truncate(0, 0);
      const auto logits = testing::all_logits(session, tokens);
      for (size_t t = 0; t < tokens.size(); ++t) {
        const json& position = one["positions"][t];
        const float* ours = logits.data() + t * vocabulary;
        const double kl = divergence(position, ours);
        total.mean += kl;
        total.worst = !(kl <= total.worst) ? kl : total.worst;  // a NaN stays
        ++total.positions;
        if (position["logits"][0].get<double>() - position["logits"][1].get<double>() > 1.0) {
          EXPECT_EQ(trace::top({ours, vocabulary}, 1)[0].id, position["ids"][0].get<int>())
              << one["prompt"] << " position " << t;
        }
      }
    }
    total.mean /= total.positions;
    std::printf("%s: KL over %d positions: mean %.2e, worst %.2e\n", device.c_str(),
                total.positions, total.mean, total.worst);
    return total;
  }

  json cases_;
};

TEST_F(LlamaCpp, TokenIdsAreEqual) {
  const auto file = gguf::File::open(testing::default_model().string());
  ASSERT_TRUE(file);
  const auto tokenizer = text::Tokenizer::open(*file);
  ASSERT_TRUE(tokenizer);
  for (const json& one : cases_)
    EXPECT_EQ(tokenizer->encode(one["prompt"].get<std::string>()),
              one["tokens"].get<std::vector<int32_t>>())
        << one["prompt"];
}

// Limits from the plan: what llama.cpp's int8 activations cost against exact arithmetic on this
// model is about 4.5e-3 in the mean (docs/numbers.md); a wrong operation is far above.
TEST_F(LlamaCpp, ReferenceDivergenceIsSmall) {
  const Divergence kl = compare("reference");
  EXPECT_LE(kl.mean, 6e-3);
  EXPECT_LE(kl.worst, 5e-2);
}

TEST_F(LlamaCpp, CpuDivergenceIsSmall) {
  const Divergence kl = compare("cpu");
  EXPECT_LE(kl.mean, 1e-2);
}

// Two correct engines part where two logits nearly tie: the split is reported with llama.cpp's gap
// there, and must not happen where the gap is above 1.
TEST_F(LlamaCpp, GreedySplitsOnlyAtSmallGaps) {
  auto session = testing::open_default();
  for (const json& one : cases_) {
    const auto greedy = one["greedy"].get<std::vector<int32_t>>();
    const auto gaps = one["greedy_gaps"].get<std::vector<double>>();
    session.truncate(0, 0);
    auto logits =
        session.feed(0, one["tokens"].get<std::vector<int32_t>>(), run::Session::Wanted::last);
    size_t same = 0;
    for (; same < greedy.size(); ++same) {
      ASSERT_TRUE(logits);
      if (trace::top(*logits, 1)[0].id != greedy[same]) break;
      logits = session.feed(0, {&greedy[same], 1}, run::Session::Wanted::last);
    }
    if (same == greedy.size()) {
      std::printf("%s: all %zu greedy tokens equal\n", one["prompt"].dump().c_str(), same);
    } else {
      std::printf("%s: splits after %zu of %zu tokens, gap %.3f\n", one["prompt"].dump().c_str(),
                  same, greedy.size(), gaps[same]);
      EXPECT_LE(gaps[same], 1.0);
    }
  }
}

}  // namespace
}  // namespace assay
