#include "jinja/render.h"

namespace assay::jinja {
namespace {

constexpr std::string_view variables =
    R"({"l": [3, 1, 2], "ls": ["b", "A", "c", "a"], "d": {"b": 1, "a": 2, "C": 3}, "nil": null,
        "ld": [{"n": "x", "v": 2, "k": {"q": 1}}, {"n": "y", "v": 1, "k": {"q": 2}},
               {"n": "X", "v": 2, "k": {}}]})";

TEST(Filter, OfText) {
  check({{"{{ 'hELLO wOrld' | capitalize }} {{ 'foo-bar (baz)' | title }}",
          "Hello world Foo-Bar (Baz)"},
         {"{{ ' x ' | trim }}|{{ 'xxaxx' | trim('x') }}", "x|a"},
         {"{{ 'aaa' | replace('a', 'b', 2) }} {{ 'ab' | replace('', '-') }}", "bba -a-b-"},
         {"{{ 'a\nb\n\nc' | indent }}|", "a\n    b\n\n    c|"},
         {"{{ 'a\n\nb' | indent(1, true, true) }}|{{ 'a\nb' | indent('> ') }}", " a\n \n b|a\n> b"},
         {"{{ '<a>' | e }} {{ '<a>' | e | e }} {{ ('<a>' | safe) + '<b>' }}",
          "&lt;a&gt; &lt;a&gt; <a>&lt;b&gt;"}});
}

TEST(Filter, OfNumbers) {
  check({{"{{ '42' | int }} {{ '3.9' | int }} {{ 'x' | int(7) }} {{ '0x1f' | int(base=16) }}",
          "42 3 7 31"},
         {"{{ '2.5' | float }} {{ 'x' | float }} {{ ' 1_0 ' | int }} {{ 'inf' | float }}",
          "2.5 0.0 10 inf"}},
        variables);
}

TEST(Filter, PicksFromLists) {
  check(
      {{"{{ l | first }}{{ l | last }}{{ l | length }}{{ l | join('-') }}", "3233-1-2"},
       {"{{ ld | join(',', attribute='n') }} {{ ls | reverse | list }} {{ 'abc' | reverse }}",
        "x,y,X ['a', 'c', 'A', 'b'] cba"},
       {"{{ l | map('string') | list }} {{ ld | map(attribute='k.q', default=0) | list }}",
        "['3', '1', '2'] [1, 2, 0]"},
       {"{{ l | select('odd') | list }} {{ l | reject('gt', 1) | list }} {{ [0, 1] | select | list "
        "}}",
        "[3, 1] [1] [1]"},
       {"{{ ld | selectattr('v', 'eq', 2) | map(attribute='n') | join }}", "xX"},
       {"{{ ld | rejectattr('k.q', 'defined') | map(attribute='n') | join }}", "X"},
       {"{{ nil | map('upper') | list }} {{ nil | selectattr('x') | list }}", "[] []"},
       {"{{ d | items | list }} {{ d | list }}", "[('b', 1), ('a', 2), ('C', 3)] ['b', 'a', 'C']"}},
      variables);
}

TEST(Filter, Compares) {
  check({{"{{ ls | sort }} {{ ls | sort(true) }} {{ ls | sort(case_sensitive=true) }}",
          "['A', 'a', 'b', 'c'] ['c', 'b', 'A', 'a'] ['A', 'a', 'b', 'c']"},
         {"{{ ld | sort(attribute='v,n') | map(attribute='n') | join }}", "yxX"},
         {"{{ d | dictsort }} {{ d | dictsort(by='value', reverse=true) }}",
          "[('a', 2), ('b', 1), ('C', 3)] [('C', 3), ('a', 2), ('b', 1)]"},
         {"{{ l | min }}{{ l | max }}{{ (ld | max(attribute='v')).n }}{{ [] | min }}", "13x"},
         {"{{ ls | unique | list }} {{ ls | unique(true) | list }}",
          "['b', 'A', 'c'] ['b', 'A', 'c', 'a']"},
         {"{{ [1, 'a'] | sort }}", "error: line 1: 'str' and 'int' have no order"}},
        variables);
}

TEST(Filter, GeneratorsAreWalkedOnce) {
  check({{"{% set g = l | map('string') %}{{ g | list }}{{ g | list }}", "['3', '1', '2'][]"},
         {"{% set g = l | map('string') %}{{ g | first }}{{ g | join }}", "312"},
         {"{{ l | map('string') | length }}", "error: line 1: a 'generator' has no length"}},
        variables);
}

