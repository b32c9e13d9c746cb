#include "report/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "report/svg.h"

namespace assay::report {

using diff::JudgedOperation;
using diff::Report;
using diff::Side;
using diff::Verdict;

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += uint8_t(c) < 32 || c == 127 ? ' ' : c;
    }
  return out;
}

namespace {

constexpr const char* style = R"(
:root{--ink:#1b1f24;--paper:#fff;--soft:#f3f5f7;--line:#d5dae0;--pass:#5b9bd5;--tie:#a9cdec;--fail:#d1401f;--grey:#b6bcc4;--b:#b8860b}
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--paper:#15181c;--soft:#20252b;--line:#3a424b;--pass:#4f8fc9;--tie:#2f5576;--fail:#ff6a45;--grey:#5c646e;--b:#e0b040}}
*{box-sizing:border-box}body{margin:0 auto;max-width:1000px;padding:0 16px 48px;color:var(--ink);background:var(--paper);font:16px/1.45 system-ui,sans-serif}
h1{font-size:1rem;margin:0;letter-spacing:.08em;text-transform:uppercase}h2{font-size:1.1rem;margin:2rem 0 .5rem}h3{font-size:.95rem;margin:1rem 0 .3rem}
.banner{margin:16px 0;padding:16px 20px;border-left:10px solid var(--grey);background:var(--soft);overflow-wrap:anywhere}
.banner.FAIL{border-color:var(--fail)}.banner.PASS{border-color:var(--pass)}.PASS .word{color:var(--pass)}.banner .word{font-size:2rem;font-weight:700;line-height:1.1}
.FAIL .word{color:var(--fail)}.banner p{margin:.5rem 0 0}.where{font-size:1.25rem;font-weight:600}
.sides{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(330px,100%),1fr));gap:8px 24px}.wrong{color:var(--fail);font-weight:600}
svg{display:block;width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}
.pass{fill:var(--pass)}.tie{fill:var(--tie)}.fail{fill:var(--fail)}.unmeasured{fill:none;stroke:var(--grey);stroke-dasharray:2 2}
.cross{stroke:var(--paper);stroke-width:2;fill:none}.ring{fill:none;stroke:var(--ink);stroke-width:2.5}
.line{fill:none;stroke-width:2;stroke:currentColor;stroke-linecap:round}.rule{stroke:var(--line);stroke-width:1}
.got{color:var(--fail)}.usual{color:var(--pass)}.most{color:var(--grey)}.own{color:var(--pass)}.other{color:var(--b)}
.box{overflow-x:auto;border:1px solid var(--line);border-radius:4px}table{border-collapse:collapse;font-size:.85rem;width:100%}
th,td{text-align:left;padding:3px 10px;border-bottom:1px solid var(--line);white-space:nowrap}td.n{text-align:right;font-variant-numeric:tabular-nums}
tr.FAIL td{background:color-mix(in srgb,var(--fail) 16%,transparent)}.key,.note{font-size:.85rem;margin:.2rem 0 .6rem}
.swatch{display:inline-block;width:12px;height:12px;border-radius:2px;vertical-align:-1px;margin:0 4px 0 10px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 16px;margin:.5rem 0}dt{font-weight:600}dd{margin:0;overflow-wrap:anywhere}
.token{display:inline-block;background:var(--soft);border-radius:3px;padding:0 5px;margin:0 2px 3px 0;font-size:.85rem;white-space:pre-wrap}.token b{font-weight:400;opacity:.6}
code{font-size:.85rem;overflow-wrap:anywhere}@media(max-width:480px){dl{grid-template-columns:1fr;gap:0}dt{margin-top:.4rem}}
summary{cursor:pointer;font-weight:600;margin:1rem 0}@media print{body{max-width:none}svg,.banner{break-inside:avoid}details>*{display:block}}
)";

std::string item(const std::string& name, const std::string& value) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>", name, value);
}

/// A heading with what stands below it; nothing where that is empty.
std::string section(const std::string& title, const std::string& body) {
  return body.empty() ? "" : fmt::format("<h2>{}</h2>{}", title, body);
}

/// A token's text in quotation marks; its spaces and line ends stay visible.
std::string in_quotes(const std::string& text) {
  std::string out = "‘";
  for (const char c : text)
    if (c == '\n')
      out += "⏎";
    else
      out += c;
  return escaped(out) + "’";
}

