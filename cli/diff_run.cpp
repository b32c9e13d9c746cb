#include "diff_run.h"

#include <fmt/format.h>

#include "fault.h"
#include "record.h"
#include "run/device.h"
#include "temporary.h"

using assay::Error;
using assay::Result;
using assay::trace::Trace;

void add_diff_run_flags(CLI::App& command, DiffRunFlags& flags) {
  command.add_option("--run", flags.model, "run a model twice instead of reading traces")
      ->type_name("MODEL")
      ->expected(0, 1);
  command.add_option("--device", flags.devices, "with --run, twice: " + assay::run::device_names())
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  command
      .add_option("--contract", flags.contracts,
                  "with --run: assay/1, f32 or exact; given twice, for a and for b")
      ->type_name("NAME")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->check(CLI::IsMember({"assay/1", "f32", "exact"}));
  add_prompt_flags(command, flags.prompt);
  command.add_option("-n,--predict", flags.predict, "with --run: greedy tokens after the prompt")
      ->type_name("N")
      ->check(between(0, 10000));
  command
      .add_option("-t,--threads", flags.threads,
                  "with --run: threads of the cpu (default: all cores)")
      ->type_name("N")
      ->check(between(0, 1024));
  command.add_option("--kv", flags.cache, "with --run: type of the KV cache")
      ->check(CLI::IsMember({"f16", "f32"}))
      ->capture_default_str();
  add_fault_flags(command, flags.faults);
}

namespace {

/// The first or the second of one or two names.
std::string of_side(const std::vector<std::string>& names, size_t side) {
  return names.empty() ? "" : names[std::min(side, names.size() - 1)];
}

/// The second run gets the first one's tokens, those that it predicted among them.
Result<Trace> run_side(const DiffRunFlags& flags, size_t side, const std::string& path,
                       const Trace* first) {
  ModelFlags model = flags.faults;
  model.model = *flags.model;
  model.device = of_side(flags.devices, side);
  model.contract = of_side(flags.contracts, side);
  model.cache = flags.cache;
  model.threads = flags.threads;
  auto engine = open_engine(model, 512);
  if (!engine) return engine.error();
  const auto prompt = read_prompt(flags.prompt, engine->model());
  if (!prompt) return prompt.error();
  fmt::print(stderr, "{}: {}\n", side == 0 ? "a" : "b", describe(*engine));
  RecordOptions options;
  options.cache = flags.cache;
  options.predict = first ? 0 : flags.predict;
  if (first)
    for (size_t step = (prompt->size() + 511) / 512; step < first->steps().size(); ++step)
      options.given.push_back(first->steps()[step].tokens.at(0));
  const auto done = record_trace(*engine, *prompt, options, path);
  if (!done) return done.error();
  return Trace::open(path);
}

}  // namespace

Result<std::pair<Trace, Trace>> run_both(const DiffRunFlags& flags) {
  if (const auto good = check_prompt(flags.prompt); !good) return good.error();
  if (flags.devices.size() != 2)
    return wrong_usage(
        "--run compares two runs: give --device twice, as --device cpu --device reference");
  if (flags.contracts.size() > 2) return Error{"--contract is given at most twice"};
  const auto folder = TemporaryFolder::make();
  if (!folder) return folder.error();
  auto a = run_side(flags, 0, folder->file("a.safetensors"), nullptr);
  if (!a) return a.error();
  auto b = run_side(flags, 1, folder->file("b.safetensors"), &*a);
  if (!b) return b.error();
  return std::pair(std::move(*a), std::move(*b));
}
