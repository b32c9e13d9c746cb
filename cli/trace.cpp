#include "trace.h"

#include <fmt/format.h>

#include <memory>
#include <optional>
#include <regex>

#include "common.h"
#include "trace/recorder.h"
#include "trace/statistics.h"
#include "trace/trace_file.h"

using assay::Error;
using assay::Result;
using assay::run::Session;

namespace {

struct RecordFlags {
  ModelFlags model;
  std::optional<std::string> prompt, tokens;
  std::string output, filter;
  uint32_t batch = 512, predict = 0;
  bool statistics = false, values = false, no_parse_special = false, no_bos = false;
};

Result<std::vector<int32_t>> read_tokens(const RecordFlags& flags, const assay::gguf::File& file) {
  if (flags.tokens) return parse_ids(*flags.tokens);
  const auto tokenizer = open_tokenizer(file);
  if (!tokenizer) return tokenizer.error();
  return tokenizer->encode(
      *flags.prompt,
      {.parse_special = !flags.no_parse_special, .add_bos = !flags.no_bos, .add_eos = false});
}

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

/// Prompt, then greedy tokens, one a step.
assay::Status run_and_record(Session& session, const RecordFlags& flags,
                             std::span<const int32_t> tokens, assay::trace::Recorder& recorder) {
  const assay::op::Sink sink = std::ref(recorder);
  auto logits = session.feed(0, tokens, Session::Wanted::all, {}, sink);
  for (uint32_t i = 0; i < flags.predict && logits; ++i) {
    const auto best = assay::trace::top(*logits, 1);
    if (best.empty()) return Error{"the logits are all NaN: there is no best token to go on with"};
    const int32_t token = best[0].id;
    logits = session.feed(0, {&token, 1}, Session::Wanted::all, {}, sink);
  }
  if (!logits) return logits.error();
  return assay::ok();
}

int record(const RecordFlags& flags) {
  if (flags.prompt.has_value() == flags.tokens.has_value())
    return report({"give either --tokens or -p"});
  if (flags.statistics && flags.values) return report({"give one of --values and --stats"});
  const auto options = options_of(flags);
  if (!options) return report(options.error());
  auto session = open_session(flags.model, flags.batch);
  if (!session) return report(session.error());
  const auto tokens = read_tokens(flags, session->file());
  if (!tokens) return report(tokens.error());
  if (tokens->empty()) return report({"no tokens to run"});
  assay::trace::Recorder recorder(session->program(), *options);
  session->watch_steps([&](const assay::op::Step& step) { recorder.begin_step(step); });
  const auto& executor = session->executor();
  fmt::print(stderr, "device: {}\n", describe(executor));
  const double start = seconds();
  if (const auto ran = run_and_record(*session, flags, *tokens, recorder); !ran)
    return report(ran.error());
  const double ran = seconds() - start;
  if (recorder.tensors() == 0)
    return report({fmt::format("--filter '{}' fits no operation", flags.filter)});
  const auto written =
      recorder.write(flags.output, {{"engine", "assay " ASSAY_VERSION},
                                    {"commit", ASSAY_COMMIT},
                                    {"contract", executor.contract()},
                                    {"kv", flags.model.cache},
                                    {"device", executor.device()},
                                    {"isa", executor.isa()},
                                    {"model", session->file().path()},
                                    {"model_sha256", file_sha256(session->file())}});
  if (!written) return report(written.error());
  fmt::print(stderr, "recorded {} tensors, {:.1f} MB, in {:.2f} s to {}\n", recorder.tensors(),
             double(recorder.bytes()) / 1e6, ran, flags.output);
  return 0;
}

void add_record(CLI::App& parent, int& exit_code) {
  auto flags = std::make_shared<RecordFlags>();
  CLI::App* command =
      parent.add_subcommand("record", "Run a prompt and write every operation's output");
  add_model_flags(*command, flags->model);
  command->add_option("--tokens", flags->tokens, "token ids, comma-separated");
  command->add_option("-p,--prompt", flags->prompt, "text");
  command->add_option("-o,--output", flags->output, "the trace (docs/trace-format.md)")
      ->type_name("FILE")
      ->required();
  command->add_option("-n,--predict", flags->predict, "greedy tokens after the prompt, a step each")
      ->type_name("N")
      ->check(between(0, 100000))
      ->capture_default_str();
  command->add_option("-b,--batch", flags->batch, "most prompt tokens in one step")
      ->type_name("N")
      ->check(between(1, 65536))
      ->capture_default_str();
  command->add_option("--filter", flags->filter, "only operations whose name this expression finds")
      ->type_name("REGEX");
  command->add_flag("--values", flags->values, "every value (default)");
  command->add_flag(
      "--stats", flags->statistics,
      "min, max, mean, RMS, max|x|, NaN and infinities of each token instead of values");
  command->add_flag("--no-parse-special", flags->no_parse_special,
                    "take the spelling of special tokens as plain text");
  command->add_flag("--no-bos", flags->no_bos, "no beginning-of-sequence token");
  command->callback([flags, &exit_code] { exit_code = record(*flags); });
}

}  // namespace

void add_trace(CLI::App& app, int& exit_code) {
  CLI::App* command =
      app.add_subcommand("trace", "Record what every operation computes, and look at it");
  command->require_subcommand(1);
  add_record(*command, exit_code);
  add_trace_show(*command, exit_code);
  add_trace_replay(*command, exit_code);
}
