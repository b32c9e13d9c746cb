// assay trace show FILE [FILE2]
#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>

#include "about.h"
#include "base/atomic_file.h"
#include "common.h"
#include "diff/names.h"
#include "diff/side.h"
#include "paragraph.h"
#include "report/report.h"
#include "show_growth.h"
#include "show_log.h"
#include "trace.h"
#include "trace/statistics.h"
#include "trace/summary.h"
#include "trace/trace_file.h"

using assay::Error;
using assay::Result;
using assay::trace::Summary;
using assay::trace::Trace;

namespace {

struct Flags {
  std::string a, b, filter, html, names;
  GrowthFlags growth;
  LogFlags log;
  bool all = false, json = false;
};

/// What a debugging log has: the layers' outputs and both ends.
bool is_milestone(const std::string& name) {
  return name == "embd" || name == "out_norm" || name == "logits" ||
         (name.starts_with("blk.") && name.ends_with(".out"));
}

/// A token that a trace's last logits give.
struct Candidate {
  int32_t id;
  float logit;
  std::optional<std::string> text;  // none without the model
};

struct Shown {
  std::string engine;
  std::vector<Summary> rows;
  std::vector<assay::diff::UnknownName> unknown;
  std::vector<Candidate> best;
};

constexpr size_t most_candidates = 5;

/// The best tokens of the last row of logits; empty where the trace holds none.
Result<std::vector<Candidate>> best_tokens(const Trace& trace, const Result<ShownModel>& model) {
  std::vector<Candidate> out;
  if (trace.holds_statistics()) return out;
  const assay::trace::TraceTensor* logits = nullptr;
  for (const auto& tensor : trace.tensors())
    if (tensor.name == "logits") logits = &tensor;
  if (!logits) return out;
  const auto values = trace.values(*logits);
  if (!values) return values.error();
  const auto row = values->row(values->rows - 1);
  for (const auto& one :
       assay::trace::top(std::vector<float>(row.begin(), row.end()), most_candidates))
    out.push_back({one.id, one.logit, {}});
  if (!model) return out;
  const auto tokenizer = open_tokenizer(model->weights.file);
  if (!tokenizer) {
    fmt::print(stderr, "assay: the tokens' text is not known: {}\n",
               escaped(tokenizer.error().message, false));
    return out;
  }
  for (Candidate& one : out)
    if (uint32_t(one.id) < model->program.vocabulary)
      one.text = std::string(tokenizer->piece(one.id));
  return out;
}

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
  return Shown{trace.metadata("engine"), std::move(*rows), {}, {}};
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
  nlohmann::ordered_json json = {{"engine", shown.engine},
                                 {"unknown", nlohmann::ordered_json::array()}};
  for (const auto& one : shown.unknown) json["unknown"].push_back(one.key);
  json["best"] = nlohmann::ordered_json::array();
  for (const Candidate& one : shown.best)
    json["best"].push_back(
        {{"token", one.id},
         {"logit", number(one.logit)},
         {"text", one.text ? nlohmann::ordered_json(*one.text) : nlohmann::ordered_json(nullptr)}});
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
    if (const std::string unknown = assay::diff::sentence_of(one.unknown); !unknown.empty())
      fmt::print(stderr, "assay: {}\n", escaped(unknown, false));
  for (size_t i = 0; i < shown.size(); ++i) {
    if (shown[i].best.empty()) continue;
    std::string text = fmt::format("\n{}best tokens after the last one: ", shown.size() == 1 ? ""
                                                                           : i == 0          ? "a: "
                                                                                    : "b: ");
    for (const Candidate& one : shown[i].best)
      text += fmt::format("{}{}{} ({:.2f})", &one == shown[i].best.data() ? "" : ", ", one.id,
                          one.text ? " '" + escaped(*one.text) + "'" : "", one.logit);
    print_paragraph(text);
  }
  fmt::print("\n");
  (void)flush_output();  // correct runs take a while; what fails here fails again at the end
}

/// What was given together and cannot be; empty where nothing is wrong.
std::string misuse(const Flags& flags) {
  const bool log = !flags.log.path.empty();
  if (!log && flags.a.empty())
    return "'assay trace show' needs A; --log FILE gives a text log instead";
  if (log && !flags.a.empty()) return "give a trace or --log, not both";
  if (!log && (!flags.log.columns.empty() || flags.log.prompt.given()))
    return "--columns, --tokens and -p can only be used with --log";
  if (log && (flags.growth.attention || !flags.html.empty() || !flags.filter.empty()))
    return "--attention, --html and --filter need a trace";
  return "";
}

int show(const Flags& flags) {
  if (const std::string wrong = misuse(flags); !wrong.empty()) return report(wrong_usage(wrong));
  if (!flags.log.path.empty()) return show_log(flags.log, flags.growth, flags.all, flags.json);
  std::vector<Trace> traces;
  std::vector<Shown> shown;
  std::vector<Heads> heads;
  Progress reading("read the trace");
  const auto names = read_names(flags.names);
  if (!names) return report(names.error());
  for (const std::string& path : {flags.a, flags.b}) {
    if (path.empty()) continue;
    auto trace = Trace::open(path, *names);
    if (!trace) return report(trace.error());
    auto one = read(*trace, flags);
    if (!one) return report(one.error());
    traces.push_back(std::move(*trace));
    shown.push_back(std::move(*one));
  }
  const auto model = open_shown_model(flags.growth, traces);
  if (!model && !flags.growth.model.empty()) return report(model.error());
  for (size_t i = 0; i < traces.size(); ++i) {
    if (model)
      for (const std::string& note : assay::diff::arrange(model->program, traces[i]))
        fmt::print(stderr, "assay: {}\n", escaped(note, false));
    auto best = best_tokens(traces[i], model);
    if (!best) return report(best.error());
    shown[i].best = std::move(*best);
    if (model)
      shown[i].unknown = assay::diff::unknown_names(model->program, traces[i]);
    else
      for (const std::string& key : traces[i].unknown()) shown[i].unknown.push_back({key, ""});
  }
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
    std::vector<const Trace*> pointers;
    for (const Trace& trace : traces) pointers.push_back(&trace);
    for (const Shown& one : shown) tables.push_back({one.engine, one.rows});
    const std::string page = assay::report::to_html(
        tables, growth->sentences(), about(pointers, model ? &model->weights : nullptr));
    if (const auto saved = assay::write_atomically(flags.html, {page}); !saved)
      return report(saved.error());
  }
  if (!flags.json) {
    for (const std::string& sentence : growth->sentences())
      print_paragraph(escaped(sentence, false));
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
  CLI::App* command = parent.add_subcommand(
      "show", "RMS, max|x|, min, max, mean, NaN; of two traces side by side, or of a text log");
  command->add_option("a", flags->a, "trace")->type_name("A");
  command->add_option("b", flags->b, "another")->type_name("B");
  command->add_flag("--all", flags->all,
                    "every operation, not the layers' outputs only; of a log every number");
  command
      ->add_option("--filter", flags->filter,
                   "operations whose name matches this regular expression")
      ->type_name("REGEX");
  add_growth_flags(*command, flags->growth);
  add_log_flags(*command, flags->log);
  add_names_flag(*command, flags->names);
  command->add_option("--html", flags->html, "a page with plots")->type_name("FILE");
  command->add_flag("--json", flags->json, "schema assay.trace-show/1, of a log assay.trace-log/1");
  command->callback([flags, &exit_code] { exit_code = show(*flags); });
}
