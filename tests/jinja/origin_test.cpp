// Whatever a template does to a text of a variable, the result knows what came from it.
#include "jinja/render.h"

namespace assay::jinja {
namespace {

/// The rendering with what is quoted in ⟨…⟩ and what was asked about in ⟪…⟫.
std::string shown(std::string_view source, std::string_view variables,
                  const char* asked = nullptr) {
  const auto made = Template::compile(source);
  if (!made) return "error: " + made.error().message;
  const auto json = read_json(variables);
  if (!json) return "error: " + json.error().message;
  Context context;
  for (const auto& [name, value] : json->items()) {
    const bool wanted = asked && name == asked;
    const auto added = context.add(name, value, {.asked = wanted ? &value : nullptr});
    if (!added) return "error: " + added.error().message;
  }
  context.add_own("own", "own");
  const auto text = made->render_text(context);
  if (!text) return "error: " + text.error().message;
  static constexpr const char *begin[] = {"", "⟨", "⟪"}, *end[] = {"", "⟩", "⟫"};
  std::string out;
  Origin now = Origin::own;
  for (uint64_t i = 0; i <= text->size(); ++i) {
    const Origin next = i < text->size() ? text->origin(i) : Origin::own;
    if (next != now) out += std::string(end[int(now)]) + begin[int(next)];
    now = next;
    if (i < text->size()) out += text->bytes[i];
  }
  return out;
}

struct OriginCase {
  const char *source, *expected;
};
void check_origins(std::initializer_list<OriginCase> cases) {
  for (const OriginCase& each : cases) {
    EXPECT_EQ(shown(each.source,
                    R"({"v": "a<é>", "w": " x y ", "d": {"k": "v", "n": 5}, "l": ["p", "q"]})"),
              each.expected)
        << each.source;
  }
}

TEST(Origin, OfWhatIsPrinted) {
  check_origins(
      {{"a<é>", "a<é>"},
       {"[{{ v }}]", "[⟨a<é>⟩]"},
       {"{{ own }}{{ v }}{{ own }}", "own⟨a<é>⟩own"},
       {"{{ 5 }}{{ d.n }}{{ none }}{{ true }}", "55NoneTrue"},
       {"{{ l }}", "['⟨p⟩', '⟨q⟩']"},
       {"{{ d }}", "{'⟨k⟩': '⟨v⟩', '⟨n⟩': 5}"},
       {"{{ d | tojson }}", "{\"⟨k⟩\": \"⟨v⟩\", \"⟨n⟩\": 5}"},
       {"{{ v | tojson(ensure_ascii=true) }}", "\"⟨a<\\u00e9>⟩\""},
       {"{{ d | tojson(indent=own, separators=[',', v]) }}",
        "{\nown\"⟨k⟩\"⟨a<é>⟩\"⟨v⟩\",\nown\"⟨n⟩\"⟨a<é>⟩5\n}"},
       {"{{ d | tojson(indent=v) }}", "{\n⟨a<é>⟩\"⟨k⟩\": \"⟨v⟩\",\n⟨a<é>⟩\"⟨n⟩\": 5\n}"}});
}

TEST(Origin, OfWhatIsJoined) {
  check_origins(
      {{"{{ '<' + v + '>' }}", "<⟨a<é>⟩>"},
       {"{{ '<' ~ v ~ 1 }}", "<⟨a<é>⟩1"},
       {"{{ 'x%s%%y' % v }}", "x⟨a<é>⟩%y"},
       {"{{ v % () }}", "⟨a<é>⟩"},
       {"{{ '%-6s|%r|%.2s' % (v, v, v) }}", "⟨a<é>⟩  |'⟨a<é>⟩'|⟨a<⟩"},
       {"{{ '{{}}{}{:>6}{x!r}'.format(v, v, x=l[0]) }}", "{}⟨a<é>⟩  ⟨a<é>⟩'⟨p⟩'"},
       {"{{ '{:{}}'.format(1, '>4') }}{{ '{:{}>4}'.format(1, l[0]) }}", "   1⟨ppp1⟩"},
       {"{{ '%s' | format(v) }}", "⟨a<é>⟩"},
       {"{{ [own, v] | join('-') }}{{ ['a', 'b'] | join(v) }}", "own-⟨a<é>⟩a⟨a<é>⟩b"},
       {"{{ v * 2 }}{{ own * 2 }}", "⟨a<é>a<é>⟩ownown"},
       {"{% set ns = namespace(t='') %}{% for x in l %}{% set ns.t = ns.t + '<' + x %}"
        "{% endfor %}{{ ns.t }}",
        "<⟨p⟩<⟨q⟩"},
       {"{% set t %}<{{ v }}>{% endset %}{{ t }}", "<⟨a<é>⟩>"},
       {"{% macro m(x) %}<{{ x }}{{ kwargs }}{% endmacro %}{{ m(v, z=v) }}",
        "<⟨a<é>⟩{'z': '⟨a<é>⟩'}"},
       {"{% macro m() %}{{ kwargs }}{% endmacro %}{{ m(**{l[0]: 1}) }}", "{'⟨p⟩': 1}"},
       {"{% for k, x in dict(**{l[0]: v}).items() %}{{ k }}={{ x }}{% endfor %}", "⟨p⟩=⟨a<é>⟩"},
       {"{% filter upper %}x{{ v }}{% endfilter %}", "X⟨A<É>⟩"},
       {"{{ strftime_now(v) }}{{ strftime_now('%%') }}", "⟨a<é>⟩%"}});
}

TEST(Origin, OfWhatIsChanged) {
  check_origins(
      {{"{{ v.upper() }}{{ v | upper }}{{ v | lower }}", "⟨A<É>A<É>a<é>⟩"},
       {"{{ ('x' + v).title() }}{{ ('x' + v) | title }}", "X⟨a<É>⟩X⟨a<É>⟩"},
       {"{{ v.capitalize() }}{{ (own + v) | capitalize }}", "⟨A<é>⟩Own⟨a<é>⟩"},
       {"{{ v | escape }}", "⟨a&lt;é&gt;⟩"},
       {"{{ ('<' | safe) + v }}{{ v + ('<' | safe) }}", "<⟨a&lt;é&gt;a&lt;é&gt;⟩<"},
       {"{{ ('-' + w + '-').strip('-') }}{{ w.strip() }}{{ w | trim }}{{ w.lstrip() }}",
        "⟨ x y x yx yx y ⟩"},
       {"{{ ('<' + v).split('<') }}", "['', '⟨a⟩', '⟨é>⟩']"},
       {"{{ ('b ' + w).split() }}{{ (v + '\\nc').splitlines() }}",
        "['b', '⟨x⟩', '⟨y⟩']['⟨a<é>⟩', 'c']"},
       {"{{ v.replace('<', '(') }}{{ 'x-y'.replace('-', v) }}{{ v | replace('é', own) }}",
        "⟨a⟩(⟨é>⟩x⟨a<é>⟩y⟨a<⟩own⟨>⟩"},
       {"{{ ('<' + v)[0] }}{{ ('<' + v)[1:3] }}{{ ('<' + v)[::-1] }}", "<⟨a<>é<a⟩<"},
       {"{{ ('<' + v) | reverse }}{{ ('<' + v) | list }}",
        "⟨>é<a⟩<['<', '⟨a⟩', '⟨<⟩', '⟨é⟩', '⟨>⟩']"},
       {"{{ (v + '\\nb') | indent(2, true) }}{{ 'b' | indent(w, true) }}", "  ⟨a<é>⟩\n  b⟨ x y ⟩b"},
       {"{{ ('<' + v) | first }}{{ ('<' + v) | last }}{{ v | string }}{{ v | safe }}",
        "<⟨>a<é>a<é>⟩"},
       {"{{ l | sort | max }}{{ l | map('upper') | join }}{{ '' | default(v, true) }}",
        "⟨qPQa<é>⟩"}});
}

TEST(Origin, TheAskedValueIsToldFromOthers) {
  EXPECT_EQ(shown("{{ v }}{{ w | upper }}", R"({"v": "a", "w": "b"})", "w"), "⟨a⟩⟪B⟫");
  EXPECT_EQ(shown("{{ v }}{{ w[0].text }}", R"({"v": "a", "w": [{"text": "b"}]})", "w"), "⟨a⟩⟪b⟫");
}

TEST(Origin, PartsOfAnOwnPartAreOwn) {
  Text text("ab");
  EXPECT_TRUE(text.is_own());
  text += Text("cd", Origin::quoted);
  EXPECT_TRUE(text.part(0, 2).is_own());
  EXPECT_FALSE(text.part(1, 2).is_own());
  EXPECT_EQ(text.part(1, 2).origin(0), Origin::own);
  EXPECT_EQ(text.part(1, 2).origin(1), Origin::quoted);
  EXPECT_TRUE(text.part(4).empty());
}

}  // namespace
}  // namespace assay::jinja
