#include "kit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/atomic_file.h"
#include "check/kit.h"
#include "common.h"
#include "prompt.h"

using assay::Error;
using assay::Result;
using assay::check::KitOptions;
using assay::check::KitRun;
using assay::run::Engine;
using Json = nlohmann::ordered_json;

namespace {

constexpr const char* default_prompt = "The capital of France is";

struct Flags {
  std::string model, output, layers;
  std::optional<std::string> prompt, tokens;
  uint32_t rows = 64, tokens_count = 0;
  bool force = false;
};

/// "0,15", "all"; empty: the first, the middle and the last block.
Result<std::vector<uint32_t>> parse_layers(const std::string& text, uint32_t count) {
  std::set<uint32_t> layers;
  if (text == "all") {
    for (uint32_t i = 0; i < count; ++i) layers.insert(i);
  } else if (text.empty()) {
    layers = {0, count / 2, count - 1};
  } else {
    const auto ids = parse_ids(text);
    if (!ids || ids->empty())
      return Error{fmt::format("--layers: '{}' is neither 'all' nor a list such as 0,15", text)};
    for (const int32_t id : *ids) {
      if (uint32_t(id) >= count)
        return Error{
            fmt::format("--layers: the model has no block {}; it has {} blocks", id, count)};
      layers.insert(uint32_t(id));
    }
  }
  return std::vector<uint32_t>(layers.begin(), layers.end());
}

Result<std::vector<int32_t>> read_tokens(const Flags& flags, const assay::run::Model& model) {
  Result<std::vector<int32_t>> ids = std::vector<int32_t>();
  if (flags.tokens) {
    ids = parse_ids(*flags.tokens);
  } else {
    const auto& tokenizer = open_tokenizer(model);
    if (!tokenizer) return tokenizer.error();
    ids = encode_text(*tokenizer, flags.prompt.value_or(default_prompt), {});
  }
  if (!ids) return ids.error();
  if (flags.tokens_count && flags.tokens_count < ids->size()) ids->resize(flags.tokens_count);
  if (ids->empty()) return Error{"no tokens to run"};
  return ids;
}

/// A folder that is not there, or empty, unless --force.
assay::Status check_folder(const Flags& flags) {
  namespace fs = std::filesystem;
  std::error_code failed;
  if (flags.output.empty()) return Error{"-o needs the name of a folder"};
  if (!fs::exists(flags.output, failed)) return assay::ok();
  if (!fs::is_directory(flags.output, failed))
    return Error{fmt::format("'{}' is not a folder", flags.output)};
  if (flags.force || fs::is_empty(flags.output, failed)) return assay::ok();
  return Error{fmt::format("'{}' is not empty; --force writes into it anyway", flags.output)};
}

/// One step through the model in plain f32: what the cases' operations read.
Result<KitRun> run_model(Engine& engine, const std::vector<int32_t>& tokens,
                         const std::vector<uint32_t>& wanted) {
  Progress bar("run");
  KitRun run;
  const auto& program = engine.program();
  engine.watch_steps([&](const assay::op::Step& step) {
    run.step.tokens.assign(step.tokens.begin(), step.tokens.end());
    run.step.positions.assign(step.positions.begin(), step.positions.end());
    run.step.selected.assign(step.selected.begin(), step.selected.end());
  });
  auto sequence = engine.start();
  if (!sequence) return sequence.error();
  const auto ran =
      engine.feed(*sequence, tokens, assay::run::Wanted::all, {},
                  [&](const assay::op::Operation& operation, std::span<const float> y) {
                    if (!std::ranges::binary_search(wanted, operation.output)) return;
                    const uint64_t width = program.values[operation.output].width;
                    assay::judge::Table table(y.size() / width, width);
                    std::ranges::copy(y, table.data.begin());
                    run.values[operation.output] = std::move(table);
                  });
  if (!ran) return ran.error();
  for (const uint32_t value : wanted)
    if (!run.values.contains(value))
      return Error{fmt::format("the run gave no '{}'", program.values[value].name)};
  const auto architecture = engine.file().string_value("general.architecture");
  // Which of several tables the file's base is of, it does not say.
  const bool one_table = std::ranges::count_if(engine.program().rope_tables, [](const auto& table) {
                           return !table.growth;
                         }) == 1;
  if (architecture && *architecture && one_table) {
    const auto base = engine.file().real_value(std::string(**architecture) + ".rope.freq_base");
    run.rope_base = base ? base->value_or(10000.0) : 0;  // GGUF's default
  }
  return run;
}

assay::Status write_text(const std::filesystem::path& path, std::string_view text) {
  return assay::write_atomically(path.string(), {text});
}

/// README, loaders, cases, and last the manifest: a kit without it is not whole.
assay::Status write_kit(const Flags& flags, const Engine& engine, const KitRun& run,
                        const KitOptions& options, const std::vector<size_t>& operations) {
  const std::filesystem::path folder = flags.output;
  uint64_t files = 2, bytes = 0;
  Progress bar("kit");
  Json cases = Json::array();
  for (const size_t operation : operations) {
    const auto written =
        assay::check::write_case(engine.program(), operation, run, options, flags.output);
    if (!written) return written.error();
    cases.push_back(Json::parse(written->json));
    files += written->files;
    bytes += written->bytes;
    bar.show(cases.size(), operations.size());
  }
  bar.erase();
  if (const auto done = write_text(folder / "README.md", assay::check::kit_readme()); !done)
    return done.error();
  for (const auto& loader : assay::check::loaders()) {
    if (const auto done = write_text(folder / loader.name, loader.text); !done) return done.error();
    ++files;
  }
  const Json manifest = {
      {"schema", "assay.kit/1"},
      {"version", ASSAY_VERSION},
      {"model",
       {{"file", std::filesystem::path(engine.file().path()).filename().string()},
        {"sha256", file_sha256(engine.file())}}},
      {"tokens", run.step.tokens},
      {"positions", run.step.positions},
      {"layers", options.layers},
      {"cases", cases}};
  const std::string text = manifest.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
  if (const auto done = write_text(folder / "manifest.json", text); !done) return done.error();
  fmt::print(stderr, "wrote {} cases, {} files, {:.1f} MB to {}\n", cases.size(), files,
             double(bytes) / 1e6, flags.output);
  return assay::ok();
}

int kit(const Flags& flags) {
  if (flags.prompt && flags.tokens) return report(wrong_usage("give one of --tokens and -p"));
  if (const auto good = check_folder(flags); !good) return report(good.error());
  ModelFlags model;
  model.model = flags.model;
  model.contract = "f32";
  model.cache = "f32";
  auto engine = open_engine(model, 4096);
  if (!engine) return report(engine.error());
  const auto tokens = read_tokens(flags, engine->model());
  if (!tokens) return report(tokens.error());
  if (tokens->size() > 4096)
    return report(
        {fmt::format("{} tokens are more than the 4096 that a kit can hold", tokens->size())});
  const auto layers = parse_layers(flags.layers, engine->program().layers);
  if (!layers) return report(layers.error());
  const KitOptions options{*layers, flags.rows};
  const auto plan = assay::check::plan_kit(engine->program(), options, tokens->size());
  fmt::print(
      stderr,
      "kit: {} cases (blocks {} of {}; {} tokens; up to {} rows of each matrix), about {:.1f} MB\n",
      plan.operations.size(), fmt::join(*layers, ", "), engine->program().layers, tokens->size(),
      flags.rows, double(plan.bytes) / 1e6);
  const auto run = run_model(*engine, *tokens, plan.values);
  if (!run) return report(run.error());
  const auto written = write_kit(flags, *engine, *run, options, plan.operations);
  return written ? 0 : report(written.error());
}

}  // namespace

void add_kit(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "kit", "Write unit tests for kernels: inputs, weights, expected values, tolerances as .npy");
  command
      ->add_option("model,-m,--model", flags->model,
                   "GGUF file, or the name of a known model (default: SmolLM2-135M-Instruct)")
      ->type_name("MODEL");
  command->add_option("-o,--output", flags->output, "folder; not there, or empty")
      ->type_name("DIR")
      ->required();
  command->add_option("-p,--prompt", flags->prompt,
                      std::string("text (default: '") + default_prompt + "')");
  command->add_option("--tokens", flags->tokens, "token ids, comma-separated");
  command
      ->add_option("--tokens-count", flags->tokens_count, "the first N tokens alone (default: all)")
      ->type_name("N")
      ->check(between(1, 4096));
  command
      ->add_option("--layers", flags->layers, "blocks: 0,15 or all (default: first, middle, last)")
      ->type_name("LIST");
  command->add_option("--rows", flags->rows, "most rows of a matrix")
      ->type_name("N")
      ->check(between(1, 1 << 24))
      ->capture_default_str();
  command->add_flag("--force", flags->force, "write into a folder that is not empty");
  command->callback([flags, &exit_code] { exit_code = kit(*flags); });
}
