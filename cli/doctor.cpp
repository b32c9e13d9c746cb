#include "doctor.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "common.h"
#include "diagnose/diagnose.h"
#include "diff/diff.h"
#include "fault.h"
#include "gguf/file.h"
#include "gguf/not_finite.h"
#include "paragraph.h"
#include "prompt.h"
#include "python.h"
#include "record.h"
#include "temporary.h"
#include "text/utf8.h"
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

struct Flags : LlamaCppFlags {
  ModelFlags model;
  std::vector<std::string> devices;
  PromptFlags prompt;
  std::string keep;
  bool json = false;
};

/// One of assay's executors: what it recorded, and its diff against llama.cpp; alone where that was
/// not captured.
struct Examined {
  std::string device, description;
  Trace trace;
  std::optional<Report> report;
};

struct Findings {
  std::string path, sha256, architecture;
  std::vector<int32_t> tokens;
  std::optional<std::vector<int32_t>> their_tokens;  ///< of the same text, by llama.cpp
  std::optional<Trace> llama_cpp;
  std::string missing;         ///< why there is no trace of llama.cpp
  std::string tokens_unknown;  ///< why the tokens of the text were not compared; empty: they were
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
  const auto with = [&](std::vector<std::string> prompt) -> Result<Trace> {
    prompt.insert(prompt.begin(), arguments.begin(), arguments.end());
    if (const auto ran = run_capture(flags.python, prompt); !ran) return ran.error();
    return Trace::open(path);
  };
  Progress bar("run llama.cpp");
  const auto with_ids = [&] { return with({"--tokens=" + ids(found.tokens)}); };
  Result<Trace> trace = Error{""};
  if (flags.prompt.text) {
    std::vector<std::string> prompt = {"-p=" + *flags.prompt.text};
    if (flags.prompt.no_bos) prompt.emplace_back("--no-bos");
    if (flags.prompt.no_parse_special) prompt.emplace_back("--no-parse-special");
    trace = with(std::move(prompt));
    if (trace)
      found.their_tokens = tokens_of(*trace);
    else
      found.tokens_unknown = trace.error().message;
  }
  if (!trace || tokens_of(*trace) != found.tokens) trace = with_ids();
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
  return Examined{device, describe(*engine), std::move(*trace), {}};
}

assay::Status judge(const assay::op::Program& program, Findings& found) {
  Progress bar("judge every operation");
  for (Examined& one : found.examined) {
    const Trace& theirs = found.llama_cpp ? *found.llama_cpp : one.trace;
    auto report = found.llama_cpp ? assay::diff::compare(program, one.trace, theirs)
                                  : assay::diff::judge_alone(program, one.trace);
    if (!report) return report.error();
    if (const auto explained = assay::diagnose::explain(program, one.trace, theirs, *report);
        !explained)
      return explained.error();
    one.report = std::move(*report);
  }
  return assay::ok();
}

/// How llama.cpp's tokens of the text differ; empty where they don't, or were not compared.
std::string other_tokens(const Findings& found) {
  if (!found.their_tokens || *found.their_tokens == found.tokens) return "";
  const auto& theirs = *found.their_tokens;
  const auto at = std::ranges::mismatch(found.tokens, theirs).in1 - found.tokens.begin();
  return fmt::format("llama.cpp tokenizes this text differently, from index {} on: {}", at,
                     ids(theirs));
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const auto character = assay::text::first_character(text);
    if (character.sequence != assay::text::Sequence::whole) return false;
    text.remove_prefix(character.length);
  }
  return true;
}

/// Of what was judged, the worst verdict, and its report.
const Report& worst_of(const std::vector<Examined>& examined) {
  const Report* worst = &*examined[0].report;
  const auto rank = [](Verdict verdict) {
    return verdict == Verdict::fail ? 2 : verdict == Verdict::unmeasured ? 1 : 0;
  };
  for (const Examined& one : examined)
    if (rank(one.report->verdict) > rank(worst->verdict)) worst = &*one.report;
  return *worst;
}

