// assay trace show FILE [FILE2]
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <regex>

#include "base/atomic_file.h"
#include "common.h"
#include "report/report.h"
#include "show_growth.h"
#include "trace.h"
#include "trace/summary.h"
#include "trace/trace_file.h"

using assay::Error;
using assay::Result;
using assay::trace::Summary;
using assay::trace::Trace;

namespace {

struct Flags {
  std::string a, b, filter, html;
  GrowthFlags growth;
  bool all = false, json = false;
};

/// What a debugging log has: the layers' outputs and both ends.
bool is_milestone(const std::string& name) {
  return name == "embd" || name == "out_norm" || name == "logits" ||
         (name.starts_with("blk.") && name.ends_with(".out"));
}

struct Shown {
  std::string engine;
  std::vector<Summary> rows;
  std::vector<std::string> unknown;
};

Result<Shown> read(const Trace& trace, const Flags& flags) {
  auto rows = assay::trace::summarise(trace);
  if (!rows) return rows.error();
  try {
    const std::regex expression(flags.filter);
    std::erase_if(*rows, [&](const Summary& row) {
      if (!flags.filter.empty()) return !std::regex_search(row.name, expression);
      return !flags.all && !is_milestone(row.name);
    });
  } catch (const std::regex_error&) {
    return Error{fmt::format("--filter: '{}' is not a regular expression", flags.filter)};
  }
  return Shown{trace.metadata("engine"), std::move(*rows), trace.unknown()};
}

const Summary* find(const Shown& shown, const std::string& name) {
  for (const Summary& row : shown.rows)
    if (row.name == name) return &row;
  return nullptr;
}

void print_one(const Shown& shown) {
  fmt::print("{}\n\n", escaped(shown.engine));
  fmt::print("{:<22}{:>11}{:>9}{:>11}{:>12}{:>12}{:>12}{:>5}\n", "operation", "RMS", "/embd",
             "max|x|", "min", "max", "mean", "NaN");
  const Summary* embedded = find(shown, "embd");
  for (const Summary& row : shown.rows)
    fmt::print("{:<22}{:>11.4f}{:>9}{:>11.4f}{:>12.4f}{:>12.4f}{:>12.5f}{:>5}\n", row.name, row.rms,
               embedded ? fmt::format("{:.4g}", row.rms / embedded->rms) : "-", row.max_abs,
               row.min, row.max, row.mean, row.nan);
}

void print_two(const Shown& a, const Shown& b) {
  fmt::print("a  {}\nb  {}\n\n", escaped(a.engine), escaped(b.engine));
  fmt::print("{:<22}{:>11}{:>11}{:>8}   {:>11}{:>11}{:>8}{:>10}\n", "operation", "RMS a", "RMS b",
             "a/b", "max|x| a", "max|x| b", "a/b", "NaN a, b");
  for (const Summary& row : a.rows) {
    const Summary* other = find(b, row.name);
    if (!other) {
      fmt::print("{:<22}{:>11.4f}{:>11}\n", row.name, row.rms, "-");
      continue;
    }
    fmt::print("{:<22}{:>11.4f}{:>11.4f}{:>8.3f}   {:>11.4f}{:>11.4f}{:>8.3f}{:>6}{:>4}\n",
               row.name, row.rms, other->rms, row.rms / other->rms, row.max_abs, other->max_abs,
               row.max_abs / other->max_abs, row.nan, other->nan);
  }
  for (const Summary& row : b.rows)
    if (!find(a, row.name)) fmt::print("{:<22}{:>11}{:>11.4f}\n", row.name, "-", row.rms);
}

nlohmann::ordered_json json_of(const Shown& shown) {
  const auto number = [](double x) {
    return std::isfinite(x) ? nlohmann::ordered_json(x) : nlohmann::ordered_json(nullptr);
  };
  nlohmann::ordered_json json = {{"engine", shown.engine}, {"unknown", shown.unknown}};
  json["operations"] = nlohmann::ordered_json::array();
  for (const Summary& row : shown.rows)
    json["operations"].push_back({{"name", row.name},
                                  {"rms", number(row.rms)},
                                  {"max_abs", number(row.max_abs)},
                                  {"min", number(row.min)},
                                  {"max", number(row.max)},
                                  {"mean", number(row.mean)},
                                  {"nan", row.nan},
                                  {"infinite", row.infinite}});
  return json;
}

/// The table, heads, what is normal; as text.
void print_all(const std::vector<Shown>& shown, const std::vector<Heads>& heads) {
  if (shown.size() == 2)
    print_two(shown[0], shown[1]);
  else
    print_one(shown[0]);
  for (size_t i = 0; i < heads.size(); ++i) {
    if (heads.size() == 2) fmt::print("\n{}", i == 0 ? "a" : "b");
    print_heads(heads[i]);
  }
  for (const Shown& one : shown)
    if (!one.unknown.empty())
      fmt::print(stderr, "assay: {} tensors have unknown names; the first is '{}'\n",
                 one.unknown.size(), escaped(one.unknown.front()));
  fmt::print("\n");
  (void)flush_output();  // correct runs take a while; what fails here fails again at the end
}

int show(const Flags& flags) {
  std::vector<Trace> traces;
  std::vector<Shown> shown;
  std::vector<Heads> heads;
  Progress reading("read the trace");
  for (const std::string& path : {flags.a, flags.b}) {
    if (path.empty()) continue;
    auto trace = Trace::open(path);
    if (!trace) return report(trace.error());
    auto one = read(*trace, flags);
    if (!one) return report(one.error());
    traces.push_back(std::move(*trace));
    shown.push_back(std::move(*one));
  }
  const auto model = open_shown_model(flags.growth, traces);
  if (!model && !flags.growth.model.empty()) return report(model.error());
  for (const Trace& trace : traces) {
    if (!flags.growth.attention) break;
    auto one = weights_of(flags.growth, model, trace);
    if (!one) return report(one.error());
    heads.push_back(std::move(*one));
  }
  reading.erase();
  if (!flags.json) print_all(shown, heads);
  Progress judging("judge the sizes");
  const auto growth = report_growth(flags.growth, model, traces);
  judging.erase();
  if (!growth) return report(growth.error());
  if (!flags.html.empty()) {
    std::vector<assay::report::Summarised> tables;
    for (const Shown& one : shown) tables.push_back({one.engine, one.rows});
    const std::string page = assay::report::to_html(tables, growth->sentences());
    if (const auto saved = assay::write_atomically(flags.html, {page}); !saved)
      return report(saved.error());
  }
  if (!flags.json) {
    for (const std::string& sentence : growth->sentences())
      fmt::print("{}\n", escaped(sentence, false));
    return 0;
  }
  nlohmann::ordered_json json = {{"schema", "assay.trace-show/1"}, {"traces", {}}};
  for (size_t i = 0; i < shown.size(); ++i) {
    json["traces"].push_back(json_of(shown[i]));
    if (flags.growth.attention) json["traces"].back()["attention"] = heads_json(heads[i]);
  }
  json["growth"] = growth_json(*growth, model);
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  return 0;
}

}  // namespace

void add_trace_show(CLI::App& parent, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("show", "RMS, max|x|, min, max, mean, NaN; of two traces side by side");
  command->add_option("a", flags->a, "trace")->type_name("A")->required();
  command->add_option("b", flags->b, "another")->type_name("B");
  command->add_flag("--all", flags->all, "every operation, not the layers' outputs only");
  command
      ->add_option("--filter", flags->filter,
                   "operations whose name matches this regular expression")
      ->type_name("REGEX");
  add_growth_flags(*command, flags->growth);
  command->add_option("--html", flags->html, "a page with plots")->type_name("FILE");
  command->add_flag("--json", flags->json, "schema assay.trace-show/1");
  command->callback([flags, &exit_code] { exit_code = show(*flags); });
}
