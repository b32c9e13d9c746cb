#include "jinja/render.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {
namespace {

TEST(Method, OfStrings) {
  check({{"{{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,'.split(',') }}",
          "['a', 'b'] ['a', 'b,c'] ['a', 'b', '']"},
         {"{{ ' a b '.split(none, 0) }} {{ 'a b  c '.split(maxsplit=1) }} {{ 'aaa'.split('aa') }}",
          "['a b '] ['a', 'b  c '] ['', 'a']"},
         {"[{{ ' a '.strip() }}] [{{ 'xay'.strip('xy') }}] [{{ ' a '.lstrip() }}]", "[a] [a] [a ]"},
         {"{{ 'abc'.startswith('a') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.startswith('b', "
          "1) }}",
          "True True True"},
         {"{{ 'abc'.startswith('', 4) }} {{ 'abc'.endswith('b', 0, -1) }} {{ 'a'.endswith('ba') }}",
          "False True False"},
         {"{{ 'they\\'re ªb'.title() }} {{ 'aBc'.upper() }} {{ 'ab'.capitalize() }}",
          "They'Re ªb ABC Ab"},
         {"{{ 'a\nb\\r\\nc'.splitlines() }} {{ 'a\n'.splitlines(true) }}",
          "['a', 'b', 'c'] ['a\\n']"},
         {"{{ 'a'.split('') }}", "error: line 1: the separator is empty"}});
}

TEST(Method, OfPythonThatAreNotSupportedAreRefusedByName) {
  for (const std::string name :
       {"casefold",     "center",  "count",   "encode",    "expandtabs",   "find",
        "index",        "isalnum", "isalpha", "isdigit",   "islower",      "isspace",
        "isupper",      "join",    "ljust",   "partition", "removeprefix", "rfind",
        "removesuffix", "rjust",   "rsplit",  "swapcase",  "zfill"}) {
    const std::string text = render("{{ 'a'." + name + "('a') }}");
    const std::string sentence = "the method '" + name + "' of 'str' is not supported; supported: ";
    EXPECT_EQ(text.find("error: line 1: " + sentence), 0u) << text;
  }
  // Nor may a template ask for them and go on without.
  check({{"{{ 'a'.find is defined }}",
          "error: line 1: the method 'find' of 'str' is not supported; supported: capitalize, "
          "endswith, format, lower, lstrip, replace, rstrip, split, splitlines, startswith, strip, "
          "title, upper"},
         {"{{ [1].index(1) }}",
          "error: line 1: the method 'index' of 'list' is not supported; supported: copy"},
         {"{{ (1, 2)['count'](1) }}",
          "error: line 1: the method 'count' of 'tuple' is not supported; supported: none"},
         {"{{ 'a'.nonsense() }}", "error: line 1: 'str object' has no attribute 'nonsense'"},
         {"{{ {'count': 5}.count }} {{ {'index': 6}['index'] }}", "5 6"}});
}

TEST(Method, FormatsWithBraces) {
  check(
      {{"{{ '{} {} {{}}'.format(1, 'x') }} {{ '{1}{0}'.format(1, 2) }}", "1 x {} 21"},
       {"{{ '{a} {b[k]} {b.k} {c[1]}'.format(a=1, b={'k': 2}, c=[3, 4]) }}", "1 2 2 4"},
       {"{{ '{:>5}|{:<5}|{:^5}|{:*^5}'.format('a', 'b', 'c', 'd') }}", "    a|b    |  c  |**d**"},
       {"{{ '{:05d} {:+d} {:x} {:#X} {:b}'.format(42, 5, 255, 255, 5) }}", "00042 +5 ff 0XFF 101"},
       {"{{ '{:.2f} {:,} {:%} {:e} {:g}'.format(3.14159, 1234567, 0.25, 12345.678, 0.0001) }}",
        "3.14 1,234,567 25.000000% 1.234568e+04 0.0001"},
       {"{{ '{!r} {:{}}|'.format('q', 'x', 4) }}", "'q' x   |"},
       {"{{ '{:05}|{:.2}'.format('ab', 'xyz') }}", "ab000|xy"},
       {"{{ '{}'.format() }}", "error: line 1: the format needs argument 0, which isn't given"},
       {"{{ '{:d}'.format('a') }}", "error: line 1: a format letter doesn't fit a string"}});
}

TEST(Method, FormatsWithPercent) {
  check(
      {{"{{ '%s %d %5.2f|%-5s|%05d|%x' % ('a', 3, 2.5, 'l', 42, 255) }}",
        "a 3  2.50|l    |00042|ff"},
       {"{{ '%(a)s %(b)d%%' % {'a': 1, 'b': 2} }} {{ '%r' % 'q' }} {{ '%d' % 3.9 }}", "1 2% 'q' 3"},
       {"{{ '%s-%s' | format(1, 2) }} {{ '%(k)s' | format(k=1) }}", "1-2 1"},
       {"{{ '%s %s' % 'a' }}", "error: line 1: too few arguments for the format"},
       {"{{ '%s' % (1, 2) }}", "error: line 1: the format uses fewer arguments than given"}});
}

TEST(Method, OfDictsAndLists) {
  check({{"{{ {'a': 1}.items() }} {{ {'a': 1}.values() }}",
          "dict_items([('a', 1)]) dict_values([1])"},
         {"{{ {'a': 1}.copy() }} {{ [1, 2].copy() }}", "{'a': 1} [1, 2]"},
         {"{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "a1b2"},
         {"{{ {'a': 1}.keys()[0] }}|{{ {'a': 1}.keys() | list | first }}", "|a"},
         {"{{ {}.get([1]) }}", "error: line 1: a list can't be a key of a dict"}});
}

TEST(Method, DictFromKeys) {
  check({{"{{ dict.fromkeys(['b', 'a', 'b']) }} {{ dict.fromkeys('xy', 1) }}",
          "{'b': None, 'a': None} {'x': 1, 'y': 1}"},
         {"{{ dict.fromkeys({'a': 5}, []) }} {{ {'z': 1}.fromkeys(range(2), 'v') }}",
          "{'a': []} {0: 'v', 1: 'v'}"},
         {"{{ dict.fromkeys(l | map('upper')) | list }} {{ dict['fromkeys'](nothing) }}",
          "['A', 'B'] {}"},
         {"{{ dict.fromkeys is defined }} {{ range.fromkeys is defined }}", "True False"},
         {"{{ dict.fromkeys() }}", "error: line 1: 'fromkeys' needs its argument 'iterable'"},
         {"{{ dict.fromkeys(['a'], value=1) }}",
          "error: line 1: 'fromkeys' takes no arguments with names"},
         {"{{ dict.fromkeys([[1]]) }}", "error: line 1: a list can't be a key of a dict"},
         {"{{ dict.fromkeys(5) }}", "error: line 1: a 'int' can't be walked over"}},
        R"({"l": ["a", "b"]})");
}

TEST(Global, Functions) {
  check({{"{{ range(3) | list }} {{ range(5, 0, -2) | list }} {{ range(3)[1] }}",
          "[0, 1, 2] [5, 3, 1] 1"},
         {"{{ dict(a=1, b=2) }} {{ dict([['x', 1]]) }} {{ dict({'a': 1}, b=3) }}",
          "{'a': 1, 'b': 2} {'x': 1} {'a': 1, 'b': 3}"},
         {"{% set j = joiner('; ') %}",
          "error: line 1: the function 'joiner' is not supported; supported: dict, namespace, "
          "raise_exception, range, strftime_now"},
         {"{{ lipsum(n=2) }}",
          "error: line 1: the function 'lipsum' is not supported; supported: dict, namespace, "
          "raise_exception, range, strftime_now"},
         {"{% macro cycler(a) %}[{{ a }}]{% endmacro %}{{ cycler(1) }}", "[1]"},
         {"{{ strftime_now('%Y-%m-%d %B %b %A %-d %H:%M:%S %p %j%%') }}",
          "2024-07-26 July Jul Friday 26 13:05:09 PM 208%"},
         {"\n\n{{ raise_exception('no\\nway') }}", "error: line 3: the template refuses: no way"}});
}

TEST(Search, LongPatternsAreFoundAsShortOnes) {
  const std::string pattern = std::string(39, 'a') + "b";  // longer than what is searched plainly
  const std::string text = std::string(100, 'a') + "b" + std::string(39, 'a') + "b";
  EXPECT_EQ(find_text(text, pattern, 0), 61u);  // 100 - 39
  EXPECT_EQ(find_text(text, pattern, 62), 101u);
  EXPECT_EQ(find_text(text, pattern + "c", 0), std::string_view::npos);
  EXPECT_EQ(find_text("short", pattern, 9), std::string_view::npos);
  // Borders of borders: a mismatch must fall back more than once. 6 = 2·3 letters before the match.
  std::string periodic, wanted;
  for (int i = 0; i < 20; ++i) periodic += "aab", wanted += "aab";
  wanted += "aaa";
  EXPECT_EQ(find_text("aabaab" + periodic + "aaa", wanted, 0), 6u);
}

TEST(Unicode, MapsAndRefuses) {
  EXPECT_EQ(to_upper("straße ŉ ǆ ÿ"), "STRASSE ʼN Ǆ Ÿ");
  EXPECT_EQ(to_lower("İΣ"), "i\xCC\x87σ");
  EXPECT_EQ(to_upper("ẞİᾳᾼǅ"), "ẞİΑΙΑΙǄ");
  std::string title;
  for (const char32_t code : {0xDFu, 0x149u, 0x1F0u, 0xFB03u, 0x1FB7u, 0x1FB3u, 0x1C6u, 0x10D0u}) {
    append_title(title, code);
  }
  EXPECT_EQ(title, "SsʼNJ̌Ffi\u0391\u0342\u0345ᾼǅა");
  for (const char32_t code : {U'a', U'Å', U'ǅ', U'ª', U'Ⅷ', U'ⓐ', U'\u0345', U'🄰'}) {
    EXPECT_TRUE(is_cased(code)) << uint32_t{code};
  }
  for (const char32_t code : {U'1', U'日', U'ʼ', U'-'}) {
    EXPECT_FALSE(is_cased(code)) << uint32_t{code};
  }
  for (const char32_t code : {0x85u, 0xA0u, 0xADu, 0x2028u, 0x200Bu, 0xE000u, 0x378u, 0x10FFFFu}) {
    EXPECT_FALSE(is_printable(code)) << uint32_t{code};
  }
  EXPECT_TRUE(is_printable(U' ') && is_printable(U'é') && is_printable(U'\u0301'));
  EXPECT_TRUE(is_letter_or_number(U'é') && is_letter_or_number(U'Ⅷ') && is_letter_or_number(U'²'));
  EXPECT_FALSE(is_letter_or_number(U'\u0301') || is_letter_or_number(U'€'));
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));  // a surrogate
  EXPECT_FALSE(is_valid_utf8("\xC0\x80"));      // an overlong form
  EXPECT_FALSE(is_valid_utf8("a\xE6\x97"));     // cut
  EXPECT_EQ(repaired_utf8("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(byte_offset("日本", 1), 3u);
  EXPECT_EQ(count_code_points("日本a"), 3u);
}

}  // namespace
}  // namespace assay::jinja
