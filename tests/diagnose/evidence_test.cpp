// What is a cause, and what is only a place: results that were altered after they were computed.
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <map>
#include <random>

#include "diagnose/diagnose.h"
#include "diff/support.h"
#include "judge/formulas.h"
#include "judge/product.h"

namespace assay::diagnose {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t seeds = 4;

/// A result of (tokens, width) that may be altered.
struct Altered {
  std::vector<float>& data;
  size_t tokens, width;
  float& at(size_t t, size_t i) { return data[t * width + i]; }
};
using Alter = std::function<void(Altered&)>;

diff::Report report_of(const diff::Recording& how) {
  const auto trace = diff::record(how);
  if (!trace) throw std::runtime_error(trace.error().message);
  auto report = diff::judge_alone(diff::kjv_program(), *trace);
  if (!report) throw std::runtime_error(report.error().message);
  if (const auto done = explain(diff::kjv_program(), *trace, *trace, *report); !done)
    throw std::runtime_error(done.error().message);
  return std::move(*report);
}

diff::Report report_of(const std::string& name, const Alter& alter,
                       std::vector<int32_t> tokens = diff::eight) {
  const size_t count = tokens.size();
  diff::Recording how;
  how.tokens = std::move(tokens);
  how.alter = [&](const op::Operation& operation, std::vector<float>& out) {
    if (operation.name != name) return;
    Altered result{out, count, out.size() / count};
    alter(result);
  };
  return report_of(how);
}

std::string cause_of(const diff::Report& report) {
  return report.cause ? report.cause->id : "none";
}

TEST(Evidence, APlaceAloneIsNoCause) {
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal;
    // One row among the last, in all tokens; the last tokens; single elements.
    const auto row = report_of("blk.1.down", [&](Altered& y) {
      for (size_t t = 0; t < y.tokens; ++t) y.at(t, y.width - 1 - seed) += normal(random);
    });
    EXPECT_EQ(cause_of(row), "unknown") << row.cause->evidence;
    EXPECT_THAT(row.first->where, HasSubstr("channel " + std::to_string(255 - seed)));
    const auto last = report_of("blk.1.down", [&](Altered& y) {
      for (size_t t = 6; t < 8; ++t)
        for (size_t i = 0; i < y.width; ++i) y.at(t, i) += normal(random);
    });
    EXPECT_EQ(cause_of(last), "unknown") << last.cause->evidence;
    EXPECT_EQ(last.first->where, "tokens 6 to 7, all channels");
    const auto one = report_of("blk.2.kqv", [&](Altered& y) { y.at(7, 3 * seed) *= 1.337f; });
    EXPECT_EQ(cause_of(one), "unknown") << one.cause->evidence;
  }
}

TEST(Evidence, AFactorIsNamedWithItsPlace) {
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const auto head = report_of("blk.1.q_rope", [&](Altered& y) {
      for (size_t t = 0; t < y.tokens; ++t)
        for (size_t i = 64 * seed; i < 64 * seed + 64; ++i) y.at(t, i) *= 1.1f;
    });
    EXPECT_EQ(cause_of(head), "scaled") << head.cause->evidence;
    EXPECT_EQ(head.first->where, "all tokens, head " + std::to_string(seed) + " of 4, × 1.1");
    const auto token = report_of("blk.2.ffn_norm", [&](Altered& y) {
      for (size_t i = 0; i < y.width; ++i) y.at(seed, i) *= 1.1f;
    });
    EXPECT_EQ(cause_of(token), "token-scale") << token.cause->evidence;
    EXPECT_GT(token.cause->confidence, 0.9);
    const auto zero = report_of("blk.3.gate", [&](Altered& y) {
      for (size_t i = 0; i < y.width; ++i) y.at(seed, i) = 0;
    });
    EXPECT_EQ(cause_of(zero), "rows-not-written") << zero.cause->evidence;
    EXPECT_EQ(zero.first->where, "token " + std::to_string(seed) + ", all channels, zero");
  }
}

