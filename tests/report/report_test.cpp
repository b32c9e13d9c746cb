// The page says where it broke, whatever the traces say of themselves.
#include "report/report.h"

#include <gmock/gmock.h>

#include <regex>

#include "diff/support.h"

namespace assay::report {
namespace {

using diff::eight;
using diff::kjv_program;
using diff::record;
using diff::Recording;
using ::testing::HasSubstr;
using ::testing::Not;

std::string page_of(const Recording& a, const Recording& b) {
  const auto ta = record(a), tb = record(b);
  EXPECT_TRUE(ta && tb);
  const auto report = diff::compare(kjv_program(), *ta, *tb, {.runs = 2});
  EXPECT_TRUE(report);
  return to_html(kjv_program(), *ta, *tb, *report);
}

Recording wrong_down() {
  return {.alter = [](const op::Operation& operation, std::vector<float>& values) {
    if (operation.name == "blk.2.down") values[5] += 1;
  }};
}

int count(const std::string& page, const std::string& what) {
  int found = 0;
  for (size_t at = page.find(what); at != std::string::npos; at = page.find(what, at + 1)) ++found;
  return found;
}

TEST(Report, OneWrongOperationIsOneCrossAndOneRing) {
  const std::string page = page_of(wrong_down(), {});
  EXPECT_THAT(page, HasSubstr("<div class=\"word\">FAIL</div>"));
  EXPECT_THAT(page, HasSubstr("blk.2.down"));
  EXPECT_THAT(page, HasSubstr("<span class=\"wrong\">is wrong</span>"));
  // blk.2.down, and the sum that reads another branch than was recorded.
  EXPECT_EQ(count(page, "<rect class=\"fail\""), count(page, "<path class=\"cross\""));
  EXPECT_GE(count(page, "<rect class=\"fail\""), 1);
  EXPECT_EQ(count(page, "<circle class=\"ring\""), 1);
}

TEST(Report, TwoRightRunsHaveNoCrossAndABandOfCorrectRuns) {
  const std::string page = page_of({}, {});
  EXPECT_THAT(page, HasSubstr("<div class=\"word\">PASS</div>"));
  EXPECT_EQ(count(page, "<rect class=\"fail\""), 0);
  EXPECT_EQ(count(page, "<circle class=\"ring\""), 0);
  EXPECT_THAT(page, HasSubstr("correct runs, median"));
}

TEST(Report, ThePageNamesWhatItIsAbout) {
  const auto a = record(wrong_down()), b = record({});
  ASSERT_TRUE(a && b);
  const auto report = diff::compare(kjv_program(), *a, *b, {.runs = 0});
  ASSERT_TRUE(report);
  About about{.command = "assay diff a b --html 'x y'",
              .date = "2026-03-01 12:00 UTC",
              .model = "<kjv>.gguf",
              .tokens = {},
              .without_text = "",
              .traces = {"a.trace", "b.trace"}};
  for (const int32_t id : eight) about.tokens.emplace_back(id, id == 1 ? "<s>" : " in\n");
  const std::string page = to_html(kjv_program(), *a, *b, *report, about);
  for (const char* said :
       {"<dt>model</dt><dd>&lt;kjv&gt;.gguf</dd>", "<dt>trace b</dt><dd>b.trace</dd>",
        "<code>assay diff a b --html &#39;x y&#39;</code>", "2026-03-01 12:00 UTC",
        "<b>0</b> 1 ‘&lt;s&gt;’", "<b>1</b> 1044 ‘ in⏎’", "<dt>prompt</dt><dd>‘&lt;s&gt; in⏎ in⏎"})
    EXPECT_THAT(page, HasSubstr(said));
  EXPECT_THAT(page, HasSubstr("<dt>where</dt><dd>token 0, channel 5</dd>"));
  // Rows of the map are named by their tokens.
  EXPECT_THAT(page, HasSubstr(">0 &lt;s&gt;</text>"));
}

TEST(Report, NoSectionIsEmpty) {
  const std::regex empty("</h[23]>(<h2>|<details>|</body>|<p class=\"note\">[^<]*</p><h2>)");
  const auto one = record(wrong_down());
  ASSERT_TRUE(one);
  const auto alone = diff::judge_alone(kjv_program(), *one);
  ASSERT_TRUE(alone);
  const std::string page_alone = to_html(kjv_program(), *one, *one, *alone);
  EXPECT_THAT(page_alone, Not(HasSubstr("<h3>b: ")));
  EXPECT_THAT(page_alone, Not(HasSubstr("How the two runs part")));
  Recording nothing;
  nothing.wanted = [](std::string_view name) { return name == "embd"; };
  for (const std::string& page :
       {page_alone, page_of({}, {}), page_of(wrong_down(), {}), page_of(nothing, nothing)})
    EXPECT_FALSE(std::regex_search(page, empty));
}

TEST(Report, NamesOfATraceAreNoMarkup) {
  Recording evil;
  evil.metadata = {{"engine", "<script>alert('x')</script>&\"\n"}};
  const std::string page = page_of(evil, {});
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;"));
}

TEST(Report, NanIsDrawnAndNeverACoordinate) {
  Recording with_nan = {.alter = [](const op::Operation& operation, std::vector<float>& values) {
    if (operation.name == "blk.1.q") values[3] = NAN;
    if (operation.name == "logits") values[3] = INFINITY;
  }};
  const std::string page = page_of(with_nan, {});
  EXPECT_THAT(page, HasSubstr("fill=\"#000000\""));
  EXPECT_FALSE(std::regex_search(page, std::regex("(x|y|width|height|d)=\"[^\"]*(nan|inf)")));
}

TEST(Report, OneTokenAndMissingOperations) {
  Recording one;
  one.tokens = {1};
  // What nothing recorded reads.
  one.wanted = [](std::string_view name) {
    return !name.starts_with("blk.5.") && name != "out_norm" && name != "logits";
  };
  const std::string page = page_of(one, one);
  EXPECT_THAT(page, HasSubstr("UNMEASURED"));
  EXPECT_GE(count(page, "<rect class=\"unmeasured\""), 2);
  EXPECT_THAT(page, HasSubstr("Not measured: "));
}

TEST(Report, TwoTracesAreLinesAndATable) {
  const trace::Summary one{
      .name = "blk.0.out", .rms = 2, .max_abs = 3, .min = 0, .max = 0, .mean = 0};
  trace::Summary other = one;
  other.rms = 4;
  const std::string page = to_html({{"x<", {one}}, {"y", {other}}}, {"first layer outside: <b>"});
  EXPECT_THAT(page, HasSubstr("first layer outside: &lt;b&gt;"));
  EXPECT_THAT(page, HasSubstr("<td>blk.0.out</td>"));
  EXPECT_THAT(page, HasSubstr("<td class=\"n\">0.5000</td>"));
  EXPECT_EQ(count(page, "<svg "), 2);
}

TEST(Report, ThePageIsWholeAndLoadsNothing) {
  const std::string page = page_of(wrong_down(), {});
  EXPECT_TRUE(page.ends_with("</body></html>\n"));
  EXPECT_EQ(count(page, "<svg "), count(page, "</svg>"));
  EXPECT_EQ(count(page, "<svg "), count(page, "<svg viewBox"));
  EXPECT_EQ(count(page, "role=\"img\""), count(page, "<svg "));
  for (const char* loads : {"http:", "https:", "src=", "href=", "url(", "@import"})
    EXPECT_THAT(page, Not(HasSubstr(loads))) << loads;
  EXPECT_LT(page.size(), 300000u);
}

}  // namespace
}  // namespace assay::report
