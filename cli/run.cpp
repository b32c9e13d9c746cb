#include "run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "chat_template.h"
#include "common.h"
#include "generate.h"
#include "prompt.h"
#include "sampling.h"
#include "stats.h"
#include "text/chat_prompt.h"
#include "text/tokenizer.h"

using assay::Error;
using assay::Result;
using assay::run::Engine;
using assay::run::Sequence;

namespace {

struct Flags {
  ModelFlags model;
  std::optional<std::string> prompt, tokens;
  std::string file, layers;
  std::vector<std::string> stops;
  int64_t predict = 512;
  uint32_t batch = 512;
  uint64_t chain = 0;
  SamplingFlags sampling;
  std::optional<std::string> system, chat_template;
  bool json = false, stats = false, no_parse_special = false, no_bos = false, chat = false;
  bool escape = false, ignore_eos = false, special = false;
};

struct Outcome {
  std::vector<int32_t> prompt;
  Generated generated;
  double load = 0, first_token = 0, prompt_rate = 0;
  nlohmann::ordered_json stats;
};

struct Interrupted {};

/// Runs the prompt with a progress bar; the last token's logits.
Result<std::span<const float>> run_prompt(Engine& engine, Sequence& sequence, const Flags& flags,
                                          const Outcome& out, LayerStats* stats) {
  Progress bar("prompt");
  uint64_t done = 0;
  assay::op::Sink sink;
  if (stats) sink = [&](const auto& operation, auto output) { stats->see(operation, output); };
  // Ctrl-C between two steps leaves through the engine, which is not used afterwards.
  return engine.feed(
      sequence, out.prompt, assay::run::Wanted::last,
      [&](auto) {
        bar.show(done = std::min<uint64_t>(done + flags.batch, out.prompt.size()),
                 out.prompt.size());
        if (interrupted && done < out.prompt.size()) throw Interrupted{};
      },
      sink);
}

assay::Status run_and_generate(Engine& engine, const assay::text::Tokenizer* tokenizer,
                               const Flags& flags, std::optional<LayerStats> stats, Outcome& out) {
  auto sequence = engine.start();
  if (!sequence) return sequence.error();
  const double start = seconds();
  const auto logits = run_prompt(engine, *sequence, flags, out, stats ? &*stats : nullptr);
  if (!logits) return logits.error();
  out.first_token = seconds() - start;
  out.prompt_rate = double(out.prompt.size()) / out.first_token;
  if (stats) {
    out.stats = stats->json(*logits);
    if (!flags.json) stats->print(*logits, tokenizer);
  }
  assay::run::Sampler sampler(flags.sampling.options);
  for (int32_t token : out.prompt) sampler.accept(token);
  Output output(tokenizer, {.stops = flags.stops, .quiet = flags.json, .special = flags.special});
  auto generated = generate(engine, *sequence, tokenizer, sampler, *logits, flags.predict, output,
                            {flags.json, flags.chain});
  if (!generated) return generated.error();
  out.generated = std::move(*generated);
  return assay::ok();
}

void print_json(const Engine& engine, const Flags& flags, const Outcome& out) {
  const auto architecture = engine.file().string_value("general.architecture");
  const auto& executor = engine.executor();
  nlohmann::ordered_json json = {
      {"schema", "assay.run/1"},
      {"model",
       {{"path", engine.file().path()},
        {"sha256", file_sha256(engine.file())},
        {"architecture", architecture && *architecture ? std::string(**architecture) : ""}}},
      {"device", executor.device()},
      {"isa", executor.isa()},
      {"contract", executor.contract()},
      {"threads", executor.threads()},
      {"seed", flags.sampling.options.seed},
      {"prompt_tokens", out.prompt},
      {"tokens", out.generated.tokens},
      {"text", out.generated.text},
      {"raw_text", out.generated.raw_text},
      {"finish_reason", out.generated.finish_reason},
      {"logits_sha256", out.generated.logits_hash},
      {"timings",
       {{"load_s", out.load},
        {"first_token_s", out.first_token},
        {"prompt_tokens_per_s", out.prompt_rate},
        {"generation_tokens_per_s", out.generated.rate()}}},
      {"peak_bytes", peak_bytes()}};
  if (flags.chain) json["logits_chain"] = out.generated.logits_chain;
  if (flags.stats) json["stats"] = out.stats;
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

/// The text to continue, or nothing where --tokens gives ids. The line end that editors and `echo`
/// put at the end of a text is not part of it.
Result<std::string> read_prompt(const Flags& flags) {
  if (flags.tokens) return std::string();
  if (flags.prompt) return *flags.prompt;
  if (flags.file.empty() && isatty(STDIN_FILENO)) return std::string();
  auto text = read_text(flags.file.empty() ? "-" : flags.file);
  if (text && text->ends_with('\n')) text->pop_back();
  return text;
}

/// The prompt's tokens: the text as it stands, or as a user's message in the file's chat template.
Result<std::vector<int32_t>> encode_prompt(const Flags& flags, const Engine& engine,
                                           const assay::text::Tokenizer& tokenizer,
                                           const std::string& text) {
  if (!flags.chat)
    return encode_text(
        tokenizer, text,
        {.parse_special = !flags.no_parse_special, .add_bos = !flags.no_bos, .add_eos = false});
  const auto chat = open_chat_template(engine.file(), flags.chat_template, flags.system);
  if (!chat) return chat.error();
  auto messages = nlohmann::ordered_json::array();
  if (!flags.system.value_or("").empty())
    messages.push_back({{"role", "system"}, {"content", *flags.system}});
  messages.push_back({{"role", "user"}, {"content", text}});
  warn_of_messages(tokenizer, messages);
  note_turn_end(tokenizer, *chat, flags.stops);
  return assay::text::encode_chat(tokenizer, *chat, messages, chat_options(flags.system));
}

/// The tokens that end a text, which --ignore-eos forbids to draw.
std::vector<int32_t> end_tokens(const assay::text::Tokenizer& tokenizer) {
  std::vector<int32_t> tokens;
  for (uint64_t id = 0; id < tokenizer.vocabulary_size(); ++id)
    if (tokenizer.ends_generation(int32_t(id))) tokens.push_back(int32_t(id));
  return tokens;
}

/// The layers of --stats, checked against the model's.
Result<std::optional<LayerStats>> make_stats(const Flags& flags, const Engine& engine) {
  if (!flags.stats) return std::optional<LayerStats>();
  const auto layers = parse_ids(flags.layers);
  if (!layers) return Error{"--layers: " + layers.error().message};
  int32_t count = 0;
  for (const auto& operation : engine.program().operations)
    if (operation.role == assay::op::Role::block_output)
      count = std::max(count, int32_t(operation.layer) + 1);
  for (int32_t layer : *layers)
    if (layer >= count)
      return Error{
          fmt::format("--layers: no layer {}; the model has layers 0 to {}", layer, count - 1)};
  return std::optional<LayerStats>(std::set<int32_t>(layers->begin(), layers->end()));
}

void print_summary(const Engine& engine, const Outcome& done) {
  if (done.generated.context_full)
    fmt::print(stderr, "assay: context full: {} positions (-c sets the limit)\n", engine.context());
  const auto tokens = [](size_t n) { return fmt::format("{} token{}", n, n == 1 ? "" : "s"); };
  fmt::print(stderr,
             "load {:.2f} s; prompt {}, {:.1f} t/s, first token after {:.2f} s; generated {}",
             done.load, tokens(done.prompt.size()), done.prompt_rate, done.first_token,
             tokens(done.generated.tokens.size()));
  if (done.generated.tokens.size() > 1) fmt::print(stderr, ", {:.1f} t/s", done.generated.rate());
  fmt::print(stderr, "; peak {:.0f} MB\n", double(peak_bytes()) / 1e6);
}

int run(Flags flags) {
  if (int(flags.prompt.has_value()) + int(!flags.file.empty()) + int(flags.tokens.has_value()) > 1)
    return report(wrong_usage("give one of -p, -f and --tokens"));
  if (flags.chat && flags.tokens)
    return report(wrong_usage("--chat takes text: give -p or -f, not --tokens"));
  flags.sampling.resolve_seed();
  const auto ids = parse_ids(flags.tokens.value_or(""));
  if (!ids) return report(ids.error());
  auto text = read_prompt(flags);
  if (!text) return report(text.error());
  if (flags.escape) {
    text = unescaped(*text);
    if (flags.system) flags.system = unescaped(*flags.system);
  }
  const double start = seconds();
  auto engine = open_engine(flags.model, flags.batch);
  if (!engine) return report(engine.error());
  auto stats = make_stats(flags, *engine);
  if (!stats) return report(stats.error());
  Outcome out;
  const auto& tokenizer = open_tokenizer(engine->model());
  if (!tokenizer && !flags.tokens) return report(tokenizer.error());
  const auto prompt = flags.tokens ? ids : encode_prompt(flags, *engine, *tokenizer, *text);
  if (!prompt) return report(prompt.error());
  out.prompt = *prompt;
  if (out.prompt.empty())
    return report(text->empty()
                      ? wrong_usage("the prompt is empty: give -p TEXT, -f FILE, --tokens IDS, or "
                                    "text on stdin")
                      : Error{"no byte of the prompt has a token in this model's vocabulary"});
  if (!tokenizer) fmt::print(stderr, "assay: {}; printing token ids\n", tokenizer.error().message);
  if (tokenizer) {
    auto& banned = flags.sampling.options.banned = tokenizer->suppressed();
    const auto ends = flags.ignore_eos ? end_tokens(*tokenizer) : std::vector<int32_t>();
    banned.insert(banned.end(), ends.begin(), ends.end());
  }
  out.load = seconds() - start;
  fmt::print(stderr, "device: {}; seed {}\n", describe(*engine), flags.sampling.options.seed);
  catch_interrupt();
  try {
    const auto done =
        run_and_generate(*engine, tokenizer ? &*tokenizer : nullptr, flags, std::move(*stats), out);
    if (!done) return report(done.error());
  } catch (const Interrupted&) {
    out.generated.finish_reason = "interrupted";
    out.generated.logits_hash = assay::trace::LogitsHash().hex();
  }
  if (flags.json)
    print_json(*engine, flags, out);
  else
    end_line_after(out.generated.text);
  print_summary(*engine, out);
  return out.generated.finish_reason == "interrupted" ? int(assay::Exit::interrupted) : 0;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("run", "Continue a text: generated text to stdout, all else to stderr");
  add_model_flags(*command, flags->model);
  command->add_option("-p,--prompt", flags->prompt,
                      "text to continue, taken raw (default: standard input)");
  command->add_option("-f,--file", flags->file, "file with the text ('-': standard input)");
  command->add_option("--tokens", flags->tokens, "token ids instead of text, comma-separated");
  command->add_flag(
      "-e,--escape", flags->escape,
      "read \\n, \\r, \\t, \\', \\\", \\\\ and \\xNN in text and system message as C does");
  command
      ->add_option("-n,--predict", flags->predict,
                   "most tokens to generate (-1: until the context is full)")
      ->type_name("N")
      ->check(between(-1, 1e12))
      ->capture_default_str();
  add_batch_flag(*command, flags->batch);
  add_sampling_flags(*command, flags->sampling);
  command->add_flag("--ignore-eos", flags->ignore_eos,
                    "never draw a token that ends the text: go on until -n");
  command->add_option("--stop", flags->stops, "stop at this text (may be given several times)")
      ->allow_extra_args(false);
  command->add_flag("--special", flags->special, "show control tokens in the generated text, too");
  CLI::Option* chat = command->add_flag(
      "--chat", flags->chat, "treat the text as a user's message and apply the chat template");
  command
      ->add_option("--system", flags->system,
                   "system message of --chat; '' switches off the template's own")
      ->needs(chat);
  add_chat_template_flag(*command, flags->chat_template)->needs(chat);
  command->add_flag("--no-parse-special", flags->no_parse_special,
                    "treat the spelling of special tokens as plain text");
  command->add_flag("--no-bos", flags->no_bos, "no beginning-of-sequence token");
  command->add_flag("--stats", flags->stats,
                    "after the prompt: RMS, max|x|, min, max, mean, NaN of each layer; top logits");
  CLI::Option* layers = command->add_option("--layers", flags->layers,
                                            "layers of --stats, comma-separated (default: all)");
  CLI::Option* json = command->add_flag("--json", flags->json, "schema assay.run/1, at the end");
  command
      ->add_option("--chain", flags->chain,
                   "with --json: the hash of all logits so far, after every N tokens")
      ->type_name("N")
      ->check(between(1, 1e9))
      ->needs(json);
  layers->needs("--stats");
  command->callback([flags, &exit_code] { exit_code = run(*flags); });
}