TEST(Evidence, ZerosOfAnyProductAreNotWritten) {
  // Scales of f16 read as bf16 make nearly nothing of it: that is not zero.
  for (const char* name :
       {"blk.0.q", "blk.0.k", "blk.0.v", "blk.0.attn_out", "blk.0.gate", "blk.0.up", "blk.0.down",
        "blk.1.q", "blk.1.v", "blk.2.down", "blk.3.attn_out"}) {
    const auto rows = report_of(name, [&](Altered& y) {
      for (size_t t = 0; t < y.tokens; ++t)
        for (size_t i = 16; i < 32; ++i) y.at(t, i) = 0;
    });
    EXPECT_EQ(cause_of(rows), "rows-not-written") << name << ": " << rows.cause->evidence;
    EXPECT_THAT(rows.first->where, HasSubstr("channels 16 to 31"));
  }
}

TEST(Evidence, ZerosOfAnyOperationAreNotWritten) {
  // No clip at 0, and no page of zeros: nothing was written, which is simpler.
  for (const char* name : {"embd", "blk.0.attn_norm", "blk.1.v", "blk.1.q_rope", "blk.2.kqv",
                           "blk.2.act", "blk.3.out"}) {
    const auto report =
        report_of(name, [](Altered& y) { std::fill(y.data.begin(), y.data.end(), 0.0f); });
    EXPECT_EQ(cause_of(report), "rows-not-written") << name << ": " << report.cause->evidence;
    EXPECT_EQ(report.first->operation, name);
    EXPECT_THAT(report.cause->ties, ::testing::Not(::testing::Contains("clipped"))) << name;
    if (std::string_view(name) == "blk.2.kqv") {
      EXPECT_THAT(report.cause->ties, ::testing::Contains("kv-page"));
    }
  }
}

/// A model's attention in layer 2, as an engine may have it: step by step, from what the layer gave it.
class Attention {
 public:
  using Weights =
      std::function<void(uint32_t token, const judge::Attended& head, std::vector<double>&)>;

  /// What the cache holds may be altered, and the weights e^(s − max s).
  std::function<void(judge::Cache&)> cache = [](judge::Cache&) {};
  Weights weights = [](uint32_t, const judge::Attended&, std::vector<double>&) {};
  /// What is altered of a step that was computed so.
  std::function<void(uint32_t step, Altered&)> after = [](uint32_t, Altered&) {};

  diff::Report report(uint32_t decode = 0) {
    diff::Recording how;
    how.decode = decode;
    how.alter = [&](const op::Operation& operation, std::vector<float>& out) {
      const std::vector<double> values(out.begin(), out.end());
      if (operation.name == "blk.2.q_rope") queries_ = values;
      if (operation.name == "blk.2.k_rope") append(held_.keys, values);
      if (operation.name == "blk.2.v") append(held_.values, values);
      if (operation.name == "blk.2.kqv") attend(operation, out);
    };
    return report_of(how);
  }

 private:
  void append(auto& rows, const std::vector<double>& values) {
    const size_t width = 128;  // two KV heads of 64
    for (size_t at = 0; at < values.size(); at += width) {
      std::vector<double> row(values.begin() + std::ptrdiff_t(at),
                              values.begin() + std::ptrdiff_t(at + width));
      for (double& value : row) value = judge::round_to_f16(value);
      rows.push_back(std::move(row));
    }
  }

  void attend(const op::Operation& operation, std::vector<float>& out) {
    const op::AttentionShape shape = diff::kjv_program().attention_of(operation);
    judge::Cache seen = held_;
    cache(seen);
    const size_t width = size_t(shape.heads) * shape.value_dim, tokens = out.size() / width;
    for (size_t t = 0; t < tokens; ++t)
      for (uint32_t h = 0; h < shape.heads; ++h) {
        const uint32_t position = uint32_t(held_.keys.size() - tokens + t);
        const std::span query(&queries_[t * width + size_t(h) * shape.key_dim], shape.key_dim);
        const judge::Attended head = judge::attend(query, seen, position, h, shape);
        std::vector<double> p = head.probability;
        for (double& weight : p) weight /= *std::ranges::max_element(head.probability);
        weights(position, head, p);
        double sum = 0;
        for (const double weight : p) sum += weight;
        for (uint32_t i = 0; i < shape.value_dim; ++i) {
          double y = 0;
          for (size_t j = 0; j < p.size(); ++j)
            y += p[j] / sum *
                 seen.values[j][size_t(h / (shape.heads / shape.kv_heads)) * shape.value_dim + i];
          out[t * width + size_t(h) * shape.value_dim + i] = float(y);
        }
      }
    Altered result{out, tokens, width};
    after(step_++, result);
  }

