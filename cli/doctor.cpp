#include "doctor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "common.h"
#include "diagnose/diagnose.h"
#include "diff/diff.h"
#include "fault.h"
#include "gguf/file.h"
#include "gguf/not_finite.h"
#include "prompt.h"
#include "python.h"
#include "record.h"
#include "temporary.h"
#include "trace/trace_file.h"
#include "traced_program.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::diff::Report;
using assay::diff::Verdict;
using assay::trace::Trace;

namespace {

constexpr const char* usual_prompt =
    "The capital of France is Paris, and the capital of Italy is Rome. Water boils at";

struct Flags {
  ModelFlags model;
  std::vector<std::string> devices;
  PromptFlags prompt;
  std::string python, keep, flash = "auto";
  uint32_t gpu_layers = 0;
  bool json = false;
};

/// One of assay's executors: what it recorded, and its diff against llama.cpp if that was captured.
struct Examined {
  std::string device, description;
  Trace trace;
  std::optional<Report> report;
  std::optional<assay::diff::Side> alone;
};

struct Findings {
  std::string path, sha256, architecture;
  std::vector<int32_t> tokens;
  std::optional<std::vector<int32_t>> their_tokens;  ///< of the same text, by llama.cpp
  std::optional<Trace> llama_cpp;
  std::string missing;  ///< why there is no trace of llama.cpp
  std::vector<Examined> examined;
  Verdict verdict = Verdict::unmeasured;
  std::string sentence;
};

std::string ids(const std::vector<int32_t>& tokens) {
  return fmt::format("{}", fmt::join(tokens, ","));
}

std::vector<int32_t> tokens_of(const Trace& trace) {
  return assay::diff::all_tokens(trace);
}

/// llama.cpp gets the text, so that its tokens are seen; where they differ from ours, it gets ours.
void capture(const Flags& flags, const std::string& path, Findings& found) {
  std::vector<std::string> arguments = {"llama_cpp", found.path, "--flash",
                                        flags.flash, "-o",       path};
  if (flags.gpu_layers > 0) {
    arguments.push_back("--gpu-layers");
    arguments.push_back(std::to_string(flags.gpu_layers));
  }
  const auto with = [&](const std::string& flag, const std::string& value) -> Result<Trace> {
    auto all = arguments;
    all.push_back(fmt::format("{}={}", flag, value));
    if (const auto ran = run_capture(flags.python, all); !ran) return ran.error();
    return Trace::open(path);
  };
  auto trace = with("--tokens", ids(found.tokens));
  if (trace && flags.prompt.text && !flags.prompt.no_parse_special && !flags.prompt.no_bos) {
    const auto of_text = with("-p", *flags.prompt.text);
    if (of_text) found.their_tokens = tokens_of(*of_text);
    if (of_text && *found.their_tokens != found.tokens) trace = with("--tokens", ids(found.tokens));
    if (of_text && *found.their_tokens == found.tokens) trace = Trace::open(path);
  }
  if (trace)
    found.llama_cpp = std::move(*trace);
  else
    found.missing = trace.error().message;
}

Result<Examined> examine(const Flags& flags, const std::string& device, const std::string& path,
                         Findings& found) {
  ModelFlags model = flags.model;
  model.device = device;
  auto engine = open_engine(model, 512);
  if (!engine) return engine.error();
  if (found.tokens.empty()) {
    const auto tokens = read_prompt(flags.prompt, engine->model());
    if (!tokens) return tokens.error();
    found.tokens = *tokens;
    found.path = engine->file().path();
    found.sha256 = file_sha256(engine->file());
  }
  RecordOptions options;
  options.cache = model.cache;
  const auto done = record_trace(*engine, found.tokens, options, path);
  if (!done) return done.error();
  auto trace = Trace::open(path);
  if (!trace) return trace.error();
  return Examined{device, describe(*engine), std::move(*trace), {}, {}};
}

assay::Status judge(const assay::op::Program& program, Findings& found) {
  for (Examined& one : found.examined) {
    if (!found.llama_cpp) {
      auto side = assay::diff::judge_trace(program, one.trace);
      if (!side) return side.error();
      one.alone = std::move(*side);
      continue;
    }
    auto report = assay::diff::compare(program, one.trace, *found.llama_cpp);
    if (!report) return report.error();
    if (const auto explained =
            assay::diagnose::explain(program, one.trace, *found.llama_cpp, *report);
        !explained)
      return explained.error();
    one.report = std::move(*report);
  }
  return assay::ok();
}

std::string same_tokens(const Findings& found) {
  if (!found.their_tokens || *found.their_tokens == found.tokens) return "";
  return fmt::format("llama.cpp tokenizes this text differently: {}", ids(*found.their_tokens));
}

/// The worst verdict counts, and its sentence is the doctor's.
void conclude(Findings& found) {
  found.verdict = Verdict::pass;
  for (const Examined& one : found.examined) {
    if (one.alone) {
      const auto wrong = one.alone->count(Verdict::fail);
      found.verdict = wrong ? Verdict::fail : Verdict::unmeasured;
      found.sentence = fmt::format(
          "{}: {} operations of {} are {}; llama.cpp was not captured: {}",
          wrong ? "FAIL" : "UNMEASURED", wrong ? wrong : one.alone->count(Verdict::pass),
          one.device, wrong ? "outside their limits" : "inside their limits", found.missing);
      if (wrong) return;
      continue;
    }
    const Report& report = *one.report;
    const bool worse = report.verdict == Verdict::fail || found.verdict == Verdict::pass;
    if (!worse) continue;
    found.verdict = report.verdict;
    found.sentence = report.sentence;
    if (report.verdict == Verdict::fail) break;
  }
  const std::string other = same_tokens(found);
  if (other.empty() || found.verdict == Verdict::fail) return;
  found.verdict = Verdict::fail;
  found.sentence = "FAIL: " + other;
}

void print(const Findings& found) {
  fmt::print("model      {} ({}, SHA-256 {:.12}…)\n", escaped(found.path, false),
             escaped(found.architecture, false), found.sha256);
  fmt::print("tokens     {}: {}\n", found.tokens.size(), ids(found.tokens));
  if (const std::string other = same_tokens(found); !other.empty())
    fmt::print("           {}\n", other);
  else if (found.their_tokens)
    fmt::print("           llama.cpp gives the same tokens for this text\n");
  if (found.llama_cpp)
    fmt::print("llama.cpp  {}\n", escaped(found.llama_cpp->metadata("engine"), false));
  else
    fmt::print("llama.cpp  not captured: {}\n", escaped(found.missing, false));
  for (const Examined& one : found.examined) {
    fmt::print("{:<11}{}\n", one.device, one.description);
    const auto counts = [](const char* who, const assay::diff::Side& side) {
      fmt::print("           {}: {} PASS, {} FAIL, {} unmeasured, contract {}\n", who,
                 side.count(Verdict::pass), side.count(Verdict::fail),
                 side.count(Verdict::unmeasured), side.contract);
    };
    if (one.alone) counts("assay", *one.alone);
    if (!one.report) continue;
    counts("assay", one.report->a);
    counts("llama.cpp", one.report->b);
    const auto& logits = one.report->logits;
    fmt::print("           logits: mean KL {:.2e}, best token equal in {} of {}\n", logits.kl_mean,
               logits.top1_equal, logits.positions);
    for (const std::string& note : one.report->benign)
      fmt::print("           benign: {}\n", escaped(note, false));
  }
  fmt::print("{}\n", escaped(found.sentence, false));
}

void print_json(const assay::op::Program& program, const Findings& found) {
  using Json = nlohmann::ordered_json;
  Json devices = Json::array();
  for (const Examined& one : found.examined) {
    Json json = {{"device", one.device}, {"description", one.description}};
    json["diff"] =
        one.report ? Json::parse(assay::diff::to_json(program, *one.report)) : Json(nullptr);
    devices.push_back(std::move(json));
  }
  Json json = {{"schema", "assay.doctor/1"},
               {"verdict", assay::diff::name_of(found.verdict)},
               {"sentence", found.sentence},
               {"model", {{"path", found.path}, {"sha256", found.sha256}}},
               {"tokens", found.tokens},
               {"llama_cpp",
                {{"engine", found.llama_cpp ? Json(found.llama_cpp->metadata("engine")) : Json()},
                 {"missing", found.missing.empty() ? Json() : Json(found.missing)},
                 {"tokens", found.their_tokens ? Json(*found.their_tokens) : Json()}}},
               {"devices", std::move(devices)}};
  fmt::print("{}\n", json.dump(2, ' ', false, Json::error_handler_t::replace));
}

/// The verdict where the model's weights allow none.
int unmeasured(const Flags& flags, const std::string& sentence) {
  const nlohmann::ordered_json json = {
      {"schema", "assay.doctor/1"}, {"verdict", "UNMEASURED"}, {"sentence", sentence}};
  fmt::print("{}\n", flags.json ? json.dump(2) : escaped(sentence, false));
  return int(Exit::cannot);
}

int doctor(Flags flags) {
  if (!flags.prompt.given()) flags.prompt.text = usual_prompt;
  if (const auto good = check_prompt(flags.prompt); !good) return report(good.error());
  if (flags.devices.empty()) flags.devices = {"cpu"};
  const auto folder = TemporaryFolder::make();
  if (!folder) return report(folder.error());
  const auto file_of = [&](const std::string& name) {
    return flags.keep.empty() ? folder->file(name + ".safetensors")
                              : flags.keep + "/" + name + ".safetensors";
  };
  Findings found;
  if (const auto path = resolve_model(flags.model.model)) {
    const auto file = assay::gguf::File::open(*path);
    if (!file) return report(file.error());
    if (const auto good = assay::gguf::check_weights(*file); !good)
      return unmeasured(flags, good.error().message);
  }
  for (const std::string& device : flags.devices) {
    auto one = examine(flags, device, file_of(device), found);
    if (!one) return report(one.error());
    found.examined.push_back(std::move(*one));
  }
  capture(flags, file_of("llama_cpp"), found);
  const auto file = assay::gguf::File::open(found.path);
  if (!file) return report(file.error());
  const auto program = traced_program(
      *file, {&found.examined[0].trace, found.llama_cpp ? &*found.llama_cpp : nullptr});
  if (!program) return report(program.error());
  if (const auto name = file->string_value("general.architecture"); name && *name)
    found.architecture = **name;
  if (const auto judged = judge(*program, found); !judged) return report(judged.error());
  conclude(found);
  if (flags.json)
    print_json(*program, found);
  else
    print(found);
  return int(found.verdict == Verdict::pass   ? Exit::done
             : found.verdict == Verdict::fail ? Exit::negative
                                              : Exit::cannot);
}

}  // namespace