/// A drawing below a remark; nothing where there is none.
std::string in_note(const std::string& note, const std::string& drawing) {
  return drawing.empty() ? "" : fmt::format("<p class=\"note\">{}</p>{}", note, drawing);
}

std::string about_part(const About& about) {
  std::string rows, text, tokens;
  if (!about.model.empty()) rows += item("model", escaped(about.model));
  for (size_t i = 0; i < about.traces.size(); ++i)
    rows += item(about.traces.size() == 1 ? "trace"
                 : i == 0                 ? "trace a"
                                          : "trace b",
                 escaped(about.traces[i]));
  constexpr size_t most = 512;  // tokens that a page shows
  for (size_t i = 0; i < std::min(most, about.tokens.size()); ++i) {
    const auto& [id, piece] = about.tokens[i];
    text += piece;
    tokens += fmt::format("<span class=\"token\"><b>{}</b> {}{}</span> ", i, id,
                          piece.empty() ? "" : " " + in_quotes(piece));
  }
  const std::string more =
      about.tokens.size() > most ? fmt::format("and {} more", about.tokens.size() - most) : "";
  if (!text.empty()) rows += item("prompt", in_quotes(text) + more);
  if (!about.without_text.empty())
    rows += item("prompt", "its text is not known: " + escaped(about.without_text));
  if (!tokens.empty()) rows += item("tokens", tokens + more);
  if (!about.command.empty())
    rows += item("command", "<code>" + escaped(about.command) + "</code>");
  if (!about.date.empty()) rows += item("made", escaped(about.date));
  return rows.empty() ? "" : "<dl>" + rows + "</dl>";
}

/// "blk.3.down" without its block: "down".
std::string kind_of(const op::Operation& operation) {
  if (operation.layer == op::none || !operation.name.starts_with("blk.")) return operation.name;
  return operation.name.substr(operation.name.find('.', 4) + 1);
}

Mark mark_of(const JudgedOperation& judged) {
  switch (judged.verdict) {
    case Verdict::fail:
      return Mark::fail;
    case Verdict::unmeasured:
      return Mark::unmeasured;
    case Verdict::pass:
      break;
  }
  return judged.seen.ties > 0 ? Mark::tie : Mark::pass;
}

std::string strip_of(const op::Program& program, const Report& report, bool of_a) {
  const Side& side = of_a ? report.a : report.b;
  Strip all;
  all.title = fmt::format("Every operation of {}: which pass and which fail", side.engine);
  all.rows = program.layers;
  for (const op::Operation& operation : program.operations)
    if (const std::string kind = kind_of(operation);
        operation.layer != op::none &&
        std::ranges::find(all.column_names, kind) == all.column_names.end())
      all.column_names.push_back(kind);
  const size_t columns = all.column_names.size();
  all.marks.assign(all.rows * columns, Mark::none);
  const bool wrong = report.first && (of_a ? report.first->a : report.first->b);
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    if (operation.layer == op::none) continue;
    const auto column =
        size_t(std::ranges::find(all.column_names, kind_of(operation)) - all.column_names.begin());
    const size_t at = operation.layer * columns + column;
    all.marks[at] = mark_of(side.operations[i]);
    if (wrong && operation.name == report.first->operation) all.first = int64_t(at);
  }
  std::string out = strip(all);
  std::string outside;
  for (size_t i = 0; i < program.operations.size(); ++i)
    if (program.operations[i].layer == op::none)
      outside +=
          fmt::format("{}{} {}", outside.empty() ? "" : ", ", escaped(program.operations[i].name),
                      diff::name_of(side.operations[i].verdict));
  return out + fmt::format("<p class=\"note\">outside the layers: {}</p>", outside);
}

std::string side_of(const op::Program& program, const Report& report, bool of_a) {
  const Side& side = of_a ? report.a : report.b;
  const bool wrong = report.first && (of_a ? report.first->a : report.first->b);
  uint64_t ties = 0;
  for (const auto& operation : side.operations) ties += operation.seen.ties;
  return fmt::format(
             "<div><h3>{}: {}{}</h3><p class=\"note\">contract {} ({}), {} PASS, {} FAIL, {} "
             "unmeasured, "
             "{} ties</p>",
             of_a ? "a" : "b", escaped(side.engine),
             wrong ? " <span class=\"wrong\">is wrong</span>" : "", escaped(side.contract),
             side.found ? "found by trying" : "as it declares", side.count(Verdict::pass),
             side.count(Verdict::fail), side.count(Verdict::unmeasured), ties) +
         strip_of(program, report, of_a) + "</div>";
}