  judge::Cache held_;
  std::vector<double> queries_;
  uint32_t step_ = 0;
};

TEST(Evidence, AttentionComputedHereIsRight) {
  EXPECT_EQ(Attention().report(2).verdict, diff::Verdict::pass);
}

TEST(Evidence, APageOfTheCacheLasts) {
  // One key is another one's: so it is in the steps that follow.
  const auto page = [](judge::Cache& cache) { cache.keys[7] = cache.keys[3]; };
  Attention lasting;
  lasting.cache = page;
  const auto report = lasting.report(2);
  EXPECT_EQ(report.first->operation, "blk.2.kqv");
  EXPECT_EQ(cause_of(report), "kv-page") << report.cause->evidence;
  EXPECT_THAT(report.cause->evidence, HasSubstr("keys of position 7 hold those of position 3"));
  // One token's scores say the same in the first step; the second has errors that no page makes.
  for (const auto& altered : {std::function(page), std::function([](judge::Cache& cache) {
                                // A key that is not seen weighs nothing.
                                if (cache.keys.size() == 8)
                                  for (double& x : cache.keys[7]) x *= 0;
                              })}) {
    Attention once;
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    once.cache = altered;
    once.after = [&](uint32_t step, Altered& y) {
      if (step > 0)
        for (float& x : y.data) x += 0.1f * normal(random);
    };
    const auto other = once.report(1);
    EXPECT_EQ(other.first->operation, "blk.2.kqv");
    EXPECT_EQ(cause_of(other), "unknown") << other.cause->evidence;
  }
}

TEST(Evidence, PartsThatAreNotRescaledAreNamed) {
  // Parts of four keys, each from the greatest score so far; what was summed before is not rescaled.
  Attention attention;
  attention.weights = [](uint32_t, const judge::Attended& head, std::vector<double>& p) {
    double most = -INFINITY;
    for (size_t j = 0; j < p.size(); ++j) {
      if (j % 4 == 0)
        for (size_t k = j; k < std::min(j + 4, p.size()); ++k) most = std::max(most, head.score[k]);
      p[j] = std::exp(head.score[j] - most);
    }
  };
  const auto report = attention.report(2);
  EXPECT_EQ(cause_of(report), "attention-path") << report.cause->evidence;
  EXPECT_THAT(report.cause->evidence, HasSubstr("parts of 4 keys"));
}

TEST(Evidence, AWideBoundIsNoF16) {
  // e^x as (1 + x/256)^256 lies within what attention in f16 may be off, and is none.
  Attention approximated;
  approximated.weights = [](uint32_t, const judge::Attended&, std::vector<double>& p) {
    for (double& weight : p) weight = std::pow(std::max(0.0, 1 + std::log(weight) / 256), 256);
  };
  const auto report = approximated.report(1);
  EXPECT_EQ(report.first->operation, "blk.2.kqv");
  EXPECT_EQ(cause_of(report), "unknown") << report.cause->evidence;
  // Scores that are kept as f16 are named.
  Attention halves;
  halves.weights = [](uint32_t, const judge::Attended& head, std::vector<double>& p) {
    for (size_t j = 0; j < p.size(); ++j) p[j] = std::exp(judge::round_to_f16(head.score[j]));
  };
  const auto named = halves.report(1);
  EXPECT_EQ(named.first->operation, "blk.2.kqv");
  EXPECT_EQ(cause_of(named), "f16-attention") << named.cause->evidence;
}