TEST(Filter, ToJsonIsJsonDumps) {
  check({{"{{ {'a': [1, 2.0, none, true], 'é': 'x\"\\n<&>'} | tojson }}",
          "{\"a\": [1, 2.0, null, true], \"é\": \"x\\\"\\n<&>\"}"},
         {"{{ {'a': [1], 'b': {}} | tojson(indent=2) }}",
          "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"},
         {"{{ {'b': 1, 'a': 2} | tojson(separators=(',', ':'), sort_keys=true) }}",
          "{\"a\":2,\"b\":1}"},
         {"{{ 'é😀\x7f' | tojson(ensure_ascii=true) }}", "\"\\u00e9\\ud83d\\ude00\\u007f\""},
         {"{{ {1: 2, none: 3, true: 4} | tojson }}", "{\"1\": 4, \"null\": 3}"},
         {"{{ x | tojson }}", "error: line 1: 'tojson' can't write a value of type 'Undefined'"}});
}

TEST(Filter, UnknownNamesFailBeforeRendering) {
  EXPECT_FALSE(Template::compile("{{ 1 | nonsense }}"));
  EXPECT_FALSE(Template::compile("{{ 1 is nonsense }}"));
  // Inside of a condition a template may have asked for it first; a loop's body is strict again.
  EXPECT_TRUE(Template::compile("{% if false %}{{ 1 | nonsense }}{% endif %}"));
  EXPECT_TRUE(Template::compile("{{ 1 if true else 1 | nonsense }}"));
  EXPECT_FALSE(
      Template::compile("{% if true %}{% for i in l %}{{ i | nonsense }}{% endfor %}{% endif %}"));
  EXPECT_EQ(render("{% if true %}{{ 1 | nonsense }}{% endif %}").substr(0, 71),
            "error: line 1: the filter 'nonsense' is not supported; supported: capit");
}

TEST(Filter, OfJinjaThatAreNotSupportedAreRefusedByName) {
  for (const std::string name :
       {"abs", "attr", "batch", "center", "filesizeformat", "forceescape", "groupby", "pprint",
        "random", "round", "slice", "striptags", "sum", "truncate", "urlencode", "urlize",
        "wordcount", "wordwrap", "xmlattr"}) {
    const std::string sentence = "the filter '" + name + "' is not supported; supported: ";
    for (const std::string& use :
         {"{{ x | " + name + " }}", "{% filter " + name + " %}{% endfilter %}",
          "{{ 'x' | map('" + name + "') }}"}) {
      EXPECT_EQ(render(use).find("error: line 1: " + sentence), 0u) << use << "\n" << render(use);
    }
  }
  EXPECT_EQ(render("{{ x | wordwrap }}"),
            "error: line 1: the filter 'wordwrap' is not supported; supported: capitalize, count, "
            "d, default, dictsort, e, escape, first, float, format, indent, int, items, join, "
            "last, length, list, lower, map, max, min, reject, rejectattr, replace, reverse, "
            "safe, select, selectattr, sort, string, title, tojson, trim, unique, upper");
}

TEST(Filter, TestsThatAreNotSupportedAreRefusedByName) {
  for (const std::string name : {"callable", "divisibleby", "filter", "lower", "test", "upper"}) {
    const std::string sentence = "the test '" + name + "' is not supported; supported: ";
    for (const std::string& use :
         {"{{ x is " + name + " }}", "{{ 'x' | select('" + name + "') }}"}) {
      EXPECT_EQ(render(use).find("error: line 1: " + sentence), 0u) << use << "\n" << render(use);
    }
  }
}

TEST(Filter, ArgumentsAreChecked) {
  check({{"{{ 1 | list(2) }}", "error: line 1: 'list' takes at most 0 arguments, not 1"},
         {"{{ 'a' | indent(wide=2) }}", "error: line 1: 'indent' takes no argument 'wide'"},
         {"{{ 'a' | replace('a') }}", "error: line 1: 'replace' needs its argument 'new'"},
         {"{{ 'a'.split('b', 'c') }}", "error: line 1: 'split' needs an integer, not a str"}});
}

}  // namespace
}  // namespace assay::jinja