/// The operation to look at closely: the first failure, else that of the greatest error/limit.
struct Close {
  bool of_a = true;
  uint32_t step = 0;
  size_t operation = 0;
};

Close look_closely_at(const op::Program& program, const Report& report) {
  Close best;
  if (report.first) {
    best.of_a = report.first->a;
    best.step = report.first->step;
    best.operation = size_t(
        std::ranges::find(program.operations, report.first->operation, &op::Operation::name) -
        program.operations.begin());
    return best;
  }
  double most = 0;
  for (const bool of_a : {true, false}) {
    const auto& operations = (of_a ? report.a : report.b).operations;
    for (size_t i = 0; i < operations.size(); ++i) {
      const double ratio = operations[i].seen.max_u / operations[i].seen.limit_u;
      if (!(ratio > most) || program.operations[i].is<op::KvStore>()) continue;
      most = ratio;
      best = {of_a, 0, i};
    }
  }
  return best;
}

/// The rows of an operation's output: each token's index and the beginning of its text.
std::vector<std::string> row_names(const op::Program& program, const trace::Trace& trace,
                                   const Close& close, const About& about) {
  std::vector<std::string> out;
  for (const uint64_t token :
       diff::tokens_of_rows(program, trace, close.step, program.operations[close.operation])) {
    std::string text = token < about.tokens.size() ? about.tokens[token].second : "";
    size_t end = 0;
    for (size_t letters = 0; end < text.size() && letters < 8; ++end)
      letters += end + 1 == text.size() || (uint8_t(text[end + 1]) & 0xC0) != 0x80;
    out.push_back(text.empty() ? std::to_string(token)
                               : fmt::format("{} {}", token, text.substr(0, end)));
  }
  return out;
}

/// error/limit of every element, the worst of each bin of `columns` columns.
Grid bins(const diff::Scene& scene, const judge::Judged& judged, uint64_t columns,
          const std::vector<std::string>& names) {
  Grid grid;
  const uint64_t most_rows = 64, width = scene.output.width;
  const uint64_t per_row = (scene.output.rows + most_rows - 1) / most_rows;
  grid.rows = (scene.output.rows + per_row - 1) / per_row;
  grid.columns = std::min(columns, width);
  grid.values.assign(grid.rows * grid.columns, 0.0);
  for (uint64_t t = 0; t < scene.output.rows; ++t)
    for (uint64_t i = 0; i < width; ++i) {
      const judge::Seen seen = judge::compare_element(scene.output, judged, t, i);
      double ratio = seen.max_u == 0 ? 0.0 : seen.max_u / seen.limit_u;
      if (seen.not_finite > 0 && seen.failures > 0) ratio = NAN;
      double& bin = grid.values[t / per_row * grid.columns + i * grid.columns / width];
      if (std::isnan(ratio) || ratio > bin) bin = ratio;
    }
  for (uint64_t r = 0; r < grid.rows; ++r) grid.row_names.push_back(names[r * per_row]);
  grid.down = "token";
  return grid;
}

std::string maps(const op::Program& program, const trace::Trace& trace, const Side& side,
                 const Close& close, const About& about) {
  const auto scene = diff::scene_at(program, trace, side, close.step, close.operation);
  if (!scene || scene->output.data.empty()) return "";
  const op::Operation& operation = program.operations[close.operation];
  const judge::Judged judged = diff::expect(program, *scene);
  const std::vector<std::string> names = row_names(program, trace, close, about);
  Grid grid = bins(*scene, judged, 96, names);
  const uint64_t width = scene->output.width;
  grid.title = fmt::format("{}: error over limit, token by channel", operation.name);
  grid.across = fmt::format("channel (of {})", width);
  for (uint64_t c = 0; c < grid.columns; ++c)
    grid.column_names.push_back(std::to_string(c * width / grid.columns));
  std::string out = fmt::format("<h3>{} of {}, step {}: token × channel</h3>",
                                escaped(operation.name), escaped(side.engine), close.step);
  out += heat_map(grid);
  const auto* rope = operation.as<op::Rope>();
  const auto* attend = operation.as<op::Attend>();
  const uint64_t heads = rope ? rope->heads : attend ? attend->heads : 0;
  if (heads > 0) {
    grid = bins(*scene, judged, heads, names);
    grid.title = fmt::format("{}: error over limit, token by head", operation.name);
    grid.across = "head";
    for (uint64_t h = 0; h < grid.columns; ++h) grid.column_names.push_back(std::to_string(h));
    out += "<h3>token × head</h3>" + heat_map(grid);
  }
  return out +
         "<p class=\"key\">worst error/limit:<span class=\"swatch\" "
         "style=\"background:#d7ebf5\"></span>0"
         "<span class=\"swatch\" style=\"background:#7d91f5\"></span>1"
         "<span class=\"swatch\" style=\"background:#fdae61\"></span>to 10"
         "<span class=\"swatch\" style=\"background:#e34a33\"></span>to 1000"
         "<span class=\"swatch\" style=\"background:#4d0007\"></span>above 10⁵"
         "<span class=\"swatch\" style=\"background:#000\"></span>NaN</p>";
}

