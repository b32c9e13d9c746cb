// The fixed shape assay.diff/1.
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "diff/diff.h"

namespace assay::diff {

namespace {

using Json = nlohmann::ordered_json;

Json engine(const Side& side) {
  return {{"engine", side.engine}, {"contract", side.contract}, {"found", side.found}};
}

Json judged(const JudgedOperation& operation) {
  Json json = {{"verdict", name_of(operation.verdict)},
               {"max_u", json_number(operation.seen.max_u)},
               {"limit_u", json_number(operation.seen.limit_u)},
               {"ties", operation.seen.ties}};
  if (!operation.why.empty()) json["why"] = operation.why;
  return json;
}

Json cause_of(const std::optional<Cause>& cause) {
  if (!cause) return nullptr;
  Json json = {{"id", cause->id},
               {"name", cause->name},
               {"evidence", cause->evidence},
               {"confidence", json_number(cause->confidence)},
               {"ties", cause->ties}};
  if (!cause->operation.empty()) json["operation"] = cause->operation;
  return json;
}

Json first_of(const std::optional<First>& first, const std::optional<Cause>& cause) {
  if (!first) return nullptr;
  return {{"operation", first->operation},
          {"layer", first->layer == op::none ? Json(nullptr) : Json(first->layer)},
          {"step", first->step},
          {"token", first->seen.token},
          {"row", first->seen.row},
          {"side", first->a && first->b ? "both"
                   : first->a           ? "a"
                                        : "b"},
          {"error_u", json_number(first->seen.max_u)},
          {"limit_u", json_number(first->seen.limit_u)},
          {"count", first->seen.failures},
          {"of", first->seen.elements},
          {"got", json_number(first->got)},
          {"wanted", json_number(first->wanted)},
          {"where", first->where},
          {"after", first->after.empty() ? Json(nullptr) : Json(first->after)},
          {"record_next", first->record_next.empty() ? Json(nullptr) : Json(first->record_next)},
          {"cause", cause_of(cause)}};
}

Json swap_of(const Swap& swap) {
  Json restores = Json::array(), cuts = Json::array();
  for (const Swap::Cut& cut : swap.cuts) {
    if (cut.restores) restores.push_back(cut.operation);
    cuts.push_back(
        {{"operation", cut.operation}, {"token", cut.token}, {"kl", json_number(cut.divergence)}});
  }
  return {{"side", swap.of_a ? "a" : "b"},
          {"position", swap.position},
          {"token", swap.token},
          {"wanted", swap.wanted},
          {"kl", json_number(swap.divergence)},
          {"reproduced", swap.reproduced},
          {"restores", restores},
          {"cuts", cuts}};
}

}  // namespace

static Json unknown_of(const std::vector<UnknownName>& unknown) {
  Json json = Json::array();
  for (const UnknownName& one : unknown)
    json.push_back(
        {{"key", one.key}, {"nearest", one.nearest.empty() ? Json(nullptr) : Json(one.nearest)}});
  return json;
}

std::string to_json(const op::Program& program, const Report& report,
                    const std::optional<Narrow>& narrow) {
  Json operations = Json::array();
  for (size_t i = 0; i < program.operations.size(); ++i)
    operations.push_back(
        {{"name", program.operations[i].name},
         {"a", judged(report.a.operations[i])},
         {"b", report.alone ? Json(nullptr) : judged(report.b.operations[i])},
         {"difference", report.alone ? Json(nullptr) : json_number(report.differences[i])},
         {"percentile", report.percentile[i] < 0 ? Json(nullptr) : Json(report.percentile[i])}});
  const LogitsComparison& logits = report.logits;
  Json json = {{"schema", "assay.diff/1"},
               {"verdict", name_of(report.verdict)},
               {"sentence", report.sentence},
               {"a", engine(report.a)},
               {"b", report.alone ? Json(nullptr) : engine(report.b)},
               {"first", first_of(report.first, report.cause)},
               {"cause", cause_of(report.cause)},
               {"benign", report.benign},
               {"coverage",
                {{"compared", report.compared},
                 {"unmeasured", report.unmeasured},
                 {"after_record", report.after_record},
                 {"unknown", unknown_of(report.unknown)}}},
               {"operations", operations},
               {"logits",
                {{"positions", logits.positions},
                 {"kl_mean", json_number(logits.kl_mean)},
                 {"kl_max", json_number(logits.kl_max)},
                 {"top1_equal", logits.top1_equal},
                 {"certified", logits.certified},
                 {"percentile",
                  report.logits_percentile < 0 ? Json(nullptr) : Json(report.logits_percentile)}}},
               {"noise", {{"runs", report.noise.runs}, {"tokens", report.noise.tokens}}}};
  if (report.alone) json["logits"] = nullptr;
  if (narrow) json["narrow"] = {{"record", narrow->record}, {"command", narrow->command}};
  if (report.swap) json["swap"] = swap_of(*report.swap);
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string refusal_json(const std::string& sentence, const Cause& cause) {
  const Json json = {{"schema", "assay.diff/1"},
                     {"verdict", name_of(Verdict::unmeasured)},
                     {"sentence", sentence},
                     {"a", nullptr},
                     {"b", nullptr},
                     {"first", nullptr},
                     {"cause", cause_of(cause)},
                     {"benign", Json::array()},
                     {"coverage", {{"compared", 0}, {"unmeasured", Json::array()}}},
                     {"operations", Json::array()},
                     {"logits", nullptr}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace assay::diff
