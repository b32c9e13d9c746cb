#include "verify.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <ctime>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "base/atomic_file.h"
#include "common.h"
#include "gguf/file.h"
#include "gguf/not_finite.h"
#include "model/model.h"
#include "run/device.h"
#include "usual_text.h"
#include "verify/report.h"
#include "verify/verify.h"

using assay::Error;
using assay::Exit;
using assay::Result;
namespace verify = assay::verify;

namespace {

struct Flags {
  std::string model, device = "cpu", tokens, level = "quick", output, store;
  uint32_t threads = 0, context = 0;
  bool synthetic = false, json = false;
};

struct Model {
  assay::gguf::File file;
  assay::op::Program program;
  std::vector<int32_t> tokens;
};

Result<std::unique_ptr<Model>> open_model(const Flags& flags) {
  const auto path = resolve_model(flags.model);
  if (!path) return path.error();
  auto file = assay::gguf::File::open(*path);
  if (!file) return file.error();
  auto program = assay::model::build(*file, flags.context);
  if (!program) return program.error();
  Result<std::vector<int32_t>> tokens = parse_ids(flags.tokens);
  if (tokens && flags.tokens.empty()) {
    const auto tokenizer = open_tokenizer(*file);
    if (!tokenizer)
      return Error{
          fmt::format("{}; --tokens gives ids without a tokenizer", tokenizer.error().message)};
    tokens =
        tokenizer->encode(usual_text, {.parse_special = false, .add_bos = true, .add_eos = false});
  }
  if (!tokens) return tokens.error();
  if (tokens->empty()) return Error{"no tokens to run"};
  for (const int32_t token : *tokens)
    if (uint32_t(token) >= program->vocabulary)
      return Error{
          fmt::format("token {} is beyond the vocabulary of {}", token, program->vocabulary)};
  const size_t most = std::min<size_t>(flags.level == "full" ? 103 : 9, program->trained_context);
  tokens->resize(std::min(most, tokens->size()));
  return std::make_unique<Model>(Model{std::move(*file), std::move(*program), std::move(*tokens)});
}

/// The other instruction sets of the device, and 1, 2, 3 and all threads.
std::vector<verify::Path> other_paths(const std::string& device, const verify::Path& path) {
  const auto sets = assay::run::instruction_sets(device);
  std::vector<verify::Path> paths;
  if (sets.empty()) return paths;
  const std::string own_isa = path.isa.empty() ? sets.back() : path.isa;
  for (const std::string& isa : sets)
    if (isa != own_isa) paths.push_back({isa, path.threads});
  const uint32_t cores = std::max(1u, std::thread::hardware_concurrency());
  for (const uint32_t threads : std::set<uint32_t>{1, 2, 3, cores})
    if (threads != (path.threads ? path.threads : cores)) paths.push_back({path.isa, threads});
  return paths;
}

verify::Factory factory_of(const std::string& device, const Model* model) {
  return [device, model](const assay::op::Program& program, assay::op::ExecutorOptions options) {
    if (model && &program == &model->program)
      options.release = [model](std::span<const uint8_t> bytes) { model->file.release(bytes); };
    return assay::run::make_executor(device, program, options);
  };
}

verify::Circumstances circumstances(const Model* model) {
  verify::Circumstances around;
  around.version = ASSAY_VERSION;
  around.commit = commit();
  around.cpu = cpu_name();
  around.cores = std::thread::hardware_concurrency();
  utsname system{};
  if (uname(&system) == 0)
    around.system = fmt::format("{} {} {}", system.sysname, system.release, system.machine);
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  gmtime_r(&now, &utc);
  char date[32];
  std::strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S UTC", &utc);
  around.date = date;
  if (!model) return around;
  around.model_path = model->file.path();
  around.model_sha256 = file_sha256(model->file);
  return around;
}

/// The table that travels with the program, as C++.
int store(const Result<verify::Stored>& stored, const std::string& path) {
  if (!stored) return report(stored.error());
  const std::string source = verify::to_source(*stored);
  if (const auto written = assay::write_atomically(path, {source}); !written)
    return report(written.error());
  fmt::print("{}: the bits of {} rows, made by {} at contract {}\n", escaped(path, false),
             stored->rows.size(), stored->made_by, stored->contract);
  return int(Exit::done);
}

/// Nothing was run: the verdict is UNMEASURED, for this reason.
int leave(const Flags& flags, const std::string& sentence) {
  const nlohmann::ordered_json json = {
      {"schema", "assay.verify/1"}, {"verdict", "UNMEASURED"}, {"sentence", sentence}};
  fmt::print("{}\n", flags.json ? json.dump(2) : escaped(sentence, false));
  return int(Exit::cannot);
}

int run(Flags flags) {
  if (flags.synthetic && !(flags.model.empty() && flags.tokens.empty()))
    return report(wrong_usage("--synthetic takes no model and no tokens"));
  if (!flags.store.empty() && !flags.synthetic)
    return report(wrong_usage("--store can only be used with --synthetic"));
  if (flags.device == "reference")
    return report({"the device 'reference' is the judge: verify has nothing to hold it against"});
  flags.device = chosen_device(flags.device);
  std::unique_ptr<Model> model;
  if (!flags.synthetic) {
    auto opened = open_model(flags);
    if (!opened) return report(opened.error());
    model = std::move(*opened);
    if (const auto good = assay::gguf::check_weights(model->file); !good)
      return leave(flags, good.error().message);
  }
  verify::Settings settings;
  settings.device = factory_of(flags.device, model.get());
  settings.path.threads = flags.threads;
  if (const char* isa = std::getenv("ASSAY_ISA"); isa && *isa && flags.device == "cpu")
    settings.path.isa = isa;
  settings.paths = other_paths(flags.device, settings.path);
  const auto plain = factory_of("cpu", model.get());
  settings.plain = [plain](const assay::op::Program& program, assay::op::ExecutorOptions options) {
    options.isa = "portable";
    return plain(program, options);
  };
  settings.judges = std::max(1u, std::thread::hardware_concurrency());
  settings.level = flags.level == "full" ? verify::Level::full : verify::Level::quick;
  if (model) {
    settings.model = &model->program;
    settings.tokens = model->tokens;
  }
  Progress bar("verify");
  settings.progress = [&](uint64_t done, uint64_t total) { bar.show(done, total); };
  if (!flags.store.empty()) {
    const auto stored = verify::make_stored(settings);
    bar.erase();
    return store(stored, flags.store);
  }
  const auto found = verify::verify(settings);
  bar.erase();
  if (!found) return report(found.error());
  const verify::Circumstances around = circumstances(model.get());
  if (flags.json)
    fmt::print("{}\n", verify::to_json(*found, settings, around));
  else
    fmt::print("{}{}\n", verify::table(*found, *settings.stored), escaped(found->sentence, false));
  if (!flags.output.empty()) {
    const std::string text_of = verify::certificate(*found, settings, around);
    const auto written = assay::write_atomically(flags.output, {text_of});
    if (!written) return report(written.error());
  }
  return int(!found->pass ? Exit::negative : found->unmeasured.empty() ? Exit::done : Exit::cannot);
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Prove a device: every operation against the judge's bounds and the contract's bits");
  command
      ->add_option("model,-m,--model", flags->model,
                   "GGUF file, or the name of a known model (default: SmolLM2-135M-Instruct)")
      ->type_name("MODEL");
  command->add_option("--device", flags->device, "what to prove: " + assay::run::device_names())
      ->type_name("NAME")
      ->capture_default_str();
  command->add_option("-t,--threads", flags->threads, "threads of the cpu (default: all cores)")
      ->type_name("N")
      ->check(between(0, 1024));
  add_context_flag(*command, flags->context);
  command->add_option("--level", flags->level, "quick: seconds; full: more shapes, a long prompt")
      ->check(CLI::IsMember({"quick", "full"}))
      ->capture_default_str();
  command->add_option("--tokens", flags->tokens, "token ids instead of the built-in text");
  command->add_flag("--synthetic", flags->synthetic, "no model: random weights alone");
  auto* json = command->add_flag("--json", flags->json, "schema assay.verify/1");
  auto* output = command->add_option("-o,--output", flags->output, "certificate, a text file")
                     ->type_name("FILE");
  command
      ->add_option("--store", flags->store,
                   "with --synthetic: only write the bits' hashes, as src/verify/stored_bits.cpp")
      ->type_name("FILE")
      ->excludes(json)
      ->excludes(output);
  command->callback([flags, &exit_code] { exit_code = run(*flags); });
}