/// The relative difference of a and b at each layer's output, beside correct runs'.
std::string growth(const op::Program& program, const Report& report) {
  Line got{"a against b", "got", {}}, usual{"correct runs, median", "usual", {}},
      most{"correct runs, most", "most", {}};
  std::vector<std::string> names;
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const op::Operation& operation = program.operations[i];
    if (operation.layer == op::none ? i + 1 != program.operations.size()
                                    : kind_of(operation) != "out")
      continue;
    names.push_back(operation.layer == op::none ? operation.name : std::to_string(operation.layer));
    got.values.push_back(report.differences[i]);
    if (report.noise.relative.empty() || report.noise.relative[i].empty()) continue;
    const auto& sorted = report.noise.relative[i];
    usual.values.push_back(sorted[sorted.size() / 2]);
    most.values.push_back(sorted.back());
  }
  std::vector<Line> lines = {got};
  if (!usual.values.empty()) lines = {most, usual, got};
  const std::string drawn =
      chart("Difference of the two runs, layer by layer", "layer", "|a − b| / |b|", lines, names);
  const bool any = std::ranges::any_of(got.values, [](double x) { return x >= 0; });
  if (drawn.empty() && any) return "<p>All values that both traces hold are equal.</p>";
  return drawn;
}

/// The worst error/limit of each layer; what stands outside of the layers comes last.
std::string local_errors(const op::Program& program, const Report& report) {
  Line a{"a", "own", std::vector<double>(program.layers + 1, 0.0)};
  Line b{"b", "other", a.values};
  std::vector<std::string> names;
  for (uint32_t layer = 0; layer < program.layers; ++layer) names.push_back(std::to_string(layer));
  names.emplace_back("rest");
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const uint32_t layer = std::min(program.operations[i].layer, program.layers);
    const auto add = [&](const Side& side, Line& line) {
      const auto& seen = side.operations[i].seen;
      if (seen.limit_u > 0)
        line.values[layer] = std::max(line.values[layer], seen.max_u / seen.limit_u);
    };
    add(report.a, a);
    if (!report.alone) add(report.b, b);
  }
  std::vector<Line> lines = {a};
  if (!report.alone) lines.push_back(b);
  return chart("Worst error over limit in each layer", "layer", "error / limit", lines, names);
}

std::string logits_part(const Report& report) {
  const auto& logits = report.logits;
  if (logits.positions == 0) return "";
  std::vector<std::string> names;
  for (size_t i = 0; i < logits.kl.size(); ++i) names.push_back(std::to_string(i));
  std::string out = fmt::format(
      "<h2>Logits</h2><dl>{}{}{}{}</dl>", item("positions", std::to_string(logits.positions)),
      item("best token equal",
           fmt::format("{}; certain in {}", logits.top1_equal, logits.certified)),
      item("mean KL", fmt::format("{:.2e}, most {:.2e}", logits.kl_mean, logits.kl_max)),
      report.logits_percentile < 0
          ? ""
          : item("place among correct runs",
                 fmt::format("percentile {:.0f}", report.logits_percentile)));
  return out + chart("KL of the logits at each position", "position", "KL",
                     {{"KL(b ‖ a)", "got", logits.kl}}, names);
}

std::string cell(const JudgedOperation& judged) {
  if (judged.verdict == Verdict::unmeasured) return "unmeasured";
  if (judged.seen.elements == 0) return "-";
  return fmt::format("{}{:.3g} / {:.3g}{}", judged.verdict == Verdict::fail ? "FAIL " : "",
                     judged.seen.max_u, judged.seen.limit_u,
                     judged.seen.ties ? fmt::format(", {} ties", judged.seen.ties) : "");
}

