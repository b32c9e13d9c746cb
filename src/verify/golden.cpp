#include "verify/golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

namespace assay::verify {

namespace {

using Json = nlohmann::ordered_json;
constexpr std::string_view schema = "assay.golden/1";
constexpr size_t digits = 16;

bool is_hash(const std::string& text, size_t length) {
  return text.size() == length && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// What is wrong with a case; "" for a sound one.
std::string defect(const GoldenCase& one, size_t operations) {
  uint64_t tokens = 0;
  for (const GoldenStep& step : one.steps) {
    tokens += step.tokens;
    if (step.tokens == 0) return "a step without tokens";
    if (step.hashes.size() != operations) return "a step that does not have one hash per operation";
    for (const std::string& hash : step.hashes)
      if (!is_hash(hash, digits)) return "a hash that is not 16 hex digits";
  }
  if (tokens != one.tokens.size() || tokens == 0)
    return "steps whose token counts do not add up to the tokens";
  if (!is_hash(one.logits_sha256, 64)) return "a logits_sha256 that is not 64 hex digits";
  return {};
}

}  // namespace

std::string to_json(const Golden& golden) {
  Json json = {{"schema", schema},
               {"contract", golden.contract},
               {"model", {{"path", golden.model}, {"sha256", golden.model_sha256}}},
               {"made_by", golden.made_by},
               {"operations", golden.operations},
               {"cases", Json::array()}};
  for (const GoldenCase& one : golden.cases) {
    Json steps = Json::array();
    for (const GoldenStep& step : one.steps)
      steps.push_back({{"tokens", step.tokens}, {"hashes", step.hashes}});
    json["cases"].push_back(
        {{"tokens", one.tokens}, {"logits_sha256", one.logits_sha256}, {"steps", steps}});
  }
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Golden> parse_golden(std::string_view text, const std::string& path) {
  const auto wrong = [&](std::string_view what) {
    return Error{fmt::format("{}: not a golden file of assay: {}", path, what)};
  };
  try {
    const Json json = Json::parse(text);
    if (json.at("schema") != schema) return wrong(fmt::format("its schema is not {}", schema));
    Golden golden;
    json.at("contract").get_to(golden.contract);
    json.at("model").at("path").get_to(golden.model);
    json.at("model").at("sha256").get_to(golden.model_sha256);
    json.at("made_by").get_to(golden.made_by);
    json.at("operations").get_to(golden.operations);
    for (const Json& entry : json.at("cases")) {
      GoldenCase one;
      entry.at("tokens").get_to(one.tokens);
      entry.at("logits_sha256").get_to(one.logits_sha256);
      for (const Json& step : entry.at("steps"))
        one.steps.push_back(
            {step.at("tokens").get<uint32_t>(), step.at("hashes").get<std::vector<std::string>>()});
      if (const std::string found = defect(one, golden.operations.size()); !found.empty())
        return wrong(found);
      golden.cases.push_back(std::move(one));
    }
    if (golden.cases.empty()) return wrong("it has no cases");
    return golden;
  } catch (const Json::parse_error&) {
    return wrong("not JSON");
  } catch (const Json::exception&) {
    return wrong("a field is missing or of another type");
  }
}

void GoldenRecorder::begin_step(const op::Step& step) {
  case_.tokens.insert(case_.tokens.end(), step.tokens.begin(), step.tokens.end());
  case_.steps.push_back({uint32_t(step.tokens.size()), {}});
}

void GoldenRecorder::operator()(const op::Operation&, std::span<const float> output) {
  trace::LogitsHash hash;
  hash.update(output);
  case_.steps.back().hashes.push_back(hash.hex().substr(0, digits));
}

GoldenCase GoldenRecorder::finish() {
  case_.logits_sha256 = logits_.hex();
  return std::exchange(case_, {});
}

std::vector<std::string> names_of(const op::Program& program) {
  std::vector<std::string> names;
  for (const op::Operation& operation : program.operations) names.push_back(operation.name);
  return names;
}

std::optional<Departure> first_departure(const std::vector<std::string>& operations,
                                         const GoldenCase& stored, const GoldenCase& now) {
  for (size_t step = 0; step < stored.steps.size(); ++step)
    for (size_t i = 0; i < operations.size(); ++i)
      if (stored.steps[step].hashes[i] != now.steps[step].hashes[i])
        return Departure{step, operations[i]};
  // the operations' short hashes are equal: the logits' whole one can only differ by an edit
  if (stored.logits_sha256 != now.logits_sha256)
    return Departure{stored.steps.size() - 1, operations.back()};
  return {};
}

}  // namespace assay::verify
