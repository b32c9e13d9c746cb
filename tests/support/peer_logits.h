// Another engine's logits, kept as JSON (the 20 best of each position), and how far ours are from
// them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "support/default_model.h"
#include "trace/statistics.h"

namespace assay::testing {

struct Divergence {
  double mean = 0, worst = 0;
  int positions = 0;
};

/// KL(p‖q) in nats: p = softmax of the peer's 20 logits, q = softmax of ours at the same ids.
inline double divergence(const nlohmann::json& position, const float* ours) {
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

/// Runs every case's tokens; also wants the same best token wherever the peer's lead is above 1.
inline Divergence compare_logits(run::Engine& engine, const nlohmann::json& cases) {
  const uint32_t vocabulary = engine.program().vocabulary;
  Divergence total;
  for (const auto& one : cases) {
    const auto tokens = one["tokens"].get<std::vector<int32_t>>();
    const auto logits = all_logits(engine, tokens);
    for (size_t t = 0; t < tokens.size(); ++t) {
      const auto& position = one["positions"][t];
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
  std::printf("%s: KL over %d positions: mean %.2e, worst %.2e\n",
              std::string(engine.executor().device()).c_str(), total.positions, total.mean,
              total.worst);
  return total;
}

/// Two correct engines part where two logits nearly tie: the split is reported with the peer's gap
/// there, and must not happen where the gap is above 1.
inline void expect_splits_at_small_gaps(run::Engine& engine, const nlohmann::json& cases) {
  for (const auto& one : cases) {
    const auto greedy = one["greedy"].get<std::vector<int32_t>>();
    const auto gaps = one["greedy_gaps"].get<std::vector<double>>();
    run::Sequence sequence = start(engine);
    auto logits =
        engine.feed(sequence, one["tokens"].get<std::vector<int32_t>>(), run::Wanted::last);
    size_t same = 0;
    for (; same < greedy.size(); ++same) {
      ASSERT_TRUE(logits);
      if (trace::top(*logits, 1)[0].id != greedy[same]) break;
      logits = engine.feed(sequence, {&greedy[same], 1}, run::Wanted::last);
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

}  // namespace assay::testing
