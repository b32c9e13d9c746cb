#include "show_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "common.h"
#include "diff/logged.h"
#include "gguf/not_finite.h"
#include "paragraph.h"
#include "traced_program.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::diff::JudgedLogValue;
using assay::diff::LogReport;
using assay::diff::Verdict;
using assay::trace::TextLog;
using Json = nlohmann::ordered_json;

namespace {

constexpr size_t most_tokens = 256;

/// All that the report says.
struct Shown {
  assay::op::Program program;
  TextLog log;
  std::vector<int32_t> tokens;
  LogReport report;
};

Result<std::vector<assay::trace::LogColumns>> columns_of(const LogFlags& flags) {
  std::vector<assay::trace::LogColumns> out;
  for (const std::string& one : flags.columns) {
    auto columns = assay::trace::read_columns(one);
    if (!columns) return wrong_usage(columns.error().message);
    out.push_back(std::move(*columns));
  }
  return out;
}

/// Of --tokens or -p, else those that the log names.
Result<std::vector<int32_t>> tokens_of(const PromptFlags& prompt, const assay::gguf::File& file,
                                       const TextLog& log) {
  if (prompt.tokens) return parse_ids(*prompt.tokens);
  if (prompt.text) {
    const auto tokenizer = open_tokenizer(file);
    if (!tokenizer) return tokenizer.error();
    return encode_text(
        *tokenizer, *prompt.text,
        {.parse_special = !prompt.no_parse_special, .add_bos = !prompt.no_bos, .add_eos = false});
  }
  if (log.tokens.empty())
    return Error{"UNMEASURED: no line of the log names the prompt's tokens; give --tokens or -p"};
  if (log.tokens.size() > 1)
    return Error{fmt::format(
        "UNMEASURED: the log names {} lists of tokens; --tokens or -p says which is the prompt",
        log.tokens.size())};
  return log.tokens[0];
}

Result<Shown> compare(const LogFlags& flags, const GrowthFlags& growth) {
  const auto columns = columns_of(flags);
  if (!columns) return columns.error();
  if (growth.model.empty())
    return Error{"UNMEASURED: a log names no model file; give it with -m MODEL"};
  const auto path = resolve_model(growth.model);
  if (!path) return path.error();
  const auto file = assay::gguf::File::open(*path);
  if (!file) return file.error();
  if (const auto good = assay::gguf::check_weights(*file); !good) return good.error();
  auto program = traced_program(*file, {});
  if (!program) return program.error();
  const auto text = read_text(flags.path);
  if (!text) return text.error();
  std::vector<std::string> names;
  for (const auto& operation : program->operations)
    if (operation.output != assay::op::none) names.push_back(operation.name);
  TextLog log = assay::trace::read_log(*text, *columns, names);
  auto tokens = tokens_of(flags.prompt, *file, log);
  if (!tokens) return tokens.error();
  if (tokens->empty() || tokens->size() > most_tokens)
    return Error{fmt::format("UNMEASURED: the prompt has {} tokens; a log is compared over 1 to {}",
                             tokens->size(), most_tokens)};
  for (const int32_t token : *tokens)
    if (token < 0 || uint32_t(token) >= program->vocabulary)
      return Error{fmt::format("UNMEASURED: token {} is beyond the model's vocabulary of {}", token,
                               program->vocabulary)};
  if (growth.token && *growth.token >= tokens->size())
    return Error{fmt::format("--token {}: the prompt has {} tokens, counted from 0", *growth.token,
                             tokens->size())};
  constexpr uint64_t usual = 16;
  const uint64_t runs = growth.runs.value_or(usual);
  if (runs == 0) return Error{"UNMEASURED: no correct runs were requested (--runs 0)"};
  Progress judging("run the model as it should be");
  auto report = assay::diff::judge_log(*program, log, *tokens,
                                       {.runs = runs, .seed = growth.seed, .token = growth.token});
  judging.erase();
  return Shown{std::move(*program), std::move(log), std::move(*tokens), std::move(report)};
}

std::string name_of(const Shown& shown, const JudgedLogValue& value) {
  return shown.program.operations[value.operation].name;
}

/// A line for each value, or for those outside and the lines that were not read.
void print_table(const Shown& shown, bool all) {
  const auto& values = shown.report.values;
  const bool any =
      all || std::ranges::any_of(values, [](const JudgedLogValue& one) { return !one.inside; });
  if (any && !values.empty())
    fmt::print("{:<6}{:<20}{:<24}{:>12}   {}\n", "line", "operation", "statistic", "log",
               "correct runs");
  for (const JudgedLogValue& one : values) {
    if (one.inside && !all) continue;
    fmt::print("{:<6}{:<20}{:<24}{:>12}   {:.6g} to {:.6g}{}\n", one.line, name_of(shown, one),
               one.statistic, one.printed.text, one.range.low, one.range.high,
               one.inside ? "" : "  outside");
  }
  for (const auto& one : shown.report.missing)
    fmt::print("{:<6}{:<20}{:<24}{:>12}   {:.6g} to {:.6g}  outside\n", one.line,
               shown.program.operations.back().name, fmt::format("logit of token {}", one.id),
               "not listed", one.range.low, one.range.high);
  if (any && !values.empty()) fmt::print("\n");
}

void print_lines(const TextLog& log) {
  constexpr size_t most = 5;
  fmt::print("{} of {} lines do not fit the columns{}\n", log.unread.size(), log.lines,
             log.unread.empty() ? "" : ":");
  for (size_t i = 0; i < std::min(most, log.unread.size()); ++i)
    fmt::print("  line {}: {}\n", log.unread[i].line, escaped(log.unread[i].text, false));
  if (log.unread.size() > most) fmt::print("  … and {} more\n", log.unread.size() - most);
}

Json range_of(const assay::diff::Range& range) {
  return {assay::json_number(range.low), assay::json_number(range.high)};
}

Json json_of(const Shown& shown, const JudgedLogValue& value) {
  const auto& operation = shown.program.operations[value.operation];
  return {{"line", value.line},
          {"operation", operation.name},
          {"layer", operation.layer == assay::op::none ? Json(nullptr) : Json(operation.layer)},
          {"token", value.token ? Json(*value.token) : Json(nullptr)},
          {"statistic", value.statistic},
          {"got", value.printed.text},
          {"normal", range_of(value.range)},
          {"after", value.from ? Json(shown.program.operations[*value.from].name) : Json(nullptr)},
          {"inside", value.inside}};
}

void print_json(const Shown& shown) {
  const LogReport& report = shown.report;
  Json json = {
      {"schema", "assay.trace-log/1"},
      {"verdict", assay::diff::name_of(report.verdict)},
      {"sentence", report.sentence},
      {"first", report.first ? json_of(shown, *report.first) : Json(nullptr)},
      {"notes", report.notes},
      {"reading",
       {{"results", type_of(report.reading)},
        {"tokens", name_of(report.reading.tokens)},
        {"layers", name_of(report.reading.layers)},
        {"max", report.reading.largest_value ? "largest value" : "largest magnitude"}}},
      {"tokens", shown.tokens},
      {"runs", report.runs},
      {"lines", {{"all", shown.log.lines}, {"later", report.later}, {"unread", Json::array()}}},
      {"values", Json::array()},
      {"missing", Json::array()}};
  for (const auto& one : shown.log.unread)
    json["lines"]["unread"].push_back({{"line", one.line}, {"text", one.text}});
  for (const JudgedLogValue& one : report.values) json["values"].push_back(json_of(shown, one));
  for (const auto& one : report.missing)
    json["missing"].push_back(
        {{"line", one.line}, {"token", one.id}, {"normal", range_of(one.range)}});
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace

void add_log_flags(CLI::App& command, LogFlags& flags) {
  command
      .add_option("--log", flags.path,
                  "instead of a trace, a text log of sizes or best tokens; - is standard input")
      ->type_name("FILE");
  command
      .add_option("--columns", flags.columns,
                  "what the log's numbers are, as 'layer,rms,max' or 'top'; again for lines of "
                  "another form (docs/text-logs.md)")
      ->type_name("LIST");
  add_prompt_flags(command, flags.prompt);
}

int show_log(const LogFlags& flags, const GrowthFlags& growth, bool all, bool json) {
  if (flags.columns.empty())
    return report(wrong_usage("--log needs --columns, as '--columns layer,rms,max'"));
  if (flags.prompt.text && flags.prompt.tokens)
    return report(wrong_usage("give one of --tokens and -p"));
  const auto shown = compare(flags, growth);
  if (!shown) {
    if (json)
      fmt::print("{}\n", Json({{"schema", "assay.trace-log/1"},
                               {"verdict", assay::diff::name_of(Verdict::unmeasured)},
                               {"sentence", shown.error().message},
                               {"first", nullptr}})
                             .dump(2, ' ', false, Json::error_handler_t::replace));
    return report(shown.error());
  }
  const LogReport& report = shown->report;
  if (json) {
    print_json(*shown);
  } else {
    print_table(*shown, all);
    print_lines(shown->log);
    for (const std::string& note : report.notes) print_paragraph(escaped(note, false));
    print_paragraph(escaped(report.sentence, false));
  }
  return int(report.verdict == Verdict::pass   ? Exit::done
             : report.verdict == Verdict::fail ? Exit::negative
                                               : Exit::cannot);
}