std::string table(const op::Program& program, const Report& report) {
  const bool two = !report.alone;
  const bool ranked = std::ranges::any_of(report.percentile, [](double x) { return x >= 0; });
  std::string out = fmt::format(
      "<details><summary>Every operation</summary><div "
      "class=\"box\"><table><thead><tr><th>operation"
      "</th><th>{}error / limit, u</th>{}{}</tr></thead><tbody>",
      two ? "a: " : "", two ? "<th>b: error / limit, u</th><th>|a−b|/|b|</th>" : "",
      ranked ? "<th>percentile</th>" : "");
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const auto &a = report.a.operations[i], &b = report.b.operations[i];
    const bool fails = a.verdict == Verdict::fail || (two && b.verdict == Verdict::fail);
    out += fmt::format("<tr{}><td>{}</td><td>{}</td>", fails ? " class=\"FAIL\"" : "",
                       escaped(program.operations[i].name), cell(a));
    if (two)
      out += fmt::format(
          "<td>{}</td><td class=\"n\">{}</td>", cell(b),
          report.differences[i] < 0 ? "-" : fmt::format("{:.2e}", report.differences[i]));
    if (ranked)
      out +=
          fmt::format("<td class=\"n\">{}</td>",
                      report.percentile[i] < 0 ? "-" : fmt::format("{:.0f}", report.percentile[i]));
    out += "</tr>";
  }
  return out + "</tbody></table></div></details>";
}

std::string first_part(const Report& report) {
  if (!report.first) return "";
  const auto& first = *report.first;
  std::string out = "<h2>The first wrong operation</h2><dl>";
  out += item("operation", escaped(first.operation));
  out += item("layer", first.layer == op::none ? "-" : std::to_string(first.layer));
  out += item("where", escaped(first.where));
  out += item("worst", fmt::format("token {}, channel {}: got {:.9g}, wanted {:.9g}", first.token,
                                   first.seen.row, first.got, first.wanted));
  out += item("error", fmt::format("{:.3g} u, limit {:.3g} u; {}", first.seen.max_u,
                                   first.seen.limit_u, escaped(diff::unit_explained())));
  out += item("elements", fmt::format("{} of {}", first.seen.failures, first.seen.elements));
  const Side& side = first.a ? report.a : report.b;
  out += item("wrong", first.a && first.b
                           ? "both"
                           : fmt::format("{}: {}", first.a ? "a" : "b", escaped(side.engine)));
  if (report.cause)
    out += item("cause",
                escaped(report.cause->name +
                        (report.cause->evidence.empty() ? "" : ": " + report.cause->evidence)));
  if (report.swap) out += item("which matters", escaped(diff::sentence_of(*report.swap)));
  return out + "</dl>";
}

std::string where(const Report& report) {
  if (!report.first) return "";
  const auto& first = *report.first;
  const Side& side = first.a ? report.a : report.b;
  return fmt::format("<p class=\"where\">{} — {}{}{}</p>", escaped(first.operation),
                     first.a && first.b ? "both engines are" : escaped(side.engine) + " is",
                     " wrong", report.cause ? ": " + escaped(report.cause->name) : "");
}

std::string list(const char* title, const std::vector<std::string>& entries) {
  if (entries.empty()) return "";
  std::string out = fmt::format("<h2>{}</h2><ul>", title);
  for (const std::string& entry : entries) out += "<li>" + escaped(entry) + "</li>";
  return out + "</ul>";
}

std::string head_of(const std::string& title) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
      "content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light "
      "dark\"><title>{}</title><style>{}</style></head><body>",
      escaped(title), style);
}

const trace::Summary* find(const Summarised& trace, const std::string& name) {
  const auto found = std::ranges::find(trace.rows, name, &trace::Summary::name);
  return found == trace.rows.end() ? nullptr : &*found;
}

/// A number of every row of the first trace, by name of both.
std::string growth_of(const std::vector<Summarised>& traces, const std::string& what,
                      double trace::Summary::*number) {
  std::vector<std::string> names;
  std::vector<Line> lines;
  for (const trace::Summary& row : traces[0].rows) names.push_back(row.name);
  for (const Summarised& one : traces) {
    Line line{lines.empty() ? "a" : "b", lines.empty() ? "own" : "other", {}};
    for (const std::string& name : names) {
      const trace::Summary* row = find(one, name);
      line.values.push_back(row ? row->*number : NAN);
    }
    lines.push_back(std::move(line));
  }
  for (std::string& name : names)
    if (name.starts_with("blk.") && name.ends_with(".out")) name = name.substr(4, name.size() - 8);
  return section(what, chart(what + " of every line of the table", "layer", what, lines, names));
}

}  // namespace

