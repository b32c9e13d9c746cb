// Integers beyond 64 bits, and the JSON that they come from.
#include "jinja/render.h"

namespace assay::jinja {
namespace {

constexpr const char* variables =
    R"({"x": 123456789012345678901234567890, "y": -9223372036854775809,
        "u": 18446744073709551615, "v": 9223372036854775808, "m": -9223372036854775808,
        "schema": {"maximum": 18446744073709551616, "minimum": -9223372036854775808}})";

TEST(BigInteger, IsPrintedAsItStands) {
  check({{"{{ x }} {{ y }} {{ u }} {{ v }} {{ m }}",
          "123456789012345678901234567890 -9223372036854775809 18446744073709551615 "
          "9223372036854775808 -9223372036854775808"},
         {"{{ schema | tojson }}",
          "{\"maximum\": 18446744073709551616, \"minimum\": -9223372036854775808}"},
         {"{{ [x] }}{{ x | string | length }}", "[123456789012345678901234567890]30"},
         {"{{ '%d' % x }} {{ '%+i' % x }} {{ '%s' % y }}",
          "123456789012345678901234567890 +123456789012345678901234567890 -9223372036854775809"},
         {"{{ '{:,}'.format(x) }} {{ '{:_d}'.format(y) }} {{ '{:>22}'.format(y) }}",
          "123,456,789,012,345,678,901,234,567,890 -9_223_372_036_854_775_809   "
          "-9223372036854775809"},
         {"{{ -x }} {{ - -y }} {{ -v }} {{ +u }}",
          "-123456789012345678901234567890 -9223372036854775809 -9223372036854775808 "
          "18446744073709551615"},
         {"{{ x | float }} {{ '%.1f' % x }} {{ x | int }}",
          "1.2345678901234568e+29 123456789012345677877719597056.0 "
          "123456789012345678901234567890"},
         {"{{ 1e20 | int }} {{ '1e30' | int }} {{ '%d' % 1e25 }} {{ 36893488147419103232 }}",
          "100000000000000000000 1000000000000000019884624838656 10000000000000000905969664 "
          "36893488147419103232"}},
        variables);
}

TEST(BigInteger, IsComparedExactly) {
  check({{"{{ x > 5 }} {{ x > y }} {{ y < -1 }} {{ u < v }} {{ u == u }} {{ u != v }}",
          "True True True False True True"},
         {"{{ v == 9223372036854775808.0 }} {{ u == 18446744073709551616.0 }} {{ x == 1e20 }}",
          "True False False"},
         {"{{ u < 18446744073709551616.0 }} {{ x < '1e999' | float('x') }} {{ x > 0.5 }}",
          "True True True"},
         {"{{ x is integer }} {{ x is number }} {{ x is float }} {{ not x }} {{ x is boolean }}",
          "True True False False False"},
         {"{{ {x: 'a', u: 'b'}[u] }} {{ [v, x, y, 1] | sort }} {{ [u, v, u] | unique | list }}",
          "b [-9223372036854775809, 1, 9223372036854775808, 123456789012345678901234567890] "
          "[18446744073709551615, 9223372036854775808]"}},
        variables);
}

TEST(BigInteger, IsNotCalculatedWith) {
  for (const char* source :
       {"x + 1", "1 - y", "u * 2", "x / 2", "x // 2", "x % 2", "x ** 2", "'a' * x", "[1] * x",
        "range(x)", "'abc'[:x]", "x is odd", "'%x' % x", "'{:b}'.format(u)"}) {
    const std::string text = render("{{ " + std::string(source) + " }}", variables);
    EXPECT_NE(text.find("doesn't fit 64 bits: a template can print it, but not calculate with it"),
              std::string::npos)
        << source << " → " << text;
  }
}

TEST(ReadJson, ErrorsHaveLineAndColumn) {
  const auto error = [](std::string_view text) { return read_json(text).error().message; };
  EXPECT_EQ(error("{\"a\": 1,\n \"é\": x}"), "line 2, column 7: not JSON at '\"é\": x'");
  EXPECT_EQ(error("[1, 2"), "line 1, column 6: not JSON: it ends too early");
  EXPECT_EQ(error(""), "line 1, column 1: not JSON: it ends too early");
  EXPECT_EQ(error("[1, 1e400]"),
            "line 1, column 9: the number ends with '1e400' and is beyond 1.8e308");
  EXPECT_EQ(error("[1] 2").substr(0, 26), "line 1, column 5: not JSON");
}

TEST(ReadJson, ManyNamesTakeNoSquareOfTime) {
  std::string text = "{";
  for (int i = 0; i < 200'000; ++i) text += "\"k" + std::to_string(i) + "\": 1, ";
  EXPECT_EQ(render("{{ x | length }}", "{\"x\": " + text + "\"k7\": 2}}"), "200000");
  EXPECT_EQ(render("{{ x.a }}", R"({"x": {"a": 1, "a": 2}})"), "2");
}

}  // namespace
}  // namespace assay::jinja
