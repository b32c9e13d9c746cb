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
  one.wanted = [](std::string_view name) { return name != "blk.0.q"; };
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