/// The worst verdict counts, and its sentence is the doctor's. What was left out is part of it.
void conclude(const Flags& flags, Findings& found) {
  const Report& worst = worst_of(found.examined);
  found.verdict = worst.verdict;
  found.sentence = worst.sentence;
  if (found.verdict == Verdict::fail) return;
  if (const std::string other = other_tokens(found); !other.empty()) {
    found.verdict = Verdict::fail;
    found.sentence = "FAIL: " + other;
    if (flags.prompt.text && !is_utf8(*flags.prompt.text))
      found.sentence +=
          "; the text is not UTF-8, and engines read its other bytes in different ways: --tokens "
          "compares the operations alone";
    return;
  }
  if (found.verdict != Verdict::pass) return;
  if (!found.llama_cpp) {
    found.verdict = Verdict::unmeasured;
    found.sentence = fmt::format(
        "UNMEASURED: all {} operations of assay are inside their limits, but llama.cpp was not "
        "captured: {}",
        worst.compared, found.missing);
  } else if (!found.tokens_unknown.empty()) {
    found.verdict = Verdict::unmeasured;
    found.sentence = fmt::format(
        "UNMEASURED: all {} operations of both are inside their limits, but whether llama.cpp "
        "makes "
        "the same tokens of this text is not known: {}",
        worst.compared, found.tokens_unknown);
  }
}

void print(const Findings& found) {
  fmt::print("model      {} ({}, SHA-256 {:.12}…)\n", escaped(found.path, false),
             escaped(found.architecture, false), found.sha256);
  fmt::print("tokens     {}: {}\n", found.tokens.size(), ids(found.tokens));
  if (const std::string other = other_tokens(found); !other.empty())
    fmt::print("           {}\n", other);
  else if (found.their_tokens)
    fmt::print("           llama.cpp gives the same tokens for this text\n");
  else if (found.llama_cpp && !found.tokens_unknown.empty())
    fmt::print("           not compared with llama.cpp's: {}\n",
               escaped(found.tokens_unknown, false));
  if (found.llama_cpp)
    fmt::print("llama.cpp  {}\n", escaped(found.llama_cpp->metadata("engine"), false));
  else
    fmt::print("llama.cpp  not captured: {}\n", escaped(found.missing, false));
  // Its capture runs llama.cpp again unobserved.
  const std::string effect = found.llama_cpp ? found.llama_cpp->metadata("observer_effect") : "";
  if (!effect.empty() && effect != "none")
    fmt::print("           observed, it computes otherwise: {}\n", escaped(effect, false));
  for (const Examined& one : found.examined) {
    fmt::print("{:<11}{}\n", one.device, one.description);
    const auto counts = [](const char* who, const assay::diff::Side& side) {
      fmt::print("           {}: {} PASS, {} FAIL, {} unmeasured, contract {}\n", who,
                 side.count(Verdict::pass), side.count(Verdict::fail),
                 side.count(Verdict::unmeasured), side.contract);
    };
    counts("assay", one.report->a);
    if (!one.report->alone) {
      counts("llama.cpp", one.report->b);
      const auto& logits = one.report->logits;
      fmt::print("           logits: mean KL {:.2e}, best token equal in {} of {}\n",
                 logits.kl_mean, logits.top1_equal, logits.positions);
    }
    for (const std::string& note : one.report->benign)
      fmt::print("           benign: {}\n", escaped(note, false));
  }
  for (const std::string& line : assay::diff::explanations(worst_of(found.examined)))
    print_paragraph(escaped(line, false));
  print_paragraph(escaped(found.sentence, false));
}

void print_json(const assay::op::Program& program, const Findings& found) {
  using Json = nlohmann::ordered_json;
  Json devices = Json::array();
  for (const Examined& one : found.examined) {
    Json json = {{"device", one.device}, {"description", one.description}};
    json["diff"] = Json::parse(assay::diff::to_json(program, *one.report));
    devices.push_back(std::move(json));
  }
  Json json = {
      {"schema", "assay.doctor/1"},
      {"verdict", assay::diff::name_of(found.verdict)},
      {"sentence", found.sentence},
      {"model", {{"path", found.path}, {"sha256", found.sha256}}},
      {"tokens", found.tokens},
      {"llama_cpp",
       {{"engine", found.llama_cpp ? Json(found.llama_cpp->metadata("engine")) : Json()},
        {"missing", found.missing.empty() ? Json() : Json(found.missing)},
        {"tokens", found.their_tokens ? Json(*found.their_tokens) : Json()},
        {"tokens_missing", found.tokens_unknown.empty() ? Json() : Json(found.tokens_unknown)}}},
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
  conclude(flags, found);
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
  add_llama_cpp_flags(*command, *flags);
  command->add_option("--keep", flags->keep, "leave the traces in this folder")
      ->type_name("DIR")
      ->check(CLI::ExistingDirectory);
  command->add_flag("--json", flags->json, "schema assay.doctor/1");
  command->callback([flags, &exit_code] { exit_code = doctor(*flags); });
}
