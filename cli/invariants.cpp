#include "invariants.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json.h"
#include "common.h"
#include "foreign_subject.h"
#include "gguf/file.h"
#include "gguf/not_finite.h"
#include "invariants/check.h"
#include "invariants/engine.h"
#include "paragraph.h"
#include "prompt.h"
#include "python.h"
#include "usual_text.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::invariants::Answer;
using assay::invariants::Case;
using assay::invariants::Difference;
using assay::invariants::Finding;
using assay::invariants::Report;
using assay::invariants::Subject;

namespace {

/// Of the usual text: beyond a page of 64 positions, and short enough for llama.cpp on two cores.
constexpr size_t usual_tokens = 80;

struct Flags : LlamaCppFlags {
  ModelFlags model;
  PromptFlags prompt;
  std::string engine = "assay";
  std::vector<std::string> only;
  uint32_t sequences = 3, decode = 4;
  bool json = false;

  bool is_server() const { return engine.starts_with("http://") || engine.starts_with("https://"); }
};

struct Asked {
  std::string path;
  std::vector<int32_t> tokens;
  std::optional<std::string> sha256;  ///< not of a server's: nobody knows which file it runs
};

Result<std::vector<int32_t>> tokens_of(const Flags& flags, const assay::gguf::File& file) {
  if (flags.prompt.tokens) return parse_ids(*flags.prompt.tokens);
  const auto tokenizer = open_tokenizer(file);
  if (!tokenizer)
    return Error{
        fmt::format("{}; --tokens gives ids without a tokenizer", tokenizer.error().message)};
  auto tokens = encode_text(*tokenizer, flags.prompt.text.value_or(usual_text),
                            {.parse_special = !flags.prompt.no_parse_special,
                             .add_bos = !flags.prompt.no_bos,
                             .add_eos = false});
  if (!flags.prompt.text && tokens.size() > usual_tokens) tokens.resize(usual_tokens);
  return tokens;
}

Result<Asked> read(const Flags& flags) {
  const auto path = resolve_model(flags.model.model);
  if (!path) return path.error();
  const auto file = assay::gguf::File::open(*path);
  if (!file) return file.error();
  if (!flags.is_server())
    if (const auto good = assay::gguf::check_weights(*file); !good) return good.error();
  auto tokens = tokens_of(flags, *file);
  if (!tokens) return tokens.error();
  if (tokens->empty()) return Error{"no tokens to run"};
  Asked asked{*path, std::move(*tokens), {}};
  if (!flags.is_server()) asked.sha256 = file_sha256(*file);
  return asked;
}

Result<Report> check(const Flags& flags, const Asked& asked, const Subject& subject) {
  assay::invariants::Settings settings;
  settings.tokens = asked.tokens;
  settings.whole = {uint32_t(asked.tokens.size()), flags.sequences, flags.decode};
  settings.only = flags.only;
  Progress bar("invariants");
  settings.progress = [&](uint64_t done, uint64_t total) { bar.show(done, total); };
  return assay::invariants::check(subject, settings);
}

Result<Report> check_own(Flags flags, const Asked& asked) {
  const auto tokens = uint32_t(asked.tokens.size());
  // What is undone stands behind the text.
  if (flags.model.context == 0) flags.model.context = tokens + flags.decode;
  auto engine = open_engine(flags.model, assay::invariants::batch_for(tokens, flags.sequences),
                            assay::invariants::sequences_for(flags.sequences));
  if (!engine) return engine.error();
  return check(flags, asked, assay::invariants::subject_of(*engine, describe(*engine)));
}

Result<Report> check_foreign(const Flags& flags, const Asked& asked) {
  std::vector<std::string> arguments = {"server", flags.engine};
  if (!flags.is_server()) {
    arguments = {"llama_cpp", asked.path, "--flash", flags.flash, "--kv", flags.model.cache};
    if (flags.model.threads)
      arguments.insert(arguments.end(), {"--threads", std::to_string(flags.model.threads)});
    if (flags.gpu_layers)
      arguments.insert(arguments.end(), {"--gpu-layers", std::to_string(flags.gpu_layers)});
  }
  const auto engine = ForeignEngine::start(flags.python, arguments);
  if (!engine) return engine.error();
  return check(flags, asked, (*engine)->subject());
}

using Json = nlohmann::ordered_json;

Json json_of(const Case& the, const std::vector<int32_t>& tokens) {
  return {{"tokens", assay::invariants::texts_of(the, tokens)[0]},
          {"sequences", the.sequences},
          {"decode", the.decode}};
}

Json json_of(const std::optional<Difference>& found) {
  if (!found) return nullptr;
  return {{"text", found->first.text},
          {"position", found->first.position},
          {"rows", found->differ},
          {"of", found->of},
          {"log_probability", assay::json_number(found->log_probability)},
          {"other_best", found->other_best},
          {"not_finite", found->not_finite},
          {"channel", found->channel ? Json(*found->channel) : Json()},
          {"size", found->channel ? assay::json_number(found->size) : Json()},
          {"wanted", found->channel ? assay::json_number(found->wanted) : Json()},
          {"got", found->channel ? assay::json_number(found->got) : Json()}};
}

std::string verdict_of(const Report& report) {
  const std::string sentence = report.sentence();
  return sentence.substr(0, sentence.find_first_of(": "));
}

void print_json(const Asked& asked, const Report& report) {
  Json all = Json::array();
  for (const Finding& finding : report.findings) {
    Json one = {{"id", finding.invariant->id},
                {"name", finding.invariant->name},
                {"claim", finding.invariant->claim},
                {"answer", name_of(finding.answer)}};
    one["why"] = finding.why.empty() ? Json() : Json(finding.why);
    one["of"] = finding.keys ? "keys" : "logits";
    one["difference"] = json_of(finding.difference);
    one["smallest"] = nullptr;
    if (finding.in_smallest) {
      one["smallest"] = json_of(finding.smallest, asked.tokens);
      one["smallest"]["difference"] = json_of(finding.in_smallest);
    }
    all.push_back(std::move(one));
  }
  Json json = {
      {"schema", "assay.invariants/1"},
      {"verdict", verdict_of(report)},
      {"sentence", report.sentence()},
      {"model", {{"path", asked.path}, {"sha256", asked.sha256 ? Json(*asked.sha256) : Json()}}},
      {"engine", report.engine},
      {"by", report.by_bits ? "bits" : "log-probabilities"},
      {"noise", report.by_bits ? Json() : assay::json_number(report.noise)},
      {"limit", report.by_bits ? Json() : assay::json_number(report.limit)},
      {"tokens", asked.tokens},
      {"sequences", report.whole.sequences},
      {"decode", report.whole.decode},
      {"invariants", std::move(all)}};
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

void print(const Asked& asked, const Report& report) {
  fmt::print("model      {}\n", escaped(asked.path, false));
  fmt::print("engine     {}\n", escaped(report.engine, false));
  fmt::print("case       {}\n", text_of(report.whole));
  if (!report.by_bits)
    fmt::print("noise      {:.3g} between repeats, in log-probability; limit {:.3g}\n",
               report.noise, report.limit);
  for (const std::string& line : report.lines()) fmt::print("{}\n", escaped(line, false));
  print_paragraph(escaped(report.sentence(), false));
}

int invariants(Flags flags) {
  if (flags.prompt.text && flags.prompt.tokens)
    return report(wrong_usage("give either --tokens or -p"));
  const bool own = flags.engine == "assay";
  if (!own && !flags.is_server() && flags.engine != "llama_cpp")
    return report(wrong_usage(
        fmt::format("--engine takes assay, llama_cpp or the URL of a server (http://…), not '{}'",
                    flags.engine)));
  if (!own && flags.model.device != "cpu")
    return report(
        wrong_usage("--device chooses between assay's own devices; --gpu-layers is for "
                    "llama.cpp"));
  const auto asked = read(flags);
  if (!asked) return report(asked.error());
  const auto found = own ? check_own(flags, *asked) : check_foreign(flags, *asked);
  if (!found) return report(found.error());
  if (flags.json)
    print_json(*asked, *found);
  else
    print(*asked, *found);
  return int(found->count(Answer::breaks)  ? Exit::negative
             : found->count(Answer::holds) ? Exit::done
                                           : Exit::cannot);
}

}  // namespace

void add_invariants(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "invariants",
      "Ask an engine what must change nothing: cutting, batching, undoing, repeating");
  add_model_flags(*command, flags->model);
  add_prompt_flags(*command, flags->prompt);
  command
      ->add_option("--engine", flags->engine,
                   "assay, llama_cpp (through llama-cpp-python), or the URL of an "
                   "OpenAI-compatible server")
      ->type_name("ENGINE")
      ->capture_default_str();
  command->add_option("--sequences", flags->sequences, "texts that run at once")
      ->type_name("N")
      ->check(between(1, 64))
      ->capture_default_str();
  command->add_option("--decode", flags->decode, "tokens at a text's end that run one by one")
      ->type_name("N")
      ->check(between(0, 1000))
      ->capture_default_str();
  command
      ->add_option("--only", flags->only,
                   "ids of the invariants to ask, comma-separated (default: all)")
      ->type_name("ID")
      ->delimiter(',');
  add_llama_cpp_flags(*command, *flags);
  command->add_flag("--json", flags->json, "schema assay.invariants/1");
  command->callback([flags, &exit_code] { exit_code = invariants(*flags); });
}
