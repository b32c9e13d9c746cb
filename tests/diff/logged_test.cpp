// Logs of correct engines are inside whatever they print, and one wrong number is the first outside.
#include "diff/logged.h"

#include <fmt/format.h>

#include <cmath>
#include <random>

#include "diff/support.h"

namespace assay::diff {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

/// What a log prints of a trace's layer; changed by `alter`.
struct Line {
  uint32_t layer;
  double rms, largest;
};
struct Style {
  int decimals = 4;
  uint64_t first_token = 0, last_token = 7;
  uint32_t from = 0;  ///< the first layer's number
  std::function<void(Line&)> alter = [](Line&) {};
};

/// The numbers of each layer's output, over tokens, as text.
std::string log_of(const trace::Trace& trace, const Style& style) {
  std::string text;
  for (const auto& tensor : trace.tensors()) {
    uint32_t layer = 0;
    if (std::sscanf(tensor.name.c_str(), "blk.%u.out", &layer) != 1 ||
        !tensor.name.ends_with(".out"))
      continue;
    const auto values = trace.values(tensor);
    if (!values) throw std::runtime_error(values.error().message);
    double squares = 0, most = 0, count = 0;
    for (uint64_t t = style.first_token; t <= style.last_token; ++t)
      for (const double x : values->row(t)) {
        squares += x * x;
        most = std::max(most, std::fabs(x));
        ++count;
      }
    Line line{layer, std::sqrt(squares / count), most};
    style.alter(line);
    text += fmt::format("Layer {}: RMS={:.{}f} max={:.{}f}\n", line.layer + style.from, line.rms,
                        style.decimals, line.largest, style.decimals);
  }
  return text;
}

LogReport judge(const std::string& text, const LogOptions& options = {}) {
  std::vector<trace::LogColumns> columns;
  for (const char* one : {"layer,rms,max", "top"}) columns.push_back(*trace::read_columns(one));
  return judge_log(kjv_program(), trace::read_log(text, columns, {}), eight, options);
}

const trace::Trace& right() {
  static const auto trace = record({});
  return *trace;
}

TEST(Logged, CorrectEnginesAreInsideUnderEverySeed) {
  op::ExecutorOptions f32, wide;
  f32.contract = op::Contract::f32;
  wide.cache = op::CacheType::f32;
  for (const auto& options : {op::ExecutorOptions{}, f32, wide}) {
    const auto trace = record({}, open_kjv("cpu", options));
    ASSERT_TRUE(trace);
    for (const int decimals : {1, 4, 7}) {
      const LogReport report = judge(log_of(*trace, {.decimals = decimals}),
                                     {.runs = 16, .seed = uint64_t(decimals), .token = {}});
      EXPECT_EQ(report.verdict, Verdict::pass) << report.sentence;
      EXPECT_EQ(report.values.size(), 2u * kjv_program().layers);
      EXPECT_EQ(report.reading.tokens, LogReading::Tokens::all);
      EXPECT_EQ(report.reading.layers, LogReading::Layers::outputs);
      EXPECT_EQ(report.reading.bits, 24) << "no number of f32 is taken for one of bf16";
    }
  }
}

TEST(Logged, OneWrongNumberIsNamedUnderEverySeed) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 5; ++i) {
    const uint32_t layer = uint32_t(random() % kjv_program().layers);
    const bool rms = random() % 2, up = random() % 2;
    const double factor = up ? 1.1 : 1 / 1.1;
    const LogReport report = judge(log_of(right(), {.alter =
                                                        [&](Line& line) {
                                                          if (line.layer == layer)
                                                            (rms ? line.rms : line.largest) *=
                                                                factor;
                                                        }}),
                                   {.runs = 16, .seed = random(), .token = {}});
    ASSERT_EQ(report.verdict, Verdict::fail) << layer << report.sentence;
    const JudgedLogValue& first = *report.first;
    EXPECT_EQ(kjv_program().operations[first.operation].name, fmt::format("blk.{}.out", layer));
    EXPECT_EQ(first.statistic, rms ? "RMS" : "max|x|");
    EXPECT_EQ(first.line, layer + 1u);
    EXPECT_THAT(report.sentence,
                StartsWith(fmt::format(
                    "FAIL first outside the ensemble: blk.{0}.out (layer {0}, line", layer)));
    uint64_t outside = 0;
    for (const auto& value : report.values) outside += !value.inside;
    EXPECT_EQ(outside, 1u) << "what follows a wrong number is judged by the one before it";
  }
}

TEST(Logged, ClippedMaximaAreSaidToBeEqual) {
  std::vector<uint32_t> clipped;
  const LogReport report = judge(log_of(right(), {.alter = [&](Line& line) {
                                          if (line.largest > 3) clipped.push_back(line.layer);
                                          line.largest = std::min(line.largest, 3.0);
                                        }}));
  ASSERT_GE(clipped.size(), 2u);
  ASSERT_EQ(report.verdict, Verdict::fail);
  EXPECT_EQ(kjv_program().operations[report.first->operation].layer, clipped[0]);
  EXPECT_THAT(report.notes, ::testing::Contains(fmt::format("max|x| is 3.0000 in {} of these lines",
                                                            clipped.size())));
}

// An engine that is wrong from a layer on prints wrong numbers from there on.
TEST(Logged, AnEngineThatGoesWrongIsOutsideFromThereOn) {
  const LogReport report = judge(log_of(right(), {.alter = [](Line& line) {
                                          if (line.layer >= 2) line.rms *= 1.02;
                                        }}));
  ASSERT_EQ(report.verdict, Verdict::fail);
  EXPECT_EQ(kjv_program().operations[report.first->operation].layer, 2u);
}

