#include "golden.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/atomic_file.h"
#include "common.h"
#include "prompt.h"
#include "verify/golden.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::run::Engine;
using assay::verify::Golden;
using assay::verify::GoldenCase;

namespace {

constexpr const char* suffix = ".golden.json";

struct Flags {
  ModelFlags model;
  std::string path, cut;
  std::vector<std::string> prompts, tokens;
  bool no_parse_special = false, no_bos = false;
};

/// Runs the tokens in steps that end where `ends` say.
Result<GoldenCase> record(Engine& engine, std::span<const int32_t> tokens,
                          const std::vector<size_t>& ends) {
  Progress bar("run");
  assay::verify::GoldenRecorder recorder;
  auto sequence = engine.start();
  if (!sequence) return sequence.error();
  engine.watch_steps([&](const assay::op::Step& step) { recorder.begin_step(step); });
  size_t at = 0;
  for (const size_t end : ends) {
    const assay::run::Part part{*sequence, tokens.subspan(at, end - at)};
    const auto logits = engine.step({&part, 1}, assay::run::Wanted::all, std::ref(recorder));
    if (!logits) return logits.error();
    recorder.logits(*logits);
    at = end;
  }
  engine.watch_steps({});
  return recorder.finish();
}

Result<std::vector<std::vector<int32_t>>> read_runs(const Flags& flags,
                                                    const assay::run::Model& model) {
  std::vector<std::vector<int32_t>> runs;
  for (const std::string& text : flags.tokens) {
    const auto ids = parse_ids(text);
    if (!ids) return ids.error();
    runs.push_back(*ids);
  }
  if (!flags.prompts.empty()) {
    const auto& tokenizer = open_tokenizer(model);
    if (!tokenizer) return tokenizer.error();
    for (const std::string& prompt : flags.prompts) {
      runs.push_back(encode_text(
          *tokenizer, prompt,
          {.parse_special = !flags.no_parse_special, .add_bos = !flags.no_bos, .add_eos = false}));
    }
  }
  if (runs.empty()) return wrong_usage("give at least one --tokens or -p");
  for (const auto& run : runs)
    if (run.empty()) return Error{"no tokens to run"};
  return runs;
}

// The most tokens of a step: a golden's steps are not cut any further.
constexpr uint32_t batch = 4096;

int update(const Flags& flags) {
  auto engine = open_engine(flags.model, batch);
  if (!engine) return report(engine.error());
  const auto runs = read_runs(flags, engine->model());
  if (!runs) return report(runs.error());
  const auto& executor = engine->executor();
  const std::string device = describe(*engine);
  fmt::print(stderr, "device: {}\n", device);
  Golden golden{executor.contract(),
                flags.model.model.empty() ? default_model() : flags.model.model,
                file_sha256(engine->file()),
                fmt::format("assay " ASSAY_VERSION ", commit {}, {}", commit(), device),
                assay::verify::names_of(engine->program()),
                {}};
  for (const auto& tokens : *runs) {
    const auto ends = read_cuts(flags.cut, tokens.size());
    if (!ends) return report(ends.error());
    auto one = record(*engine, tokens, *ends);
    if (!one) return report(one.error());
    golden.cases.push_back(std::move(*one));
  }
  std::filesystem::path path = flags.path;
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored))
    path /= std::filesystem::path(engine->file().path()).stem().string() + suffix;
  const std::string text = assay::verify::to_json(golden);
  const auto written = assay::write_atomically(path.string(), {text});
  if (!written) return report(written.error());
  fmt::print("{}: {} runs, contract {}\n", escaped(path.string(), false), golden.cases.size(),
             golden.contract);
  return 0;
}

/// The file, or all goldens of the folder, by name.
Result<std::vector<std::string>> files_of(const std::string& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::vector{path};
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path, error))
    if (entry.path().string().ends_with(suffix)) files.push_back(entry.path().string());
  if (files.empty()) return Error{fmt::format("no file *{} in '{}'", suffix, path)};
  std::sort(files.begin(), files.end());
  return files;
}

/// The flags that give the stored contract.
assay::Status take_contract(const Golden& golden, const std::string& path, ModelFlags& flags) {
  std::string name = golden.contract;
  flags.cache = "f16";
  if (name.ends_with(" kv=f32")) {
    flags.cache = "f32";
    name.resize(name.size() - 7);
  }
  if (name != "assay/1" && name != "f32" && name != "exact")
    return Error{fmt::format("{}: made under the contract {}, which this program does not have",
                             path, golden.contract)};
  flags.contract = name;
  return assay::ok();
}

