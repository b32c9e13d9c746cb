// Lines of debugging logs as engines print them: which numbers are which column, what the printed
// digits hide, and which lines are none.
#include "trace/text_log.h"

#include <gmock/gmock.h>

#include <cmath>

namespace assay::trace {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

const std::vector<std::string> operations = {"embd", "blk.0.attn_out", "blk.3.attn_out",
                                             "blk.3.out", "logits"};

TextLog read(std::string_view text, const std::vector<std::string>& columns) {
  std::vector<LogColumns> all;
  for (const std::string& one : columns) {
    const auto read = read_columns(one);
    if (!read) throw std::runtime_error(read.error().message);
    all.push_back(*read);
  }
  return read_log(text, all, operations);
}

/// The values of the only row.
std::vector<double> values_of(std::string_view line, const std::string& columns = "layer,rms,max") {
  const TextLog log = read(line, {columns});
  if (log.rows.size() != 1) return {};
  std::vector<double> out = {double(log.rows[0].layer.value_or(9999))};
  for (const LogValue& value : log.rows[0].values) out.push_back(value.printed.value);
  return out;
}

TEST(TextLog, SeparatorsAndLabelsAreFound) {
  for (const char* line :
       {"3 0.25 -4.5", "3,0.25,-4.5", "3;0.25;-4.5", "3\t0.25\t-4.5", "| 3 | 0.25 | -4.5 |",
        "Layer 3: RMS=0.25, max=-4.5", "layer 3 rms 0.25 max -4.5", "[L3] rms: .25 | max|x|: -4.5",
        "blk.3 max = -4.5 rms = 2.5e-1", "{\"layer\": 3, \"rms\": 0.25, \"max_abs\": -4.5}",
        "2025-10-03 12:00:01 INFO layer=3 rms=0.25 max=-4.5 (5 ms, q4_0)",
        "\x1b[32mLayer 3\x1b[0m RMS 0.25 MAX -4.5", "layer_3: 0.25, -4.5", "Layer #3 | 0.25 | -4.5",
        "layer-3 rms:+0.25 max:-4.5", "3 0.25 -4.5 'token 17'"})
    EXPECT_THAT(values_of(line), ElementsAre(3, 0.25, -4.5)) << line;
}

TEST(TextLog, ColumnsThatAreSkippedAndOtherOrders) {
  EXPECT_THAT(values_of("12:01 3 7 0.25", "_,_,layer,_,rms"), ElementsAre(3, 0.25));
  EXPECT_THAT(values_of("0.5 3", "rms,layer"), ElementsAre(3, 0.5));
}

TEST(TextLog, LinesThatDoNotFitAreKept) {
  const TextLog log = read(
      "layer rms max\n---------\n\n3 0.25\n3 0.25 1 7\n3.5 0.25 1\nlayer x: 1 2\n"
      "f16 q8_0 5ms\r\n3 0.25 1\n",
      {"layer,rms,max"});
  EXPECT_EQ(log.lines, 7u);  // neither the rule nor the empty line
  ASSERT_THAT(log.rows, SizeIs(1));
  EXPECT_EQ(log.rows[0].line, 9u);
  ASSERT_THAT(log.unread, SizeIs(6));
  EXPECT_EQ(log.unread[5].text, "f16 q8_0 5ms");
  EXPECT_EQ(log.unread[5].line, 8u);
}

TEST(TextLog, DigitsThatAreNotPrinted) {
  const auto half = [](const std::string& text) {
    return read("0 " + text, {"layer,rms"}).rows.at(0).values.at(0).printed.half;
  };
  EXPECT_DOUBLE_EQ(half("0.25"), 0.005);
  EXPECT_DOUBLE_EQ(half("4"), 0.5);
  EXPECT_DOUBLE_EQ(half("4.0"), 0.05);
  EXPECT_DOUBLE_EQ(half("1.25e-3"), 0.000005);
  EXPECT_DOUBLE_EQ(half("1e+2"), 50);
  EXPECT_EQ(half("nan"), 0);
  EXPECT_TRUE(std::isnan(values_of("0 NaN 1")[1]));
  EXPECT_EQ(values_of("0 -inf 1")[1], -INFINITY);
}

TEST(TextLog, NamesOfOperations) {
  const TextLog log =
      read("embd 1.5\n[x] blk.3.attn_out: rms=0.5\nblk.9.attn_out 0.1\n", {"name,rms"});
  ASSERT_THAT(log.rows, SizeIs(2));
  EXPECT_EQ(log.rows[0].name, "embd");
  EXPECT_EQ(log.rows[1].name, "blk.3.attn_out");
  EXPECT_THAT(log.unread, SizeIs(1));
  EXPECT_EQ(read("3 attn_out 0.5", {"layer,name,rms"}).rows.at(0).name, "blk.3.attn_out");
}

TEST(TextLog, APlaceThatComesAgainBeginsAnotherRun) {
  const TextLog log = read("0 1.0\n1 2.0\n0 1.1\n1 2.1\n", {"layer,rms"});
  ASSERT_THAT(log.rows, SizeIs(4));
  EXPECT_EQ(log.rows[1].pass, 0u);
  EXPECT_EQ(log.rows[2].pass, 1u);
  EXPECT_EQ(log.rows[3].pass, 1u);
  EXPECT_EQ(read("0 0 1.0\n0 1 1.0\n", {"layer,token,rms"}).rows.at(1).pass, 0u);
}

TEST(TextLog, ListsOfTokens) {
  for (const char* line :
       {"top-5: 3499:8.47, 10:7.5", "Top5 tokens = [(3499, 8.47), (10, 7.5)]", "3499:8.47 10:7.5",
        "top 2: 3499 ' 10' 8.47; 10 '\\'' 7.5", "top-k {3499: 8.47, 10: 7.50}"}) {
    const TextLog log = read(line, {"top5"});
    ASSERT_THAT(log.lists, SizeIs(1)) << line;
    ASSERT_THAT(log.lists[0].best, SizeIs(2)) << line;
    EXPECT_EQ(log.lists[0].best[0].id, 3499) << line;
    EXPECT_DOUBLE_EQ(log.lists[0].best[0].logit.value, 8.47) << line;
    EXPECT_EQ(log.lists[0].best[1].id, 10) << line;
  }
  const TextLog both = read("21 1.095 4.212 top5: 3499:8.47\n", {"layer,rms,max,top5"});
  EXPECT_EQ(both.lists.at(0).layer, 21u);
  EXPECT_THAT(both.rows.at(0).values, SizeIs(2));
}

TEST(TextLog, AListInLines) {
  const TextLog log =
      read("0 0.5\n  3499 8.47 ' 10'\n  10 7.5 'x 3'\n\n  3499 8.5 ' 10'\n", {"id,logit"});
  ASSERT_THAT(log.lists, SizeIs(2));  // "0 0.5" fits, too, and goes on to the line below
  EXPECT_THAT(log.lists[0].best, SizeIs(3));
  EXPECT_THAT(log.lists[1].best, SizeIs(1));
}

TEST(TextLog, TokensOfThePrompt) {
  EXPECT_THAT(read("tokens: [1, 300, 391]", {"layer,rms"}).tokens,
              ElementsAre(ElementsAre(1, 300, 391)));
  EXPECT_THAT(read("input_ids = tensor([[1, 300]])", {"layer,rms"}).tokens,
              ElementsAre(ElementsAre(1, 300)));
  EXPECT_THAT(read("Token IDs 1 300 391\n", {"layer,rms"}).tokens,
              ElementsAre(ElementsAre(1, 300, 391)));
  EXPECT_THAT(read("prompt tokens: [17]", {"layer,rms"}).tokens, ElementsAre(ElementsAre(17)));
  EXPECT_THAT(read("prompt tokens: 17\ntokens: 5 of 9", {"layer,rms"}).tokens, SizeIs(0));
  EXPECT_THAT(read("tokens: 1 2\nids: 1 2\nids: 1 3", {"layer,rms"}).tokens, SizeIs(2));
}

TEST(TextLog, ColumnsThatMakeNoSense) {
  for (const auto& [text, problem] : std::vector<std::pair<std::string, std::string>>{
           {"layer,rsm", "'rsm' is not a column"},
           {"layer,rms,rms", "'rms' comes twice"},
           {"rms,max", "need a column 'layer' or 'name'"},
           {"layer", "nothing that can be compared"},
           {"id", "'id' and 'logit' come together"},
           {"layer,rms,id,logit", "'id' and 'logit' come together"},
           {"", "is not a column"}}) {
    const auto read = read_columns(text);
    ASSERT_FALSE(read) << text;
    EXPECT_THAT(read.error().message, HasSubstr(problem)) << text;
  }
}

// Any bytes are a log; nothing of them may be read outside.
TEST(TextLog, HostileBytes) {
  const std::string pieces[] = {"layer", "3",  "-",    ".",    "e",        "99999999999999999999",
                                "'",     "[",  "top",  "ids:", "1,",       "\x1b[",
                                "nan",   "\n", "\xff", "blk.", "1e999999", std::string(1, '\0')};
  uint64_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    std::string text;
    for (int k = 0; k < 12; ++k) {
      state = state * 6364136223846793005u + 1442695040888963407u;
      text += pieces[(state >> 33) % std::size(pieces)];
    }
    const TextLog log = read(text, {"layer,name,rms", "layer,rms,top", "id,logit"});
    EXPECT_LE(log.rows.size() + log.unread.size(), log.lines + 1);
  }
}

}  // namespace
}  // namespace assay::trace