TEST(Evidence, AnExponentialIsFittedToManyElements) {
  // One element that is a little off, or a whole token's, show no formula; many tokens' do.
  for (const size_t tokens : {0u, 1u, 8u}) {
    std::map<std::string, std::vector<float>> seen;
    diff::Recording how;
    how.alter = [&](const op::Operation& operation, std::vector<float>& out) {
      seen[operation.name] = out;
      if (operation.name != "blk.1.act") return;
      const auto &gate = seen["blk.1.gate"], &up = seen["blk.1.up"];
      const auto altered = [&](size_t i) {
        const double x = double(gate[i]), e = std::exp(-x) * (1 - 1e-4 * x);
        return float(x / (1 + e) * double(up[i]));
      };
      const auto least = size_t(std::ranges::min_element(gate) - gate.begin());
      if (tokens == 0) out[least] = altered(least);
      for (size_t i = 0; i < out.size() / 8 * tokens; ++i)
        if (gate[i] < -0.5f) out[i] = altered(i);
    };
    const auto report = report_of(how);
    EXPECT_EQ(report.first->operation, "blk.1.act");
    EXPECT_EQ(cause_of(report), tokens == 8 ? "fast-math" : "unknown")
        << tokens << ": " << report.cause->evidence;
  }
}

TEST(Evidence, APathForManyTokensIsOfAllOfThem) {
  // The last 32 columns are lost in the step of eight tokens: of all of them, or of one.
  for (const size_t tokens : {8u, 1u}) {
    std::vector<float> given;
    diff::Recording how;
    how.decode = 1;
    how.alter = [&](const op::Operation& operation, std::vector<float>& out) {
      if (operation.name == "blk.1.act") given = out;
      if (operation.name != "blk.1.down") return;
      const op::Weight& weight = diff::kjv_program().weights[operation.weight];
      judge::Table x(given.size() / weight.columns, weight.columns);
      std::ranges::copy(given, x.data.begin());
      if (x.rows == 1) return;
      for (size_t t = 0; t < x.rows; ++t)
        if (t < tokens) std::fill(x.row(t).end() - 32, x.row(t).end(), 0.0);
      const judge::Table y =
          judge::multiply_only(weight, nullptr, x, judge::codings("assay/1", weight.type)[0]);
      for (size_t i = 0; i < tokens * y.width; ++i) out[i] = float(y.data[i]);
    };
    const auto report = report_of(how);
    EXPECT_EQ(report.first->operation, "blk.1.down");
    EXPECT_EQ(cause_of(report), tokens == 8 ? "matmul-path" : "k-tail") << report.cause->evidence;
  }
}

TEST(Evidence, AnOrderHasEveryRowOnce) {
  // Two rows that hold what two others do are repeated.
  for (const char* name : {"blk.0.k", "blk.1.down"}) {
    const auto report = report_of(name, [&](Altered& y) {
      for (size_t t = 0; t < y.tokens; ++t)
        for (size_t i = 0; i < 2; ++i) y.at(t, 2 + i) = y.at(t, i);
    });
    EXPECT_EQ(cause_of(report), "tile-repeated") << name << ": " << report.cause->evidence;
    // One row that is another one's is that of the weights.
    const auto row = report_of(name, [&](Altered& y) {
      for (size_t t = 0; t < y.tokens; ++t) y.at(t, 9) = y.at(t, 100);
    });
    EXPECT_EQ(cause_of(row), "weight-rows-permuted") << name << ": " << row.cause->evidence;
  }
}

TEST(Evidence, OneTokenScaledIsNoOtherEps) {
  // A step of one token: an eps of many digits would do as well as a factor of two.
  const auto report = report_of("blk.2.ffn_norm",
                                [](Altered& y) {
                                  for (float& x : y.data) x *= 0.9f;
                                },
                                {1});
  EXPECT_EQ(cause_of(report), "scaled") << report.cause->evidence;
}