/// The verdict's sentence of the first departure, "" where there is none.
Result<std::string> check_file(const Flags& given, const std::string& path, size_t& runs) {
  const auto text = read_text(path);
  if (!text) return text.error();
  const auto golden = assay::verify::parse_golden(*text, path);
  if (!golden) return golden.error();
  ModelFlags flags = given.model;
  if (flags.model.empty()) flags.model = golden->model;
  if (const auto taken = take_contract(*golden, path, flags); !taken) return taken.error();
  auto engine = open_engine(flags, batch);
  if (!engine) return engine.error();
  if (const std::string hash = file_sha256(engine->file()); hash != golden->model_sha256)
    return Error{fmt::format("{}: made with a model of SHA-256 {}…, '{}' has {}…", path,
                             golden->model_sha256.substr(0, 16), engine->file().path(),
                             hash.substr(0, 16))};
  if (engine->executor().contract() != golden->contract)
    return Error{fmt::format("{}: made under the contract {}, the device runs {}", path,
                             golden->contract, engine->executor().contract())};
  fmt::print(stderr, "device: {}\n", describe(*engine));
  if (assay::verify::names_of(engine->program()) != golden->operations)
    return Error{
        fmt::format("{}: its operations differ from those of this version's program", path)};
  for (const GoldenCase& stored : golden->cases) {
    std::vector<size_t> ends;
    for (const auto& step : stored.steps)
      ends.push_back((ends.empty() ? 0 : ends.back()) + step.tokens);
    const auto now = record(*engine, stored.tokens, ends);
    if (!now) return now.error();
    ++runs;
    if (const auto first = assay::verify::first_departure(golden->operations, stored, *now))
      return fmt::format("FAIL {}: run {}, step {}: {} is the first operation whose bits differ",
                         path, runs, first->step, first->operation);
  }
  return std::string();
}

int check(const Flags& flags) {
  const auto files = files_of(flags.path);
  if (!files) return report(files.error());
  size_t all = 0;
  std::string failed;
  for (const std::string& path : *files) {
    size_t runs = 0;
    const auto sentence = check_file(flags, path, runs);
    if (!sentence) return report(sentence.error());
    all += runs;
    fmt::print("{}: {}\n", escaped(path, false),
               sentence->empty() ? fmt::format("{} runs equal", runs) : "differs");
    if (failed.empty()) failed = *sentence;
  }
  if (failed.empty())
    fmt::print("PASS: {} runs of {} files give the stored bits\n", all, files->size());
  else
    fmt::print("{}\n", escaped(failed, false));
  return int(failed.empty() ? Exit::done : Exit::negative);
}

}  // namespace

void add_golden(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "golden", "Store the hashes of a model's bits in a file, and check that they stay the same");
  command->require_subcommand(1);
  CLI::App* making = command->add_subcommand("update", "Run prompts and write the hashes");
  CLI::App* checking = command->add_subcommand(
      "check",
      "Run them again: the first operation whose bits differ; exit code 1 if there is one");
  for (CLI::App* sub : {making, checking}) {
    sub->add_option("golden", flags->path, "file, or a folder of *.golden.json")
        ->type_name("FILE")
        ->required();
    add_model_flags(*sub, flags->model);
  }
  for (const char* taken : {"--kv", "--contract"})  // the file says
    checking->remove_option(checking->get_option(taken));
  making->add_option("-p,--prompt", flags->prompts, "text; given again: another run")
      ->allow_extra_args(false);
  making
      ->add_option("--tokens", flags->tokens,
                   "token ids, comma-separated; given again: another run")
      ->allow_extra_args(false);
  making->add_option("--cut", flags->cut, "run in several steps, cut before these positions");
  making->add_flag("--no-parse-special", flags->no_parse_special,
                   "treat the spelling of special tokens as plain text");
  making->add_flag("--no-bos", flags->no_bos, "no beginning-of-sequence token");
  making->callback([flags, &exit_code] { exit_code = update(*flags); });
  checking->callback([flags, &exit_code] { exit_code = check(*flags); });
}
