#include "show_growth.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>

#include "base/json.h"
#include "common.h"
#include "traced_program.h"

using assay::Error;
using assay::Result;
using assay::diff::Growth;
using assay::trace::HeadState;
using assay::trace::Trace;
using Json = nlohmann::ordered_json;

namespace {

constexpr uint64_t most_tokens = 32;  // the prompt's beginning that correct runs take

Json range(const assay::diff::Range& range) {
  return {assay::json_number(range.low), assay::json_number(range.high)};
}

/// The tokens at positions 0, 1, …; empty where a trace begins elsewhere or leaps.
std::vector<int32_t> tokens_of(const Trace& trace) {
  std::vector<int32_t> tokens;
  for (const auto& step : trace.steps())
    for (size_t i = 0; i < step.tokens.size(); ++i) {
      if (step.positions[i] != tokens.size()) return {};
      tokens.push_back(step.tokens[i]);
    }
  return tokens;
}

/// Why correct runs can't be made from the traces' tokens; else empty.
std::string lacks(const ShownModel& model, const std::vector<Trace>& traces) {
  const std::vector<int32_t> tokens = tokens_of(traces[0]);
  if (tokens.empty()) return traces[0].path() + ": its positions are not 0, 1, 2, …";
  for (const int32_t token : tokens)
    if (uint32_t(token) >= model.program.vocabulary)
      return fmt::format("{}: token {} is beyond the model's vocabulary of {}", traces[0].path(),
                         token, model.program.vocabulary);
  if (traces.size() == 1) return "";
  const std::vector<int32_t> others = tokens_of(traces[1]);
  if (tokens == others) return "";
  return fmt::format("the tokens differ from index {} on",
                     std::ranges::mismatch(tokens, others).in1 - tokens.begin());
}

}  // namespace

void add_growth_flags(CLI::App& command, GrowthFlags& flags) {
  command
      .add_option("-m,--model", flags.model, "the model (default: the one that the traces name)")
      ->type_name("MODEL");
  command
      .add_option("--runs", flags.runs,
                  "correct runs that say what is normal; 0: none (default: 8, of a log 16)")
      ->type_name("N")
      ->check(between(0, 1000));
  command.add_option("--seed", flags.seed, "seed of their ulps")
      ->type_name("N")
      ->capture_default_str();
  command.add_flag("--attention", flags.attention,
                   "entropy and largest weight of every head, for one token");
  command.add_option("--token", flags.token, "that token's index (default: the last)")
      ->type_name("N")
      ->check(between(0, double(INT32_MAX)));
}

Result<ShownModel> open_shown_model(const GrowthFlags& flags, const std::vector<Trace>& traces) {
  std::string name = flags.model;
  std::error_code ignored;
  for (const Trace& trace : traces)
    if (name.empty() && std::filesystem::exists(trace.metadata("model"), ignored))
      name = trace.metadata("model");
  if (name.empty()) return Error{"no trace names a model file that exists; give it with --model"};
  const auto path = resolve_model(name);
  if (!path) return path.error();
  auto weights = open_weights(*path);
  if (!weights) return weights.error();
  const auto* file = &weights->file;
  auto program = traces.size() > 1 ? traced_program(*file, {&traces[0], &traces[1]})
                                   : traced_program(*file, {traces.data()});
  if (!program) return program.error();
  std::string hash;
  for (const Trace& trace : traces) {
    const std::string stated = trace.metadata("model_sha256");
    if (stated.empty()) continue;
    if (hash.empty()) hash = file_sha256(*file);
    if (stated != hash)
      return Error{
          fmt::format("the weights differ: {} was made with a model of SHA-256 {:.12}…, "
                      "{} has {:.12}…",
                      trace.path(), stated, file->path(), hash)};
  }
  return ShownModel{std::move(*weights), std::move(*program)};
}

std::vector<std::string> GrowthReport::sentences() const {
  if (!unknown.empty()) return {"cannot tell whether this is normal: " + unknown};
  if (!partings) return {traces[0].sentence};
  return {"a: " + traces[0].sentence, "b: " + traces[1].sentence, partings->sentence};
}

