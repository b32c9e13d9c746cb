// The schema assay.check/1.
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "check/question.h"
#include "op/kinds.h"

namespace assay::check {

namespace {

using Json = nlohmann::ordered_json;

}  // namespace

std::string to_json(const Question& question, const Answer& answer) {
  const op::Operation& operation = question.program->operations[question.operation];
  const judge::Seen& seen = answer.best.seen;
  Json trials = Json::array();
  for (const Trial& trial : answer.trials)
    trials.push_back({{"contract", trial.contract},
                      {"failures", trial.seen.failures},
                      {"error_u", json_number(trial.seen.max_u)},
                      {"limit_u", json_number(trial.seen.limit_u)},
                      {"ties", trial.seen.ties}});
  const Json cause = answer.cause ? Json{{"id", answer.cause->id},
                                         {"name", answer.cause->name},
                                         {"evidence", answer.cause->evidence}}
                                  : Json(nullptr);
  const Json json = {{"schema", "assay.check/1"},
                     {"verdict", diff::name_of(answer.verdict)},
                     {"sentence", answer.sentence},
                     {"operation", operation.name},
                     {"kind", op::name_of(operation)},
                     {"contract", answer.best.contract},
                     {"fits", answer.fits()},
                     {"elements", seen.elements},
                     {"failures", seen.failures},
                     {"not_finite", seen.not_finite},
                     {"ties", seen.ties},
                     {"worst",
                      {{"token", seen.token},
                       {"row", seen.row},
                       {"got", json_number(answer.got)},
                       {"want", json_number(answer.want)},
                       {"error_u", json_number(seen.max_u)},
                       {"limit_u", json_number(seen.limit_u)}}},
                     {"cause", cause},
                     {"trials", trials}};
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace assay::check