TEST(Evidence, OneFlippedBitIsNamed) {
  for (uint64_t seed = 0; seed < seeds; ++seed) {
    const uint32_t bit = 19 + uint32_t(seed) * 2;
    const auto report = report_of("blk.1.up", [&](Altered& y) {
      float& x = y.at(7 - seed, 5 + 3 * seed);
      x = std::bit_cast<float>(std::bit_cast<uint32_t>(x) ^ (1u << bit));
    });
    EXPECT_EQ(cause_of(report), "bit-flipped") << report.cause->evidence;
    EXPECT_THAT(report.cause->evidence, HasSubstr("bit " + std::to_string(bit) + " of f32"));
  }
}

TEST(Evidence, TiesAreListed) {
  // Of two tokens the second does not see the first one's key: so would it with a window of one key.
  std::vector<float> value;
  diff::Recording how;
  how.tokens = {1, 1044};
  how.alter = [&](const op::Operation& operation, std::vector<float>& out) {
    if (operation.name == "blk.2.v") value.assign(out.begin() + 128, out.end());
    if (operation.name != "blk.2.kqv") return;
    for (size_t i = 0; i < 256; ++i)  // heads 0 and 1 read KV head 0
      out[256 + i] = float(judge::round_to_f16(double(value[i / 128 * 64 + i % 64])));
  };
  const auto trace = diff::record(how);
  ASSERT_TRUE(trace);
  auto report = diff::judge_alone(diff::kjv_program(), *trace);
  ASSERT_TRUE(report && explain(diff::kjv_program(), *trace, *trace, *report));
  ASSERT_TRUE(report->cause) << report->sentence;
  EXPECT_EQ(report->first->operation, "blk.2.kqv");
  EXPECT_EQ(report->cause->id, "key-unseen") << report->cause->evidence;
  EXPECT_THAT(report->cause->ties, ::testing::ElementsAre("sliding-window"));
  EXPECT_LT(report->cause->confidence, 0.99);
  EXPECT_GT(report->cause->confidence, 0.5);
  EXPECT_THAT(report->cause->evidence, HasSubstr("as well: sliding-window"));
  const std::string json = diff::to_json(diff::kjv_program(), *report);
  EXPECT_THAT(json, HasSubstr("\"confidence\""));
  EXPECT_THAT(json, HasSubstr("\"ties\""));
}

TEST(Evidence, AScaleOfActivationsBeyondF16IsNamed) {
  // ggml keeps the scale of a block of 32 activations as f16: beyond 127·65504 it is infinite.
  const op::Program& program = diff::kjv_program();
  diff::Scene scene;
  while (program.operations[scene.operation].name != "blk.0.down") ++scene.operation;
  const op::Operation& operation = program.operations[scene.operation];
  const op::Weight& weight = program.weights[operation.weight];
  scene.tokens = {{1, 2, 3}, {0, 1, 2}, {}};
  scene.contract = "ggml-cpu";
  scene.coding = judge::codings(scene.contract, weight.type)[0];
  ASSERT_TRUE(scene.coding.scale_is_f16);
  scene.arithmetic = judge::arithmetic_of(scene.contract, "llama.cpp", "");
  scene.inputs = {judge::Table(3, weight.columns)};
  for (size_t i = 0; i < scene.inputs[0].data.size(); ++i)
    scene.inputs[0].data[i] = double(float(std::sin(double(i)))) * (i < weight.columns ? 1e9 : 1);
  scene.output = judge::Table(3, weight.rows);
  const judge::Judged right = diff::expect(program, scene);
  EXPECT_TRUE(std::ranges::all_of(right.want.data, [](double y) { return std::isfinite(y); }));
  scene.output = right.want;
  for (double& y : scene.output.row(0)) y = NAN;
  const diff::Cause cause = diagnose(program, scene);
  EXPECT_EQ(cause.id, "f16-scale-overflow") << cause.evidence;
  // NaN that no scale explains stays what it is.
  for (double& y : scene.output.row(1)) y = NAN;
  EXPECT_EQ(diagnose(program, scene).id, "not-finite");
}

}  // namespace
}  // namespace assay::diagnose
