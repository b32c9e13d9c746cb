#include "jinja/render.h"
#include "jinja/search.h"
#include "jinja/unicode.h"

namespace assay::jinja {
namespace {

TEST(Method, OfStrings) {
  check({{"{{ ' a  b '.split() }} {{ 'a,b,c'.split(',', 1) }} {{ 'a b c'.rsplit(none, 1) }}",
          "['a', 'b'] ['a', 'b,c'] ['a b', 'c']"},
         {"{{ 'aXbXc'.rsplit('X', 1) }} {{ 'a b  c '.split(maxsplit=1) }}",
          "['aXb', 'c'] ['a', 'b  c ']"},
         {"[{{ ' a '.strip() }}] [{{ 'xay'.strip('xy') }}] [{{ ' a '.lstrip() }}]", "[a] [a] [a ]"},
         {"{{ 'abc'.startswith('a') }} {{ 'abc'.endswith(('x', 'c')) }} {{ 'abc'.startswith('b', "
          "1) }}",
          "True True True"},
         {"{{ 'they\\'re'.title() }} {{ 'aBc'.swapcase() }} {{ 'ab'.capitalize() }}",
          "They'Re AbC Ab"},
         {"{{ 'banana'.find('an', 2) }} {{ 'banana'.rfind('an') }} {{ 'a'.find('z') }}", "3 3 -1"},
         {"{{ 'banana'.count('an') }} {{ 'ab'.count('') }} {{ 'banana'.index('n') }}", "2 3 2"},
         {"{{ ', '.join(['a', 'b']) }} {{ '-'.join('xyz') }}", "a, b x-y-z"},
         {"{{ '-42'.zfill(6) }} [{{ 'a'.ljust(3) }}] [{{ 'a'.rjust(3, '*') }}]",
          "-00042 [a  ] [**a]"},
         {"{{ 'a\nb\\r\\nc'.splitlines() }} {{ 'a\n'.splitlines(true) }}",
          "['a', 'b', 'c'] ['a\\n']"},
         {"{{ 'a.b.c'.partition('.') }} {{ 'a.b.c'.rpartition('.') }} {{ 'a'.partition('x') }}",
          "('a', '.', 'b.c') ('a.b', '.', 'c') ('a', '', '')"},
         {"{{ 'unhappy'.removeprefix('un') }} {{ 'a.txt'.removesuffix('.txt') }}", "happy a"},
         {"{{ '12'.isdigit() }} {{ 'ab1'.isalnum() }} {{ 'ab1'.isalpha() }} {{ ' \t'.isspace() }}",
          "True True False True"},
         {"{{ 'Ab'.isupper() }} {{ 'ab1'.islower() }} {{ ''.isdigit() }} {{ '²'.isdecimal() }}",
          "False True False False"},
         {"{{ 'a'.index('z') }}", "error: line 1: the substring is not found"},
         {"{{ 'a'.split('') }}", "error: line 1: the separator is empty"}});
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
         {"{{ [1, 2, 1].count(1) }} {{ [1, 2].index(2) }} {{ (1, 2).index(1) }}", "2 1 0"},
         {"{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}{{ v }}{% endfor %}", "a1b2"},
         {"{{ {'a': 1}.keys()[0] }}|{{ {'a': 1}.keys() | list | first }}", "|a"},
         {"{{ {}.get([1]) }}", "error: line 1: a list can't be a key of a dict"}});
}

TEST(Global, Functions) {
  check({{"{{ range(3) | list }} {{ range(5, 0, -2) | list }} {{ range(3)[1] }}",
          "[0, 1, 2] [5, 3, 1] 1"},
         {"{{ dict(a=1, b=2) }} {{ dict([['x', 1]]) }} {{ dict({'a': 1}, b=3) }}",
          "{'a': 1, 'b': 2} {'x': 1} {'a': 1, 'b': 3}"},
         {"{% set j = joiner('; ') %}{% for i in [1, 2, 3] %}{{ j() }}{{ i }}{% endfor %}",
          "1; 2; 3"},
         {"{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}",
          "abaa"},
         {"{{ strftime_now('%Y-%m-%d %B %b %A %-d %H:%M:%S %p %j%%') }}",
          "2024-07-26 July Jul Friday 26 13:05:09 PM 208%"},
         {"\n\n{{ raise_exception('no\\nway') }}", "error: line 3: the template refuses: no way"}});
}

TEST(Search, LongPatternsAreFoundAsShortOnes) {
  const std::string pattern = std::string(39, 'a') + "b";  // longer than what is searched plainly
  const std::string text = std::string(100, 'a') + "b" + std::string(39, 'a') + "b";
  EXPECT_EQ(find_text(text, pattern, 0), 61u);  // 100 - 39
  EXPECT_EQ(find_text(text, pattern, 62), 101u);
  EXPECT_EQ(find_last_text(text, pattern), 101u);
  EXPECT_EQ(count_text(text, pattern), 2u);
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
  EXPECT_FALSE(is_valid_utf8("\xED\xA0\x80"));  // a surrogate
  EXPECT_FALSE(is_valid_utf8("\xC0\x80"));      // an overlong form
  EXPECT_FALSE(is_valid_utf8("a\xE6\x97"));     // cut
  EXPECT_EQ(repaired_utf8("a\xFFz"), "a\xEF\xBF\xBDz");
  EXPECT_EQ(byte_offset("日本", 1), 3u);
  EXPECT_EQ(count_code_points("日本a"), 3u);
}

}  // namespace
}  // namespace assay::jinja