Result<GrowthReport> report_growth(const GrowthFlags& flags, const Result<ShownModel>& model,
                                   const std::vector<Trace>& traces) {
  GrowthReport report;
  const uint64_t runs = flags.runs.value_or(8);
  report.unknown = runs == 0 ? "no correct runs were requested (--runs 0)"
                   : !model  ? model.error().message
                             : lacks(*model, traces);
  if (!report.unknown.empty()) return report;
  const assay::op::Program& program = model->program;
  std::vector<int32_t> tokens = tokens_of(traces[0]);
  tokens.resize(std::min<size_t>(tokens.size(), most_tokens));
  std::vector<assay::trace::TokenLines> lines;
  for (const Trace& trace : traces) {
    auto one = assay::trace::token_lines(program, trace);
    if (!one) return one.error();
    lines.push_back(std::move(*one));
  }
  report.ensemble = assay::diff::correct_ensemble(program, tokens, runs, flags.seed);
  for (const auto& one : lines)
    report.traces.push_back(assay::diff::judge_growth(program, one, report.ensemble));
  if (lines.size() == 2)
    report.partings = assay::diff::judge_parting(program, lines[0], lines[1], report.ensemble);
  return report;
}

Json growth_json(const GrowthReport& report, const Result<ShownModel>& model) {
  Json json = {{"sentences", report.sentences()}};
  if (!report.unknown.empty()) return json;
  const auto& operations = model->program.operations;
  json["runs"] = report.ensemble.runs;
  json["tokens"] = report.ensemble.tokens;
  json["normal"] = Json::array();
  for (const auto& one : report.ensemble.growth) json["normal"].push_back(range(one));
  json["traces"] = Json::array();
  for (const Growth& growth : report.traces) {
    Json one = {{"verdict", growth.first  ? "outside"
                            : growth.rows ? "normal"
                                          : "unknown"},
                {"rows", growth.rows},
                {"first", nullptr},
                {"growth", Json::array()}};
    for (const double x : growth.layers) one["growth"].push_back(assay::json_number(x));
    if (growth.first)
      one["first"] = {{"operation", operations[growth.first->operation].name},
                      {"token", growth.first->token},
                      {"what", growth.first->what},
                      {"value", assay::json_number(growth.first->got)},
                      {"normal", range(growth.first->range)}};
    json["traces"].push_back(one);
  }
  if (!report.partings) return json;
  json["parting"] = nullptr;
  if (const auto& first = report.partings->first)
    json["parting"] = {{"operation", operations[first->operation].name},
                       {"token", first->token},
                       {"what", first->what},
                       {"a", assay::json_number(first->a)},
                       {"b", assay::json_number(first->b)},
                       {"normal", range(first->range)}};
  return json;
}

Result<Heads> weights_of(const GrowthFlags& flags, const Result<ShownModel>& model,
                         const Trace& trace) {
  if (!model) return Error{"the weights of attention need the model: " + model.error().message};
  uint64_t tokens = 0;
  for (const auto& step : trace.steps()) tokens += step.tokens.size();
  return assay::trace::attention_weights(model->program, trace, flags.token.value_or(tokens - 1));
}

void print_heads(const Heads& heads) {
  if (heads.empty()) return;
  fmt::print("\nattention over {} key{}; the entropy can be at most {:.2f} bits\n\n", heads[0].keys,
             heads[0].keys == 1 ? "" : "s", std::log2(double(heads[0].keys)));
  fmt::print("{:<8}{:>6}{:>14}{:>16}{:>8}\n", "layer", "head", "entropy/bits", "largest weight",
             "of key");
  for (const auto& head : heads)
    fmt::print("{:<8}{:>6}{:>14.3f}{:>16.4f}{:>8}{}\n", head.layer, head.head, head.entropy,
               head.largest, head.largest_key,
               head.state == HeadState::usual ? "" : fmt::format("  {}", name_of(head.state)));
  for (const HeadState state : {HeadState::not_finite, HeadState::one_hot, HeadState::uniform})
    if (const auto count = std::ranges::count(heads, state, &assay::trace::HeadWeights::state);
        count > 0)
      fmt::print("{}: {} of {} heads\n", name_of(state), count, heads.size());
}

Json heads_json(const Heads& heads) {
  Json json = Json::array();
  for (const auto& head : heads)
    json.push_back({{"layer", head.layer},
                    {"head", head.head},
                    {"keys", head.keys},
                    {"entropy_bits", assay::json_number(head.entropy)},
                    {"largest", assay::json_number(head.largest)},
                    {"largest_key", head.largest_key},
                    {"state", name_of(head.state)}});
  return json;
}
