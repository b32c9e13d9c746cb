// Where an operation is wrong, in words that a person would use.
#include "diff/where.h"

#include "diff/support.h"

namespace assay::diff {
namespace {

using ::testing::HasSubstr;

TEST(Where, NumbersInWords) {
  EXPECT_EQ(in_words("token", {3}, 8), "token 3");
  EXPECT_EQ(in_words("token", {3, 4, 5, 6, 7}, 9), "tokens 3 to 7");
  EXPECT_EQ(in_words("token", {0, 1, 2}, 3), "all tokens");
  EXPECT_EQ(in_words("channel", {5, 37, 69, 101}, 128), "every 32nd channel from 5 to 101");
  EXPECT_EQ(in_words("channel", {1, 4, 7}, 9), "every 3rd channel from 1 to 7");
  EXPECT_EQ(in_words("channel", {0, 11, 22}, 99), "every 11th channel from 0 to 22");
  EXPECT_EQ(in_words("channel", {2, 9}, 99), "channels 2 and 9");
  EXPECT_EQ(in_words("channel", {2, 9, 11, 40}, 99), "4 of 99 channels, from 2 to 40");
}

/// The place of elements of blk.1.q_rope (4 heads of 64) or another operation, made wrong.
std::string place(const std::string& name, const std::function<bool(uint64_t, uint64_t)>& wrong) {
  const op::Program& program = kjv_program();
  const auto& operation = *std::ranges::find(program.operations, name, &op::Operation::name);
  const uint64_t width = operation.is<op::KvStore>() ? program.values[operation.inputs[0]].width +
                                                           program.values[operation.inputs[1]].width
                                                     : program.values[operation.output].width;
  judge::Judged judged{Table(8, width), Table(8, width), Table(1, 1), {}};
  std::ranges::fill(judged.scale.data, 1.0);
  judged.limit.data[0] = 1;
  Table got(8, width);
  for (uint64_t t = 0; t < 8; ++t)
    for (uint64_t i = 0; i < width; ++i) got.row(t)[i] = wrong(t, i) ? 1 : 0;
  return where_wrong(program, operation, got, judged, {10, 11, 12, 13, 14, 15, 16, 17});
}

TEST(Where, TokensAndChannels) {
  EXPECT_EQ(place("blk.2.down", [](uint64_t t, uint64_t i) { return t == 3 && i == 5; }),
            "token 13, channel 5");
  EXPECT_EQ(place("blk.2.down", [](uint64_t t, uint64_t i) { return t >= 3 && i / 64 == 1; }),
            "tokens 13 to 17, channels 64 to 127");
  EXPECT_EQ(place("blk.2.down", [](uint64_t, uint64_t i) { return i % 32 == 5; }),
            "all tokens, every 32nd channel from 5 to 229");
  // Two corners of a square: two of its four elements.
  EXPECT_EQ(place("blk.2.down", [](uint64_t t, uint64_t i) { return t == i && t < 2; }),
            "tokens 10 to 11, channels 0 to 1 (2 of these 4 elements)");
}

TEST(Where, HeadsAreNamedWhereTheyTellMore) {
  for (const char* name : {"blk.1.q", "blk.1.q_rope", "blk.1.kqv"})
    EXPECT_EQ(place(name, [](uint64_t t, uint64_t i) { return t > 0 && i / 64 == 2; }),
              "tokens 11 to 17, head 2 of 4");
  EXPECT_EQ(place("blk.1.kqv", [](uint64_t, uint64_t i) { return i >= 128; }),
            "all tokens, heads 2 to 3 of 4");
  EXPECT_EQ(place("blk.1.k", [](uint64_t, uint64_t i) { return i >= 64; }),
            "all tokens, head 1 of 2");
  EXPECT_EQ(place("blk.1.q_rope", [](uint64_t, uint64_t i) { return i % 64 < 16; }),
            "all tokens, channels 0 to 15 of each head");
  EXPECT_EQ(place("blk.1.q_rope", [](uint64_t, uint64_t i) { return i / 64 == 1 && i % 2 == 1; }),
            "all tokens, every 2nd channel from 1 to 63 of head 1 of 4");
  EXPECT_EQ(place("blk.1.q_rope", [](uint64_t, uint64_t) { return true; }),
            "all tokens, all channels");
  // Keys and values, 128 each, side by side.
  EXPECT_EQ(place("blk.1.kv", [](uint64_t t, uint64_t i) { return t == 7 && i >= 192; }),
            "token 17, head 1 of 2 of the values");
}

TEST(Where, TheSentenceAndTheReportSayIt) {
  const auto wrong = record({.alter = [](const op::Operation& operation, std::vector<float>& out) {
    if (operation.name != "blk.3.kqv") return;
    for (size_t t = 3; t < 8; ++t)
      for (size_t i = 64; i < 128; ++i) out[t * 256 + i] += 1;
  }});
  ASSERT_TRUE(wrong);
  const auto report = judge_alone(kjv_program(), *wrong);
  ASSERT_TRUE(report) << report.error().message;
  ASSERT_TRUE(report->first);
  EXPECT_EQ(report->first->where, "tokens 3 to 7, head 1 of 4, + 1");
  EXPECT_NEAR(report->first->got - report->first->wanted, 1, 1e-2);
  EXPECT_THAT(report->sentence, HasSubstr("FAIL blk.3.kqv of assay test (assay/1) is wrong: tokens "
                                          "3 to 7, head 1 of 4, + 1; at token "));
  EXPECT_THAT(report->sentence, HasSubstr("got "));
  EXPECT_THAT(report->sentence, HasSubstr(", wanted "));
}

}  // namespace
}  // namespace assay::diff
