#include "jinja/render.h"

namespace assay::jinja {
namespace {

TEST(WhiteSpace, TagsTakeTheirLineWithThem) {
  check({{"a\n  {% if true %}\n    b\n  {% endif %}\nc", "a\n    b\nc"},
         {"a\n  {%- if true -%}\n    b\n  {%- endif -%}\nc", "abc"},
         {"a\n  {%+ if true +%}\n    b\n  {%+ endif %}\nc", "a\n  \n    b\n  c"},
         {"  {# c #}\nx {# y #}\nz{#- w -#}\n q",
          "x z"
          "q"},
         {"{{ 1 }}\n  {{ 2 -}}\n  x  {{- 3 }}\n\n", "1\n  2x3\n"},
         {"x {% set a = 1 %}\ny", "x y"},
         {"{% set a = 1 %}  {% set b = 2 %}\n  {% set c = 3 %}.", "  ."},
         {"a\r\nb\rc", "a\nb\nc"}});
}

TEST(WhiteSpace, RawIsNotRead) {
  check({{"{% raw %}{{ x }} {% if %}{# #}{% endraw %}!", "{{ x }} {% if %}{# #}!"},
         {"a\n  {%- raw -%}  {{ y }}  {%- endraw -%}  b", "a{{ y }}b"},
         {"  {% raw %}\n q\n  {% endraw %}\nz", "\n q\nz"}});
}

TEST(Statement, Conditions) {
  check({{"{% if x %}a{% elif y %}b{% else %}c{% endif %}", "b"},
         {"{% if not x and y == 1 %}a{% endif %}{% if (x) %}b{% endif %}", "a"},
         {"{% if x: %}a{% else: %}b{% endif %}", "b"}},
        R"({"x": 0, "y": 1})");
}

TEST(Statement, Loops) {
  check(
      {{"{% for i in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}"
        "{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}",
        "1032TrueFalse3 2121FalseFalse3 3210FalseTrue3 "},
       {"{% for i in l %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}",
        "<5>6 5<6>6 6<6> "},
       {"{% for i in l %}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }} {% endfor %}",
        "Truea Trueb Falsea "},
       {"{% for i in range(10) if i is odd %}{{ i }}{{ ',' if not loop.last }}{% endfor %}",
        "1,3,5,7,9"},
       {"{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 4 %}{% break %}"
        "{% endif %}{{ i }}{% endfor %}",
        "0134"},
       {"{% for i in [] %}a{% else %}empty{% endfor %}", "empty"},
       {"{% for a, (b, c) in [[1, [2, 3]]] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "123"},
       {"{% for x in t recursive %}{{ x.n }}{{ loop.depth }}{% if x.c %}({{ loop(x.c) }}){% endif "
        "%}"
        "{% endfor %}",
        "a1(b2(c3))d1"},
       {"{% for i in [1, 2] %}{% for j in [1] %}{{ loop.length }}{% endfor %}{{ loop.length }}"
        "{% endfor %}",
        "1212"},
       {"{% for c in 'é日' %}[{{ c }}]{% endfor %}", "[é][日]"},
       {"{% for a, b in [[1]] %}{% endfor %}", "error: line 1: can't unpack 1 values into 2 names"},
       {"{% for i in 5 %}{% endfor %}", "error: line 1: a 'int' can't be walked over"}},
      R"({"l": [5, 6, 6], "t": [{"n": "a", "c": [{"n": "b", "c": [{"n": "c"}]}]}, {"n": "d"}]})");
}

TEST(Statement, Assignments) {
  check({{"{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set x = 1, %}{{ x }}", "12(1,)"},
         {"{% set t %}a{{ 1 }}{% endset %}{{ t }}{% set u | upper | replace('A', 'b') %}aX{% "
          "endset %}"
          "{{ u }}",
          "a1bX"},
         {"{% with a=1, b=2 %}{{ a + b }}{% endwith %}[{{ a }}]", "3[]"},
         {"{% filter upper %}ab{{ 'c' }}{% endfilter %}", "ABC"},
         {"{% set a.b = 1 %}",
          "error: line 1: can't assign an attribute of what isn't a namespace"}});
}

TEST(Scope, LoopsDoNotLeakAndNamespacesDo) {
  check({{"{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = 5 %}{{ x }}{% endfor %}{{ x }}",
          "15151"},
         {"{% set n = namespace(x=0) %}{% for i in [1, 2] %}{% set n.x = n.x + i %}{% endfor %}{{ "
          "n.x }}",
          "3"},
         {"{% if true %}{% set y = 2 %}{% endif %}{{ y }}", "2"},
         {"{% set x %}{% set y = 3 %}{% endset %}[{{ y }}]", "[]"},
         {"{% generation %}{% set z = 1 %}g{% endgeneration %}[{{ z }}]", "g[]"},
         {"{{ m }}{% set m = 3 %}{{ m }}", "13"},
         // A macro sees what the template sets later, and its own loop's variables.
         {"{% macro a() %}{{ z }}{% endmacro %}{% set z = 5 %}{{ a() }}", "5"},
         {"{% for i in [1, 2] %}{% macro a() %}{{ i }}{{ loop.index0 }}{% endmacro %}{{ a() }}{% "
          "endfor %}",
          "1021"},
         // Kept from the first round, it sees the round that runs, and nothing left from before.
         {"{% set n = namespace() %}{% for i in [1, 2, 3] %}{% if loop.first %}{% set q = 8 %}{% "
          "endif %}"
          "{% macro f() %}{{ q }}{{ i }} {% endmacro %}{% if loop.first %}{% set n.f = f %}{% "
          "endif %}"
          "{{ n.f() }}{% endfor %}",
          "81 2 3 "}},
        R"({"m": 1})");
}

TEST(Macro, TakesArgumentsAsPythonFunctionsDo) {
  check(
      {{"{% macro f(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }} {{ f(1, c=3) }} "
        "{{ f(b=5, a=4) }} {{ f(*[7, 8]) }} {{ f(**{'a': 9}) }}",
        "121 123 454 787 929"},
       {"{% macro f(a) %}{{ a is defined }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f() }} "
        "{{ f(1, 2, x=3) }}",
        "False(){} True(2,){'x': 3}"},
       {"{% macro f(a) %}[{{ caller(a) }}]{% endmacro %}{% call(x) f(3) %}got {{ x }}{% endcall %}",
        "[got 3]"},
       {"{% macro f(a, b) %}{% endmacro %}{{ f.name }}{{ f.arguments }}{{ f.caller }}",
        "f('a', 'b')False"},
       {"{% macro r(n) %}{{ n }}{% if n %}{{ r(n - 1) }}{% endif %}{% endmacro %}{{ r(5) }}",
        "543210"},
       {"{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}",
        "error: line 1: macro 'f' takes not more than 1 arguments"},
       {"{% macro f(a) %}{% endmacro %}{{ f(b=2) }}",
        "error: line 1: macro 'f' takes no keyword argument 'b'"},
       {"{% macro f() %}{% endmacro %}{% call f() %}{% endcall %}",
        "error: line 1: macro 'f' takes no keyword argument 'caller'"}});
}

TEST(Error, IsOneSentenceWithItsLine) {
  check({{"a\n{% include 'x' %}",
          "error: line 2: the tag 'include' is not supported in a chat template"},
         {"\n\n{% nosuch %}", "error: line 3: unknown tag 'nosuch'"},
         {"{% if %}{% endif %}", "error: line 1: expected an expression, got '%}'"},
         {"{{ }}", "error: line 1: expected an expression, got '}}'"},
         {"{{ a b }}", "error: line 1: expected '}}', got 'b'"},
         {"{% for i in l %}\n", "error: line 1: the 'for' of line 1 has no 'endfor'"},
         {"{{ 'a", "error: line 1: the string is not closed"},
         {"\n{{ (1 }}", "error: line 2: '}' closes nothing"},
         {"{# x", "error: line 1: the comment is not closed by '#}'"},
         {"{% raw %}x", "error: line 1: the raw block is not closed by '{% endraw %}'"},
         {"{{ 1", "error: line 1: the tag is not closed by '}}'"},
         {"{% endif %}", "error: line 1: unknown tag 'endif'"},
         {"{% break %}", "error: line 1: 'break' outside of a loop"},
         {"{% for i in [1] %}{% macro f() %}{% break %}{% endmacro %}{% endfor %}",
          "error: line 1: 'break' outside of a loop"},
         {"{{ f(a=1, 2) }}", "error: line 1: an argument without a name follows one with a name"},
         {"{{ 1 ? 2 }}", "error: line 1: unexpected character '?'"},
         {"{{ '\\ud800' }}", "error: line 1: an escape in a string names no character"},
         {"\xFF", "error: the template is not valid UTF-8"},
         {"{{ 1 / 0 }}", "error: line 1: division by zero"},
         {"{{ 1 + 'a' }}", "error: line 1: '+' doesn't take 'int' and 'str'"},
         {"{{ 5() }}", "error: line 1: a 'int' can't be called"}});
}

TEST(Context, KeepsOrderAndRefusesWhatDoesNotFit) {
  EXPECT_EQ(render("{{ d }}", R"({"d": {"z": 1, "a": [null, true, 1.5]}})"),
            "{'z': 1, 'a': [None, True, 1.5]}");
  EXPECT_FALSE(Context::from_json(nlohmann::ordered_json::array()));
  std::string deep = "1";
  for (int i = 0; i < 200; ++i) deep = "[" + deep + "]";
  EXPECT_EQ(render("", "{\"d\": " + deep + "}").substr(0, 40),
            "error: the variables are nested more tha");
}

TEST(Namespace, AttributesWithAnUnderscoreAreNotRead) {
  check({{"{% set ns = namespace(_x=1, y=2) %}[{{ ns._x }}{{ ns['_x'] is defined }}{{ ns.y }}]",
          "[False2]"},
         {"{% set ns = namespace(_x='a') %}{% set ns._x = ns._x + 'b' %}",
          "error: line 1: the attribute '_x' of a namespace can't be read: it begins with '_'"},
         {"{{ {'_x': 1}._x }}", "1"}});
}

TEST(Place, ErrorsHaveLineAndColumn) {
  const auto error = [](std::string_view source) { return render_with_columns(source); };
  EXPECT_EQ(error("a\n  {% bad %}"), "error: line 2, column 6: unknown tag 'bad'");
  EXPECT_EQ(error("é日{{ 1 ? }}"), "error: line 1, column 8: unexpected character '?'");
  EXPECT_EQ(error("{#\n#}\n\n {{ 1 / 0 }}"), "error: line 4, column 7: division by zero");
  EXPECT_EQ(error("{{ 'a\nb' }}{{ x.y }}"), "error: line 2, column 9: 'x' is undefined");
  EXPECT_EQ(error("{% raw %}\n{% endraw %} {{ [1] | nothing }}").substr(0, 26),
            "error: line 2, column 23: ");
  EXPECT_EQ(error("a\n{% if x %}").substr(0, 26), "error: line 2, column 11: ");
}

TEST(Context, DatesAreChecked) {
  EXPECT_TRUE(parse_date("2024-02-29"));
  EXPECT_FALSE(parse_date("2023-02-29"));
  EXPECT_FALSE(parse_date("2024-13-01"));
  EXPECT_FALSE(parse_date("2024-7-26"));
  EXPECT_FALSE(parse_date("2024-07-26 25:00:00"));
  EXPECT_TRUE(parse_date("2024-07-26T13:05:09"));
}

}  // namespace
}  // namespace assay::jinja
