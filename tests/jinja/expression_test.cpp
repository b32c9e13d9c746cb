#include "jinja/render.h"

namespace assay::jinja {
namespace {

constexpr std::string_view variables =
    R"({"s": "Zürich 日本", "n": 7, "f": 2.5, "l": [3, 1, 2], "d": {"b": 1, "a": [2]}, "nil": null})";

TEST(Expression, PrintsValuesAsPythonDoes) {
  check({{"{{ true }} {{ none }} {{ 1 }} {{ -0.0 }}", "True None 1 -0.0"},
         {"{{ 1e16 }} {{ 1e15 }} {{ 0.0001 }} {{ 0.00001 }} {{ 0.1 + 0.2 }}",
          "1e+16 1000000000000000.0 0.0001 1e-05 0.30000000000000004"},
         {"{{ [1, 'a', none, 2.0, [true]] }}", "[1, 'a', None, 2.0, [True]]"},
         {"{{ (1,) }} {{ () }} {{ 1, 2 }}", "(1,) () (1, 2)"},
         {"{{ {'a': 1, 2: 'b'} }}", "{'a': 1, 2: 'b'}"},
         {"{{ [\"it's\"] }} {{ ['\"'] }} {{ ['\\'\"'] }}", "[\"it's\"] ['\"'] ['\\'\"']"},
         {"{{ ['\\n\\t\\x07\\u200bé'] }}", "['\\n\\t\\x07\\u200bé']"},
         {"{{ range(2, 9, 3) }} {{ {'a': 1}.keys() }}", "range(2, 9, 3) dict_keys(['a'])"}});
}

TEST(Expression, LiteralsAreJinjas) {
  check({{"{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1e3 }} {{ 00 }}",
          "31 5 15 1000 1000.0 0"},
         {"{{ 'a' 'b' }} {{ 'a\\\\b\\x41\\u00e9\\q' }}", "ab a\\bAé\\q"},
         {"{{ '{{' ~ \"%}\" }}", "{{%}"},
         {"{{ [1, 2,] }} {{ {'a': {'b': {}}} }}", "[1, 2] {'a': {'b': {}}}"},
         {"{{ {1: 2, 1.0: 3, true: 4} }}", "{1: 4}"}});
}

TEST(Expression, OperatorsBindAsJinjas) {
  check({{"{{ 2 + 3 * 4 }} {{ (2 + 3) * 4 }}", "14 20"},
         // ** is left-associative and a sign binds tighter, unlike Python.
         {"{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }}", "64 4"},
         {"{{ -1 | string }} {{ 1 ~ 2 * 3 }}", "-1 16"},
         {"{{ not 1 == 2 }} {{ true or false and false }}", "True True"},
         {"{{ 1 < 2 < 3 }} {{ 1 < 3 < 2 }} {{ 3 > 2 == 2 }}", "True False True"},
         {"{{ 1 if false else 2 if false else 3 }}", "3"},
         {"{{ 'a' if 1 in [1] and 2 not in [1] }}", "a"}});
}

TEST(Expression, ArithmeticIsPythons) {
  check({{"{{ 7 // 2 }} {{ -7 // 2 }} {{ -7 % 3 }} {{ 7 % -3 }}", "3 -4 2 -2"},
         {"{{ 7 / 2 }} {{ 4 / 2 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }}", "3.5 2.0 3.0 0.5"},
         {"{{ 2 ** -1 }} {{ 2 ** 10 }} {{ true + true }}", "0.5 1024 2"},
         {"{{ 'ab' * 2 }} {{ [1] * 2 + [3] }} {{ 'x' * -1 }}", "abab [1, 1, 3] "},
         {"{{ 1 == 1.0 == true }} {{ '1' == 1 }} {{ [1] == (1,) }}", "True False False"},
         {"{{ [1, 2] < [1, 3] }} {{ 'a' < 'b' }} {{ none == false }}", "True True False"},
         {"{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}", "True"}});
}

TEST(Expression, ComparesIntegersWithFloatsExactly) {
  // 2^53 + 1 has no float of its own: as one it would be 2^53.
  check(
      {{"{{ 9007199254740993 > 9007199254740992.0 }} {{ 9007199254740993 == 9007199254740992.0 }}",
        "True False"},
       {"{{ 2 < 2.5 }} {{ 3 < 2.5 }} {{ -2 > -2.5 }} {{ 2 < 1e300 }} {{ 2 > -1e300 }}",
        "True False True True True"},
       {"{{ {2: 'a'}[2.0] }} {{ {2: 'a'}[2.5] is defined }}", "a False"}});
}

TEST(Expression, IntegersThatDoNotFitAreErrors) {
  const std::string_view no_fit = "error: line 1: an integer doesn't fit 64 bits";
  check({{"{{ 9223372036854775807 + 1 }}", no_fit},
         {"{{ -9223372036854775807 - 2 }}", no_fit},
         {"{{ -(-9223372036854775807 - 1) }}", no_fit},
         {"{{ (-9223372036854775807 - 1) // -1 }}", no_fit},
         {"{{ 3037000500 * 3037000500 }}", no_fit},  // just above 2^63
         {"{{ 2 ** 63 }}", no_fit},
         {"{{ (-9223372036854775807 - 1) % -1 }}", "0"},
         {"{{ -9223372036854775807 - 1 }}", "-9223372036854775808"}});
}

TEST(Expression, StringsCountCodePoints) {
  check({{"{{ s | length }} {{ s[1] }} {{ s[-1] }} {{ s[7:] }} {{ s[::-1] }}",
          "9 ü 本 日本 本日 hcirüZ"},
         {"{{ s.upper() }} {{ 'ß'.upper() }} {{ 'ÀÉ'.lower() }}", "ZÜRICH 日本 SS àé"},
         {"{{ s[100] }}|{{ s[5:2] }}|{{ s[1:100:3] }}", "||üc日"}},
        variables);
}

TEST(Expression, AttributesAndItemsFallBackOnEachOther) {
  check({{"{{ d.b }} {{ d['b'] }} {{ d.a.0 }} {{ l[-1] }}", "1 1 2 2"},
         {"{{ {'items': 1}['items'] }} {{ {'items': 1}.items() | list }}", "1 [('items', 1)]"},
         {"{{ d['get']('b') }} {{ d.get('x') }} {{ d.get('x', 9) }}", "1 None 9"},
         {"{{ l['x'] }}|{{ l[9] }}|{{ nil.x }}|{{ n.x }}", "|||"},
         {"{{ l[1:] }} {{ l[::-1] }} {{ (1, 2)[:1] }} {{ range(9)[2:4] }}",
          "[1, 2] [2, 1, 3] (1,) range(2, 4)"}},
        variables);
}

TEST(Expression, UndefinedPrintsNothingAndCannotBeUsed) {
  check({{"[{{ x }}{{ x | default('d') }}{{ x is defined }}]", "[dFalse]"},
         {"{{ [x] }} {{ x == y }} {{ x == none }} {{ x ~ 'a' }}", "[Undefined] True False a"},
         {"{% for i in x %}a{% else %}none{% endfor %}", "none"},
         {"{{ x.y }}", "error: line 1: 'x' is undefined"},
         {"\n{{ d.x.y }}", "error: line 2: 'dict object' has no attribute 'x'"},
         {"{{ x + 1 }}", "error: line 1: 'x' is undefined"},
         {"{{ x() }}", "error: line 1: 'x' is undefined"},
         {"{{ x < 1 }}", "error: line 1: 'x' is undefined"},
         {"{{ (1 if false).y }}",
          "error: line 1: the inline if-expression is false and has no else section"}},
        variables);
}

TEST(Expression, TestsAnswerAsJinjas) {
  check(
      {{"{{ n is odd }} {{ n is even }} {{ -1 is odd }} {{ 2.5 is even }}",
        "True False True False"},
       {"{{ s is string }} {{ d is mapping }} {{ l is sequence }} {{ d is sequence }}",
        "True True True True"},
       {"{{ n is number }} {{ true is number }} {{ true is integer }} {{ f is float }}",
        "True True False True"},
       {"{{ n is eq 7 }} {{ n is ne(7) }} {{ n is gt 6 and n is le 7 }}", "True False True"},
       {"{{ n is in [7] }} {{ n is not in [7] }} {{ nil is none }} {{ n is not none }}",
        "True False True True"},
       {"{{ s is iterable }} {{ n is iterable }} {{ x is iterable }}", "True False True"},
       {"{{ true is true }} {{ 1 is true }} {{ false is false }} {{ 1 is boolean }}",
        "True False True False"},
       {"{{ none is sameas none }} {{ s is sameas s }} {{ 1 is sameas true }}", "True True False"},
       {"{{ ('a' | e) is escaped }} {{ 'a' is escaped }}", "True False"}},
      variables);
}

TEST(Expression, WhatWouldChangeAValueIsRefused) {
  check({{"{{ l.append(4) }}",
          "error: line 1: 'append' would change a value, which a template may not"},
         {"{{ d.update({}) }}",
          "error: line 1: 'update' would change a value, which a template may not"},
         {"{{ l.append }}|{{ d.pop is defined }}", "|False"}},
        variables);
}

}  // namespace
}  // namespace assay::jinja