void add_doctor(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "doctor", "Run one prompt here and in llama.cpp: the first wrong operation, if there is one");
  command->add_option("model,-m,--model", flags->model.model, "GGUF file, or a known model's name")
      ->type_name("MODEL");
  command
      ->add_option("--device", flags->devices,
                   "device to run assay on; may be given several times (default: cpu)")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  add_prompt_flags(*command, flags->prompt);
  add_fault_flags(*command, flags->model);
  command
      ->add_option("-t,--threads", flags->model.threads, "threads of the cpu (default: all cores)")
      ->type_name("N")
      ->check(between(0, 1024));
  command->add_option("--kv", flags->model.cache, "type of our KV cache")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->capture_default_str();
  command->add_option("--flash", flags->flash, "llama.cpp's flash attention")
      ->check(CLI::IsMember({"auto", "on", "off"}))
      ->capture_default_str();
  command->add_option("--gpu-layers", flags->gpu_layers, "layers that llama.cpp gives to its GPU")
      ->type_name("N")
      ->check(between(0, 10000));
  command
      ->add_option("--python", flags->python,
                   "Python with llama-cpp-python (default: $ASSAY_PYTHON, else python3)")
      ->type_name("PROGRAM");
  command->add_option("--keep", flags->keep, "leave the traces in this folder")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory);
  command->add_flag("--json", flags->json, "schema assay.doctor/1");
  command->callback([flags, &exit_code] { exit_code = doctor(*flags); });
}
