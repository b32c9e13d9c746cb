#include "verify/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/json.h"
#include "base/sha256.h"

namespace assay::verify {

namespace {

using Json = nlohmann::ordered_json;

std::string_view verdict(bool pass, bool unmeasured = false) {
  return !pass ? "FAIL" : unmeasured ? "UNMEASURED" : "PASS";
}

size_t count_stored(const Report& report, std::string_view what) {
  return size_t(std::count_if(report.rows.begin(), report.rows.end(),
                              [&](const Row& row) { return stored_of(row) == what; }));
}

/// "36 of 36 rows equal, made by emulated at contract assay/1": what is not equal is counted too.
std::string stored_line(const Report& report, const Stored& stored) {
  const size_t differ = count_stored(report, "differ"), none = count_stored(report, "none");
  return fmt::format("{} of {} rows equal{}{}, made by {} at contract {}, level {}",
                     count_stored(report, "equal"), report.rows.size(),
                     differ ? fmt::format(", {} differ", differ) : "",
                     none ? fmt::format(", {} have no stored hash", none) : "", stored.made_by,
                     stored.contract, name_of(stored.level));
}

}  // namespace

std::string_view bits_of(const Row& row) {
  if (row.compared == 0) return "unmeasured";
  return row.differ ? "differ" : "equal";
}

std::string_view stored_of(const Row& row) {
  if (row.stored.empty()) return "none";
  return row.stored == row.sha256 ? "equal" : "differ";
}

std::string table(const Report& report, const Stored& stored) {
  std::string text =
      fmt::format("{:<12} {:<7} {:>6} {:>11} {:>10} {:>8}  {:<10} {:<6} {}\n", "operation",
                  "format", "cases", "elements", "worst u", "limit u", "bits", "stored", "verdict");
  for (const Row& row : report.rows)
    text += fmt::format("{:<12} {:<7} {:>6} {:>11} {:>10.3g} {:>8.3g}  {:<10} {:<6} {}\n", row.kind,
                        row.format, row.cases, row.elements, row.max_u, row.limit_u, bits_of(row),
                        stored_of(row), verdict(row.pass, row.undefined));
  text += fmt::format("stored bits: {}\n", stored_line(report, stored));
  for (const Probe& probe : report.probes)
    text +=
        fmt::format("probe        {:<15} {} {}\n", probe.name, verdict(probe.pass), probe.found);
  return text;
}

std::string to_json(const Report& report, const Settings& settings, const Circumstances& around) {
  Json json = {
      {"schema", "assay.verify/1"},
      {"verdict", verdict(report.pass, !report.unmeasured.empty())},
      {"sentence", report.sentence},
      {"device", report.device},
      {"isa", report.isa},
      {"threads", report.threads},
      {"machine", {{"cpu", around.cpu}, {"cores", around.cores}, {"system", around.system}}},
      {"commit", around.commit},
      {"level", name_of(settings.level)},
      {"model", nullptr},
      {"coverage",
       {{"operations", report.operations},
        {"formats", report.formats},
        {"shapes", report.shapes.size()},
        {"elements", report.elements},
        {"paths", report.paths}}},
      {"operations", Json::array()},
      {"probes", Json::array()},
      {"stored",
       {{"made_by", settings.stored->made_by},
        {"contract", settings.stored->contract},
        {"level", name_of(settings.stored->level)},
        {"equal", count_stored(report, "equal")},
        {"differ", count_stored(report, "differ")},
        {"none", count_stored(report, "none")}}},
      {"contract", report.contract},
      {"logits_sha256", nullptr}};
  if (settings.model) {
    json["model"] = {
        {"path", around.model_path}, {"sha256", around.model_sha256}, {"tokens", settings.tokens}};
    json["logits_sha256"] = report.logits_sha256;
  }
  for (const Row& row : report.rows)
    json["operations"].push_back({{"kind", row.kind},
                                  {"format", row.format},
                                  {"cases", row.cases},
                                  {"elements", row.elements},
                                  {"max_u", json_number(row.max_u)},
                                  {"limit_u", json_number(row.limit_u)},
                                  {"bits", bits_of(row)},
                                  {"sha256", row.sha256},
                                  {"stored", stored_of(row)},
                                  {"verdict", verdict(row.pass, row.undefined)}});
  for (const Probe& probe : report.probes)
    json["probes"].push_back(
        {{"name", probe.name}, {"found", probe.found}, {"verdict", verdict(probe.pass)}});
  return json.dump(2, ' ', false, Json::error_handler_t::replace);
}

std::string certificate(const Report& report, const Settings& settings,
                        const Circumstances& around) {
  std::string text = "assay: certificate of a verification\n\n";
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("{:<10} {}\n", name, value);
  };
  line("verdict", report.sentence);
  line("date", around.date);
  line("program", fmt::format("assay {}, commit {}", around.version, around.commit));
  line("machine", fmt::format("{}, {} cores, {}", around.cpu, around.cores, around.system));
  line("device", name_of_device(report));
  line("contract", report.contract + " (docs/numbers.md)");
  line("level", std::string(name_of(settings.level)));
  if (settings.model) {
    line("model", around.model_path);
    line("", fmt::format("SHA-256 {}", around.model_sha256));
    line("tokens", fmt::format("{}", fmt::join(settings.tokens, ",")));
    line("logits", fmt::format("SHA-256 {}, every position", report.logits_sha256));
  } else {
    line("model", "none: synthetic weights and activations alone");
  }
  line("paths", fmt::format("{}", fmt::join(report.paths, "; ")));
  line("coverage",
       fmt::format("{} operations, {} shapes, {} elements, formats {}", report.operations,
                   report.shapes.size(), report.elements, fmt::join(report.formats, " ")));
  text += '\n';
  text += table(report, *settings.stored);
  text +=
      "\nworst u: the error against the judge's f64 sums from the same inputs, in 2^-24 of the\n"
      "magnitude that each bound names (docs/verify.md); limit u: what that element may have.\n"
      "bits: equal where every path above gave those of the plain executor on one thread.\n"
      "stored: equal where the synthetic cases gave the hashes that travel with the program.\n\n"
      "SHA-256 of the judged outputs of the synthetic cases\n";
  for (const Row& row : report.rows)
    text += fmt::format("{:<12} {:<7} {}\n", row.kind, row.format, row.sha256);
  text += '\n';
  const auto bytes = std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  return text + fmt::format("sha256 of the lines above: {}\n", sha256_hex(bytes));
}

}  // namespace assay::verify
