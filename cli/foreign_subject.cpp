#include "foreign_subject.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

using assay::Error;
using assay::Result;
using Json = nlohmann::json;

namespace invariants = assay::invariants;

namespace {

constexpr const char* module_name = "assay.invariants";

Json json_of(const invariants::Action& action) {
  struct Visit {
    Json operator()(const invariants::Step& step) const {
      Json parts = Json::array();
      for (const auto& part : step.parts) parts.push_back({part.sequence, part.end});
      return {"step", parts};
    }
    Json operator()(const invariants::Wander& wander) const {
      return {"wander", wander.sequence, wander.count};
    }
    Json operator()(const invariants::Undo& undo) const {
      return {"undo", undo.sequence, undo.position};
    }
    Json operator()(const invariants::Copy& copy) const {
      return {"copy", copy.from, copy.to, copy.positions};
    }
    Json operator()(const invariants::Fill& fill) const { return {"fill", fill.nan}; }
  };
  return std::visit(Visit(), action);
}

/// Throws what nlohmann throws where the answer has another shape.
invariants::Rows rows_of(const Json& json) {
  invariants::Rows rows;
  for (const Json& one : json) {
    invariants::Row row;
    row.bits = one.at("bits");
    row.finite = one.at("finite");
    for (const Json& best : one.at("best"))
      row.best.emplace_back(best.at(0).get<int64_t>(), best.at(1).get<double>());
    if (const auto values = one.find("values"); values != one.end())
      row.values = values->get<std::vector<float>>();
    rows[{one.at("text"), one.at("position")}] = std::move(row);
  }
  return rows;
}

}  // namespace

ForeignEngine::ForeignEngine(TemporaryFolder folder, PythonModule module, Dialogue dialogue)
    : folder_(std::move(folder)), module_(std::move(module)), dialogue_(std::move(dialogue)) {}

Result<std::unique_ptr<ForeignEngine>> ForeignEngine::start(
    const std::string& python, const std::vector<std::string>& arguments) {
  auto folder = TemporaryFolder::make();
  if (!folder) return folder.error();
  PythonModule module = python_module(python, module_name, arguments);
  auto dialogue = Dialogue::start(module.command, module.environment, folder->file("errors"));
  if (!dialogue)
    return Error{dialogue.error().message +
                 "; --python PROGRAM or ASSAY_PYTHON names the Python to be used"};
  std::unique_ptr<ForeignEngine> made(
      new ForeignEngine(std::move(*folder), std::move(module), std::move(*dialogue)));
  if (const auto greeted = made->greet(); !greeted) return greeted.error();
  return made;
}

Error ForeignEngine::ended() {
  const Ended end = dialogue_.finish();
  return why_ended(module_, module_name, end.err, end.how());
}

/// It begins with a line that says what it is and what it can be asked.
assay::Status ForeignEngine::greet() {
  const auto line = dialogue_.ask("");
  if (!line) return ended();
  const Json hello = Json::parse(*line, nullptr, false);
  using invariants::Ability;
  try {
    subject_.name = hello.at("name");
    subject_.remembers = hello.at("remembers");
    for (const Ability ability : {Ability::several, Ability::undo, Ability::copy, Ability::fill,
                                  Ability::keys, Ability::counts})
      for (const Json& name : hello.at("abilities"))
        if (name == invariants::name_of(ability)) subject_.abilities.insert(ability);
  } catch (const Json::exception& wrong) {
    return Error{fmt::format("'{} -m {}' begins with what is no greeting: {}", module_.program,
                             module_name, wrong.what())};
  }
  subject_.by_bits = false;
  subject_.run = [this](const auto& schedule, const auto& texts, const auto* whole) {
    return run(schedule, texts, whole);
  };
  return assay::ok();
}

Result<invariants::Rows> ForeignEngine::run(const invariants::Schedule& schedule,
                                            const invariants::Texts& texts,
                                            const invariants::Place* whole) {
  Json actions = Json::array();
  for (const auto& action : schedule.actions) actions.push_back(json_of(action));
  const Json asked = {
      {"texts", texts},        {"sequences", schedule.texts},
      {"actions", actions},    {"counted", schedule.counted},
      {"cold", schedule.cold}, {"whole", whole ? Json({whole->text, whole->position}) : Json()},
  };
  const auto line = dialogue_.ask(asked.dump());
  if (!line) return ended();
  try {
    const Json answer = Json::parse(*line);
    if (const auto error = answer.find("error"); error != answer.end())
      return Error{error->get<std::string>()};
    return rows_of(answer.at("rows"));
  } catch (const Json::exception& wrong) {
    return Error{fmt::format("'{} -m {}' answers what cannot be read: {}", module_.program,
                             module_name, wrong.what())};
  }
}