std::string to_html(const std::vector<Summarised>& traces,
                    const std::vector<std::string>& sentences, const About& about) {
  std::string page = head_of("assay trace show");
  page += "<div class=\"banner\"><h1>assay trace show</h1>";
  for (const std::string& sentence : sentences)
    page += fmt::format("<p class=\"where\">{}</p>", escaped(sentence));
  page += "</div>";
  for (size_t i = 0; i < traces.size(); ++i)
    page += fmt::format("<p>{}{}</p>",
                        traces.size() == 1 ? ""
                        : i == 0           ? "a: "
                                           : "b: ",
                        escaped(traces[i].engine));
  page += about_part(about);
  page += growth_of(traces, "RMS", &trace::Summary::rms);
  page += growth_of(traces, "max |x|", &trace::Summary::max_abs);
  page += "<h2>Table</h2><div class=\"box\"><table><thead><tr><th>operation</th>";
  for (size_t i = 0; i < traces.size(); ++i)
    page += fmt::format("<th>RMS {0}</th><th>max|x| {0}</th><th>NaN {0}</th>", i == 0 ? 'a' : 'b');
  page += traces.size() == 2 ? "<th>RMS a/b</th></tr></thead><tbody>" : "</tr></thead><tbody>";
  for (const trace::Summary& row : traces[0].rows) {
    page += fmt::format("<tr><td>{}</td>", escaped(row.name));
    for (const Summarised& one : traces)
      if (const trace::Summary* found = find(one, row.name))
        page += fmt::format(
            "<td class=\"n\">{:.4g}</td><td class=\"n\">{:.4g}</td><td class=\"n\">{}</td>",
            found->rms, found->max_abs, found->nan);
      else
        page += "<td>-</td><td>-</td><td>-</td>";
    if (traces.size() == 2) {
      const trace::Summary* other = find(traces[1], row.name);
      page +=
          other ? fmt::format("<td class=\"n\">{:.4f}</td>", row.rms / other->rms) : "<td>-</td>";
    }
    page += "</tr>";
  }
  return page + "</tbody></table></div></body></html>\n";
}

std::string to_html(const op::Program& program, const trace::Trace& a, const trace::Trace& b,
                    const Report& report, const About& about) {
  const std::string verdict(diff::name_of(report.verdict));
  const Close close = look_closely_at(program, report);
  std::string page = head_of("assay diff: " + verdict);
  page += fmt::format(
      "<div class=\"banner {0}\"><h1>assay diff</h1><div "
      "class=\"word\">{0}</div>{1}<p>{2}</p></div>",
      verdict, where(report), escaped(report.sentence));
  page += about_part(about);
  page +=
      "<h2>Where</h2><p class=\"key\"><span class=\"swatch\" "
      "style=\"background:var(--pass)\"></span>inside its "
      "limits<span class=\"swatch\" style=\"background:var(--tie)\"></span>inside, with ties<span "
      "class=\"swatch\" style=\"background:var(--fail)\"></span>✕ wrong<span class=\"swatch\" "
      "style=\"border:1px dashed var(--grey)\"></span>not measured; the ring: the first one</p>";
  page += "<div class=\"sides\">" + side_of(program, report, true) +
          (report.alone ? "" : side_of(program, report, false)) + "</div>";
  page += first_part(report);
  page +=
      section(report.first ? "What is wrong in it" : "The operation nearest to its limit",
              maps(program, close.of_a ? a : b, close.of_a ? report.a : report.b, close, about));
  if (!report.alone) page += section("How the two runs part", growth(program, report));
  page += section(
      "Every operation by itself, the worst of each layer",
      in_note("Each is judged from the inputs that its engine gave it; above 1 it is wrong.",
              local_errors(program, report)));
  page += logits_part(report);
  page += list("Differs, and is right", report.benign);
  page += fmt::format("<h2>Coverage</h2><p>{} of {} operations {}.</p>", report.compared,
                      program.operations.size(), report.alone ? "judged" : "compared");
  if (const std::string unknown = diff::sentence_of(report.unknown); !unknown.empty())
    page += fmt::format("<p>{}</p>", escaped(unknown));
  if (!report.unmeasured.empty())
    page += fmt::format("<p>Not measured: {}</p>",
                        escaped(fmt::format("{}", fmt::join(report.unmeasured, ", "))));
  return page + table(program, report) + "</body></html>\n";
}

}  // namespace assay::report
