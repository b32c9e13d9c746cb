#include "trace.h"

#include <fmt/format.h>

#include <memory>
#include <regex>

#include "common.h"
#include "prompt.h"
#include "record.h"

using assay::Error;
using assay::Result;

namespace {

struct RecordFlags {
  ModelFlags model;
  PromptFlags prompt;
  std::string output, filter;
  uint32_t batch = 512, predict = 0;
  bool statistics = false, values = false;
};

Result<assay::trace::RecorderOptions> options_of(const RecordFlags& flags) {
  assay::trace::RecorderOptions options;
  options.statistics = flags.statistics;
  if (flags.filter.empty()) return options;
  try {
    const std::regex expression(flags.filter);
    options.wanted = [expression](std::string_view name) {
      return std::regex_search(name.begin(), name.end(), expression);
    };
  } catch (const std::regex_error&) {
    return Error{fmt::format("--filter: '{}' is not a regular expression", flags.filter)};
  }
  return options;
}

int record(const RecordFlags& flags) {
  if (const auto good = check_prompt(flags.prompt); !good) return report(good.error());
  if (flags.statistics && flags.values)
    return report(wrong_usage("give one of --values and --stats"));
  const auto options = options_of(flags);
  if (!options) return report(options.error());
  auto engine = open_engine(flags.model, flags.batch);
  if (!engine) return report(engine.error());
  const auto tokens = read_prompt(flags.prompt, engine->model());
  if (!tokens) return report(tokens.error());
  fmt::print(stderr, "device: {}\n", describe(*engine));
  const auto done = record_trace(
      *engine, *tokens,
      {.recorder = *options, .predict = flags.predict, .given = {}, .cache = flags.model.cache},
      flags.output);
  if (!done) return report(done.error());
  if (done->tensors == 0)
    return report({fmt::format("--filter '{}' matches no operation", flags.filter)});
  fmt::print(stderr, "recorded {} tensors, {:.1f} MB, in {:.2f} s to {}\n", done->tensors,
             double(done->bytes) / 1e6, done->seconds, flags.output);
  return 0;
}

void add_record(CLI::App& parent, int& exit_code) {
  auto flags = std::make_shared<RecordFlags>();
  CLI::App* command =
      parent.add_subcommand("record", "Run a prompt and write every operation's output");
  add_model_flags(*command, flags->model);
  add_prompt_flags(*command, flags->prompt);
  command->add_option("-o,--output", flags->output, "the trace (docs/trace-format.md)")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("-n,--predict", flags->predict, "greedy tokens after the prompt, one step each")
      ->type_name("N")
      ->check(between(0, 100000))
      ->capture_default_str();
  add_batch_flag(*command, flags->batch);
  command
      ->add_option("--filter", flags->filter,
                   "only operations whose name matches this regular expression")
      ->type_name("REGEX");
  command->add_flag("--values", flags->values, "every value (default)");
  command->add_flag(
      "--stats", flags->statistics,
      "min, max, mean, RMS, max|x|, NaN and infinities of each token instead of values");
  command->callback([flags, &exit_code] { exit_code = record(*flags); });
}

}  // namespace

void add_trace(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("trace", "Record what every operation computes, and look at it");
  command->require_subcommand(1);
  add_record(*command, exit_code);
  add_trace_show(*command, exit_code);
  add_trace_names(*command, exit_code);
  add_trace_replay(*command, exit_code);
}