// What is inside by itself may be outside by how correct runs go on from the layer before.
TEST(Logged, TheLineBeforeNarrowsTheRange) {
  const std::string text = log_of(right(), {.decimals = 7});
  const auto rms_of_three = [](const LogReport& report) {
    for (const JudgedLogValue& value : report.values)
      if (kjv_program().operations[value.operation].layer == 3 && value.statistic == "RMS")
        return value;
    throw std::runtime_error("no such value");
  };
  const size_t begin = text.find("Layer 3"), end = text.find("Layer 4");
  const JudgedLogValue alone = rms_of_three(judge(text.substr(begin, end - begin)));
  const JudgedLogValue after = rms_of_three(judge(text));
  EXPECT_FALSE(alone.from);
  ASSERT_TRUE(after.from);
  EXPECT_EQ(kjv_program().operations[*after.from].name, "blk.2.out");
  ASSERT_LT(after.range.high, alone.range.high);
  const double between = (after.range.high + alone.range.high) / 2;
  const LogReport wrong = judge(log_of(right(), {.decimals = 7, .alter = [&](Line& line) {
                                                   if (line.layer == 3) line.rms = between;
                                                 }}));
  ASSERT_EQ(wrong.verdict, Verdict::fail);
  EXPECT_EQ(kjv_program().operations[wrong.first->operation].name, "blk.3.out");
  EXPECT_THAT(wrong.sentence, HasSubstr("correct runs that have the log's RMS of blk.2.out: "));
}

TEST(Logged, WhatALogDoesNotSayIsFound) {
  using Tokens = LogReading::Tokens;
  using Layers = LogReading::Layers;
  const LogReport last = judge(log_of(right(), {.first_token = 7}));
  EXPECT_EQ(last.verdict, Verdict::pass) << last.sentence;
  EXPECT_EQ(last.reading.tokens, Tokens::last);
  const LogReport counted = judge(log_of(right(), {.from = 1}));
  EXPECT_EQ(counted.verdict, Verdict::pass) << counted.sentence;
  EXPECT_EQ(counted.reading.layers, Layers::from_one);
  std::string each;
  for (uint64_t t = 0; t < 8; ++t) each += log_of(right(), {.first_token = t, .last_token = t});
  const LogReport apart = judge(each + log_of(right(), {}));
  EXPECT_EQ(apart.verdict, Verdict::pass) << apart.sentence;
  EXPECT_EQ(apart.reading.tokens, Tokens::each);
  EXPECT_EQ(apart.values.size(), 8u * 2 * kjv_program().layers);
  EXPECT_EQ(apart.later, kjv_program().layers);
  EXPECT_THAT(apart.sentence, HasSubstr("6 line or lists of later runs not compared"));
  const LogReport one = judge(log_of(right(), {.first_token = 3, .last_token = 3}),
                              {.runs = 16, .seed = 1, .token = 3});
  EXPECT_EQ(one.verdict, Verdict::pass) << one.sentence;
  EXPECT_EQ(judge(log_of(right(), {.first_token = 3, .last_token = 3}),
                  {.runs = 16, .seed = 1, .token = 4})
                .verdict,
            Verdict::fail);
}

TEST(Logged, ListsOfBestTokens) {
  const auto* logits = right().find(0, "logits");
  ASSERT_TRUE(logits);
  const auto values = right().values(*logits);
  const auto row = values->row(7);
  const auto best = trace::top(std::vector<float>(row.begin(), row.end()), 6);
  const auto list = [&](size_t left_out, double off) {
    std::string text = "top-5:";
    for (size_t i = 0, n = 0; n < 5; ++i)
      if (i != left_out) {
        text += fmt::format(" {}:{:.2f}", best[i].id, best[i].logit + (i == 2 ? off : 0));
        ++n;
      }
    return text;
  };
  EXPECT_EQ(judge(list(9, 0)).verdict, Verdict::pass);
  const LogReport wrong = judge(list(9, 4));
  ASSERT_EQ(wrong.verdict, Verdict::fail);
  EXPECT_EQ(wrong.first->statistic, fmt::format("logit of token {}", best[2].id));
  const LogReport lacking = judge(list(0, 0));
  ASSERT_EQ(lacking.verdict, Verdict::fail);
  ASSERT_FALSE(lacking.missing.empty());
  EXPECT_EQ(lacking.missing[0].id, best[0].id);
  EXPECT_THAT(lacking.sentence, HasSubstr(fmt::format("lacks token {}", best[0].id)));
  const LogReport stranger = judge("top: 5:1.0, 999999:0.5");
  EXPECT_EQ(stranger.verdict, Verdict::fail);
}

TEST(Logged, NothingIsCalledRightThatWasNotCompared) {
  EXPECT_EQ(judge("nothing here").verdict, Verdict::unmeasured);
  EXPECT_EQ(judge("layer 0 rms nan max 1").verdict, Verdict::fail);
  const LogReport longer = judge(log_of(right(), {}) + "Layer 9: RMS=1.5 max=7.0\n");
  EXPECT_EQ(longer.verdict, Verdict::unmeasured);
  EXPECT_THAT(longer.sentence, HasSubstr("line 7 is of layer 9, and the model has 6 layers"));
}

}  // namespace
}  // namespace assay::diff
