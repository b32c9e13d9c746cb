// Templates that would eat all time or memory end in one sentence, in about a second at most each.
#include <ctime>

#include "jinja/render.h"

namespace assay::jinja {
namespace {

#if defined(__SANITIZE_ADDRESS__)
constexpr double patience_s = 40;  // sanitizers take their time
#else
constexpr double patience_s = 5;  // a busy machine's second; without a limit it would be hours
#endif

/// The error of a template; empty where it renders.
std::string refused(const std::string& source) {
  const std::clock_t start = std::clock();  // of this process: others may be busy
  const std::string text = render(source);
  const double seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  EXPECT_TRUE(seconds <= patience_s) << seconds << " s for " << source.substr(0, 100);
  return text.starts_with("error: line ") ? text : "";
}
void expect_refused(const std::string& source, std::string_view reason) {
  const std::string error = refused(source);
  EXPECT_NE(error.find(reason), std::string::npos) << source.substr(0, 100) << "\n" << error;
}
std::string repeated(std::string_view text, int count) {
  std::string made;
  for (int i = 0; i < count; ++i) made += text;
  return made;
}

/// `change` applied a hundred times to ns.x, which begins as `start`.
std::string growing(const std::string& start, const std::string& change,
                    const std::string& use = "") {
  return "{% set ns = namespace(x=" + start + ", y=" + start +
         ") %}{% for i in range(90) %}{% set ns.x = " + change +
         " %}{% set ns.y = ns.x %}{% endfor %}" + use;
}

TEST(Limits, Steps) {
  expect_refused("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
                 "steps");
  expect_refused(
      "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
      "steps");
  expect_refused(
      "{% set a = 'a' * 16000000 %}{% for i in range(99999) %}{% set b = a | lower %}{% endfor %}",
      "steps");
  expect_refused(
      "{% set a = '日' * 5000000 %}{% for i in range(99999) %}{% set b = a[4999999] %}{% endfor %}",
      "steps");
  expect_refused(
      "{% set a = 'a' * 8000000 %}{% set b = 'a' * 4000000 ~ 'b' %}{% for i in range(99999) %}"
      "{{ b in a }}{% endfor %}",
      "steps");
}

TEST(Limits, StepsCountWhatTheyAreGiven) {
  Limits few;
  few.steps = 1000;
  EXPECT_EQ(render("{% for i in range(10) %}{{ i }}{% endfor %}", "{}", few), "0123456789");
  EXPECT_EQ(render("{% for i in range(1000) %}{{ i }}{% endfor %}", "{}", few),
            "error: line 1: the template takes more than the limit of 1000 steps");
}

TEST(Limits, GrowWithTheVariables) {
  // 1500² rounds of five steps and more are beyond the limit of 10 million.
  const std::string source =
      "{% for m in messages %}{% for n in messages %}{% if n.x == 1 %}x{% endif %}{% endfor %}"
      "{% endfor %}ok";
  nlohmann::ordered_json messages;
  for (int i = 0; i < 1500; ++i) messages.push_back({{"x", 0}, {"text", std::string(50, 'a')}});
  EXPECT_EQ(render(source, nlohmann::ordered_json{{"messages", messages}}.dump()), "ok");
  EXPECT_GT(Limits{}.grown(1'000'000).steps, Limits{}.steps);
  EXPECT_EQ(Limits{}.grown(0).steps, Limits{}.steps);
}

TEST(Limits, WhatALoopCollectsTakesNoSquare) {
  EXPECT_EQ(render("{% set ns = namespace(t='', l=[]) %}{% for i in range(50000) %}"
                   "{% set ns.t = ns.t + 'abcde' + 'fghij' %}{% set ns.t = ns.t ~ i ~ '.' %}"
                   "{% set ns.l = ns.l + [i] %}{% endfor %}"
                   "{{ ns.t | length }} {{ ns.l | length }} {{ ns.t[:24] }} {{ ns.l[:3] }}"),
            "788890 50000 abcdefghij0.abcdefghij1. [0, 1, 2]");
}

TEST(Limits, WhatOthersHoldIsNotChanged) {
  check({{"{% set ns = namespace(t='a' ~ 'b') %}{% set old = ns.t %}{% set ns.t = ns.t + 'x' %}"
          "{{ old }} {{ ns.t }}",
          "ab abx"},
         {"{% set ns = namespace(t='a' ~ 'b') %}{% set ns.t = ns.t + ns.t %}"
          "{% set ns.t = ns.t ~ ns.t ~ 1 %}{{ ns.t }}",
          "abababab1"},
         {"{% set l = [1] + [2] %}{% set m = [l] %}{% set l = l + [3] %}{{ l }} {{ m }}",
          "[1, 2, 3] [[1, 2]]"},
         {"{% for i in [1, 2] %}{% set t = 'a' %}{% set t = t + 'b' %}{{ t }}{% endfor %}", "abab"},
         {"{% set t = 'a' %}{% for i in [1, 2] %}{% set t = t + 'b' %}{{ t }}{% endfor %}{{ t }}",
          "ababa"},
         {"{% set ns = namespace(t='a' ~ '') %}{% macro f() %}{% set ns.t = 'z' %}b{% endmacro %}"
          "{% set ns.t = ns.t + f() %}{{ ns.t }}",
          "ab"},
         {"{% set t = 'a' ~ 'b' %}{% set t = t + 1 %}",
          "error: line 1: '+' doesn't take 'str' and 'int'"},
         {"{% set t = ('<' | safe) %}{% set t = t + '<' %}{{ t }}", "<&lt;"},
         {"{% set l = [1] + [2] %}{% set l = l ~ 3 %}{{ l }}", "[1, 2]3"},
         {"{% set ns = namespace(n=1) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}", "2"}});
}

TEST(Limits, Memory) {
  Limits small;
  small.memory_bytes = 1'000'000;
  const auto kept = [&](const char* what) {
    return render(
        "{% set ns = namespace(l=[]) %}{% for i in range(20000) %}{% set ns.l = ns.l + [" +
            std::string(what) + "] %}{% endfor %}",
        "{}", small);
  };
  const std::string error =
      "error: line 1: the template holds more than the limit of 1000000 bytes";
  EXPECT_EQ(kept("'a' * 1000"), error);
  EXPECT_EQ(kept("[i]"), error);
  EXPECT_EQ(kept("{'a': i}"), error);
  EXPECT_EQ(kept("namespace()"), error);
  // What is given up again doesn't count.
  EXPECT_EQ(
      render("{% for i in range(20000) %}{% set x = 'a' * 1000 %}{% endfor %}ok", "{}", small),
      "ok");
  EXPECT_EQ(render("{% macro f() %}{{ 'a' * 1000 }}{% endmacro %}{% for i in range(2000) %}"
                   "{% set x = f() %}{% endfor %}ok",
                   "{}", small),
            "ok");
}

TEST(Limits, SharedListsAreWalkedOnlySoFar) {
  expect_refused(growing("[1]", "[ns.x, ns.x]", "{{ ns.x }}"), "longer than the limit");
  expect_refused(growing("[1]", "[ns.x, ns.x]", "{{ ns.x | tojson }}"), "longer than the limit");
  expect_refused(
      "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(90) %}{% set ns.x = [ns.x, ns.x] %}"
      "{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
      "steps");
  expect_refused(growing("(1,)", "(ns.x, ns.x)", "{{ {(1,): 2}[ns.x] }}"), "can't be a key");
  expect_refused(growing("[1]", "ns.x + ns.x"), "list of");
}

TEST(Limits, NestedValues) {
  const std::string loop = "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}";
  expect_refused(loop + "{% set ns.x = [ns.x] %}{% endfor %}", "nested more than 100");
  expect_refused(loop + "{% set ns.x = {'a': ns.x} %}{% endfor %}", "nested more than 100");
  expect_refused(loop + "{% set ns.x = [ns.x.copy] %}{% endfor %}", "nested more than 100");
  expect_refused(loop + "{% set ns.x = dict.fromkeys('a', ns.x) %}{% endfor %}",
                 "nested more than 100");
}

TEST(Limits, ChainsOfNamespacesAndMacrosEndWithoutRecursion) {
  EXPECT_EQ(
      render("{% set ns = namespace() %}{% for i in range(50000) %}{% set n = namespace(p=ns.x) %}"
             "{% set ns.x = n %}{% endfor %}ok"),
      "ok");
  EXPECT_EQ(render("{% set ns = namespace(m=0) %}{% for i in range(30000) %}{% set p = ns.m %}"
                   "{% macro f() %}{{ p }}{% endmacro %}{% set ns.m = f %}{% endfor %}ok"),
            "ok");
  expect_refused("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "recurses");
}

TEST(Limits, Recursion) {
  expect_refused("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "recurses more than 600");
  expect_refused(
      "{% macro f(x) %}{% for i in [1] %}{% if true %}{{ (f(x + 1) ~ '') | upper | trim }}{% endif "
      "%}"
      "{% endfor %}{% endmacro %}{{ f(1) }}",
      "recurses");
  expect_refused("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "recurses");
}

TEST(Limits, NestedSource) {
  const int many = 100'000;
  expect_refused("{{ " + repeated("(", many) + "1" + repeated(")", many) + " }}",
                 "nested more than 150");
  expect_refused("{{ " + repeated("[", many) + repeated("]", many) + " }}", "nested");
  expect_refused("{{ " + repeated("{1:", many) + "1" + repeated("}", many) + " }}", "nested");
  expect_refused("{{ " + repeated("not ", many) + "1 }}", "nested");
  expect_refused("{{ " + repeated("-", many) + "1 }}", "nested");
  expect_refused("{{ 1" + repeated("+1", many) + " }}", "nested");
  expect_refused("{{ a" + repeated(".a", many) + " }}", "nested");
  expect_refused("{{ 1" + repeated("|string", many) + " }}", "nested");
  expect_refused("{{ a" + repeated("()", many) + " }}", "nested");
  expect_refused("{{ 1 " + repeated("if 1 ", many) + " }}", "nested");
  expect_refused("{{ 1 " + repeated("if 1 else 1 ", many) + " }}", "nested");
  expect_refused("{{ " + repeated("f(a=", many) + repeated(")", many) + " }}", "nested");
  expect_refused(repeated("{% if 1 %}", many), "nested");
  expect_refused("{% for " + repeated("(", many) + "a" + repeated(")", many) + " in b %}",
                 "nested");
  expect_refused("{% set x " + repeated("|string", many) + " %}{% endset %}", "nested");
  EXPECT_EQ(render("{{ " + repeated("(", 100) + "1" + repeated(")", 100) + " }}"), "1");
}

TEST(Limits, LongStrings) {
  expect_refused("{{ 'a' * 10**9 }}",
                 "a string of 1000000000 bytes is longer than the limit of 16777216");
  expect_refused("{{ 'ab' * 9223372036854775807 }}", "longer than the limit");
  expect_refused(growing("'ab'", "ns.x ~ ns.x"), "longer than the limit");
  expect_refused(growing("'ab'", "ns.x + ns.x"), "longer than the limit");
  expect_refused("{{ range(99999) | join('x' * 100000) }}", "longer than the limit");
  expect_refused("{{ ('a' * 100000) | replace('a', 'b' * 100000) }}", "longer than the limit");
  expect_refused("{{ ('a' * 100000).replace('', 'b' * 100000) }}", "longer than the limit");
  expect_refused("{{ ('ΐ' * 5000000).upper() }}", "longer than the limit");  // 2 bytes become 6
  expect_refused("{{ [[[[1]]]] | tojson(indent=10**7) }}", "longer than the limit");
}

TEST(Limits, Widths) {
  for (const char* wide :
       {"'a' | indent(10**12)", "'%99999999999d' % 1", "'%*d' % (99999999999, 1)",
        "'{:>99999999999}'.format(1)", "'%.99999999f' % 1.0", "'{:.99999999}'.format(1.5)",
        "'{:{}}'.format(1, 99999999999)", "'{99999999999999999999}'.format(1)"}) {
    EXPECT_NE(refused("{{ " + std::string(wide) + " }}"), "") << wide;
  }
  EXPECT_EQ(render("{{ 'a' | indent(-9223372036854775807, true) }}"), "a");
  EXPECT_EQ(render("{{ 'abc'[-9223372036854775807:9223372036854775807:9223372036854775807] }}"),
            "a");
}

TEST(Limits, LongLists) {
  expect_refused("{{ range(10**9) }}", "a range is longer than the limit of 100000");
  expect_refused("{{ [1] * 10**9 }}",
                 "a list of 1000000000 items is longer than the limit of 1000000");
  expect_refused("{{ ('a ' * 4000000).split(' ') | length }}", "list of");
  EXPECT_EQ(
      render("{{ range(-9223372036854775807, 9223372036854775807, 9223372036854775807) | list }}"),
      "[-9223372036854775807, 0]");
}

TEST(Limits, Powers) {
  expect_refused("{{ 9 ** 9 ** 9 }}", "64 bits");
  expect_refused("{{ 2 ** 9223372036854775807 }}", "64 bits");
  expect_refused("{{ 10.0 ** 400 }}", "too large");
  EXPECT_EQ(render("{{ 1 ** 9223372036854775807 }}{{ (-1) ** 9223372036854775807 }}"), "1-1");
}

TEST(Limits, OutputAndSource) {
  expect_refused("{% set a = 'a' * 16000000 %}{% for i in range(99999) %}{{ a }}{% endfor %}",
                 "the output is longer than the limit");
  Limits small;
  small.template_bytes = 10;
  EXPECT_EQ(render("0123456789", "{}", small), "0123456789");
  EXPECT_EQ(render("0123456789a", "{}", small),
            "error: the template has 11 bytes, more than the limit of 10");
}

}  // namespace
}  // namespace assay::jinja
