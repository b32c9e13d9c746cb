#include "run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "base/sha256.h"
#include "common.h"
#include "run/sampler.h"
#include "run/stop_strings.h"
#include "stats.h"
#include "text/tokenizer.h"

using assay::Error;
using assay::Result;
using assay::run::Session;

namespace {

struct Flags {
  ModelFlags model;
  std::string prompt, file, tokens, layers;
  std::vector<std::string> stops;
  int64_t predict = 512;
  uint32_t batch = 512;
  assay::run::SamplerOptions sampler;
  std::optional<uint64_t> seed;
  bool json = false, stats = false, no_parse_special = false, no_bos = false;
};

struct Outcome {
  std::vector<int32_t> prompt, tokens;
  std::string text, finish_reason;
  std::string logits_hash;  // of the logits each token was drawn from, in order
  double load = 0, first_token = 0, prompt_rate = 0, generation_rate = 0;
  nlohmann::ordered_json stats;
};

/// Where the text goes: through the detokeniser and the stop strings to stdout, or token ids where
/// there is no tokenizer.
class Output {
 public:
  Output(const assay::text::Tokenizer* tokenizer, const Flags& flags)
      : tokenizer_(tokenizer), stops_(flags.stops), quiet_(flags.json) {}

  /// True where a stop string ended the text.
  bool add(int32_t token) {
    if (!tokenizer_) {
      emit(fmt::format("{}{}", text_.empty() ? "" : ",", token));
      return false;
    }
    const auto out = stops_.add(detokenizer_.add(tokenizer_->piece(token)));
    emit(out.text);
    return out.stopped;
  }
  std::string finish() {
    emit(stops_.add(detokenizer_.finish()).text);
    emit(stops_.finish());
    // A terminal gets a line end of its own; a pipe gets the generated text and nothing else.
    if (!quiet_ && isatty(STDOUT_FILENO)) fmt::print("\n");
    std::fflush(stdout);
    return text_;
  }

 private:
  void emit(const std::string& text) {
    text_ += text;
    if (quiet_ || text.empty()) return;
    fmt::print("{}", text);
    std::fflush(stdout);
  }
  const assay::text::Tokenizer* tokenizer_;
  assay::text::Detokenizer detokenizer_;
  assay::run::StopStrings stops_;
  std::string text_;
  bool quiet_;
};

/// Runs the prompt with a progress bar; the last token's logits.
Result<std::span<const float>> run_prompt(Session& session, const Flags& flags, const Outcome& out,
                                          LayerStats* stats) {
  Progress bar("prompt");
  uint64_t done = 0;
  assay::op::Sink sink;
  if (stats) sink = [&](const auto& operation, auto output) { stats->see(operation, output); };
  return session.feed(
      0, out.prompt, Session::Wanted::last,
      [&](auto) {
        bar.show(done = std::min<uint64_t>(done + flags.batch, out.prompt.size()),
                 out.prompt.size());
      },
      sink);
}

/// Draws tokens until the end of generation, a stop string, the limit, a full context or Ctrl-C.
Result<Outcome> generate(Session& session, const assay::text::Tokenizer* tokenizer,
                         const Flags& flags, Outcome out) {
  std::optional<LayerStats> stats;
  if (flags.stats) {
    const auto layers = parse_ids(flags.layers);
    if (!layers) return Error{"--layers: " + layers.error().message};
    stats.emplace(std::set<int32_t>(layers->begin(), layers->end()));
  }
  const double start = seconds();
  auto logits = run_prompt(session, flags, out, stats ? &*stats : nullptr);
  if (!logits) return logits.error();
  const double prompt_end = seconds();
  out.first_token = prompt_end - start;
  out.prompt_rate = double(out.prompt.size()) / out.first_token;
  if (stats) {
    out.stats = stats->json(*logits);
    if (!flags.json) stats->print(*logits, tokenizer);
  }

  assay::run::Sampler sampler(flags.sampler);
  for (int32_t token : out.prompt) sampler.accept(token);
  assay::trace::LogitsHash hash;
  Output output(tokenizer, flags);
  out.finish_reason = "length";
  for (int64_t i = 0; flags.predict < 0 || i < flags.predict; ++i) {
    hash.update(*logits);
    const int32_t token = sampler.sample(*logits, session.position(0));
    if (token < 0)
      return Error{"every logit is NaN or minus infinity: nothing can be drawn",
                   assay::Exit::negative};
    if (tokenizer && tokenizer->ends_generation(token)) {
      out.finish_reason = "stop";
      break;
    }
    out.tokens.push_back(token);
    sampler.accept(token);
    if (output.add(token)) {
      out.finish_reason = "stop";
      break;
    }
    if (interrupted) {
      out.finish_reason = "interrupted";
      break;
    }
    if (flags.predict >= 0 && i + 1 == flags.predict) break;
    if (session.position(0) == session.context()) {
      fmt::print(stderr, "\nassay: context full: {} positions (-c sets the limit)\n",
                 session.context());
      break;
    }
    logits = session.feed(0, {&token, 1}, Session::Wanted::last);
    if (!logits) return logits.error();
  }
  out.text = output.finish();
  out.generation_rate =
      out.tokens.size() > 1 ? double(out.tokens.size() - 1) / (seconds() - prompt_end) : 0;
  out.logits_hash = hash.hex();
  return out;
}

void print_json(const Session& session, const Flags& flags, const Outcome& out) {
  const auto architecture = session.file().string_value("general.architecture");
  const auto& executor = session.executor();
  nlohmann::ordered_json json = {
      {"schema", "assay.run/1"},
      {"model",
       {{"path", session.file().path()},
        {"sha256", assay::sha256_hex(session.file().bytes())},
        {"architecture", architecture && *architecture ? std::string(**architecture) : ""}}},
      {"device", executor.device()},
      {"isa", executor.isa()},
      {"contract", executor.contract()},
      {"threads", executor.threads()},
      {"seed", flags.sampler.seed},
      {"prompt_tokens", out.prompt},
      {"tokens", out.tokens},
      {"text", out.text},
      {"finish_reason", out.finish_reason},
      {"logits_sha256", out.logits_hash},
      {"timings",
       {{"load_s", out.load},
        {"first_token_s", out.first_token},
        {"prompt_tokens_per_s", out.prompt_rate},
        {"generation_tokens_per_s", out.generation_rate}}},
      {"peak_bytes", peak_bytes()}};
  if (flags.stats) json["stats"] = out.stats;
  fmt::print("{}\n", json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

Result<std::string> read_prompt(const Flags& flags) {
  if (!flags.file.empty()) return read_text(flags.file);
  if (flags.prompt.empty() && !isatty(STDIN_FILENO)) return read_text("-");
  return flags.prompt;
}

int run(Flags flags) {
  if (int(!flags.prompt.empty()) + int(!flags.file.empty()) + int(!flags.tokens.empty()) > 1)
    return report({"give one of -p, -f and --tokens"});
  flags.sampler.seed = flags.seed ? *flags.seed : uint64_t(std::random_device{}());
  const double start = seconds();
  auto session = open_session(flags.model, flags.batch);
  if (!session) return report(session.error());
  Outcome out;
  std::optional<assay::text::Tokenizer> tokenizer;
  auto opened = assay::text::Tokenizer::open(session->file());
  if (opened) tokenizer.emplace(std::move(*opened));
  if (!flags.tokens.empty()) {
    const auto ids = parse_ids(flags.tokens);
    if (!ids) return report(ids.error());
    out.prompt = *ids;
    if (!tokenizer) fmt::print(stderr, "assay: {}; printing token ids\n", opened.error().message);
  } else {
    if (!tokenizer) return report(opened.error());
    const auto text = read_prompt(flags);
    if (!text) return report(text.error());
    out.prompt = tokenizer->encode(*text, {!flags.no_parse_special, !flags.no_bos});
  }
  if (out.prompt.empty())
    return report({"the prompt is empty: give -p TEXT, -f FILE, --tokens IDS, or text on stdin"});
  out.load = seconds() - start;
  fmt::print(stderr, "device: {}; seed {}\n", describe(session->executor()), flags.sampler.seed);
  catch_interrupt();
  auto done = generate(*session, tokenizer ? &*tokenizer : nullptr, flags, std::move(out));
  if (!done) return report(done.error());
  if (flags.json) print_json(*session, flags, *done);
  fmt::print(stderr,
             "load {:.2f} s; prompt {} tokens, {:.1f} t/s, first token after {:.2f} s; generated "
             "{} tokens, {:.1f} t/s; "
             "peak {:.0f} MB\n",
             done->load, done->prompt.size(), done->prompt_rate, done->first_token,
             done->tokens.size(), done->generation_rate, double(peak_bytes()) / 1e6);
  return done->finish_reason == "interrupted" ? int(assay::Exit::interrupted) : 0;
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
  command
      ->add_option("-n,--predict", flags->predict,
                   "most tokens to generate (-1: until the context is full)")
      ->check(CLI::Range(int64_t(-1), int64_t(1) << 40))
      ->capture_default_str();
  command->add_option("-b,--batch", flags->batch, "most prompt tokens in one step")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  auto& s = flags->sampler;
  command->add_option("--temp", s.temperature, "temperature; 0: always the best token")
      ->capture_default_str();
  command->add_option("--top-k", s.top_k, "keep the k best; 0: all")->capture_default_str();
  command->add_option("--top-p", s.top_p, "keep the best that sum to p; 1: all")
      ->capture_default_str();
  command->add_option("--min-p", s.min_p, "keep those above p times the best; 0: all")
      ->capture_default_str();
  command
      ->add_option("--repeat-penalty", s.repeat_penalty,
                   "divides the logits of recent tokens; 1: off")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--frequency-penalty", s.frequency_penalty,
                   "subtracted for each time a token is recent")
      ->capture_default_str();
  command
      ->add_option("--presence-penalty", s.presence_penalty, "subtracted once for a recent token")
      ->capture_default_str();
  command->add_option("--repeat-last-n", s.repeat_last_n, "tokens that are recent; -1: all")
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "seed of the draw (default: random, printed)");
  command->add_option("--stop", flags->stops, "end at this text (may be given several times)")
      ->allow_extra_args(false);
  command->add_flag("--no-parse-special", flags->no_parse_special,
                    "take the spelling of special tokens as plain text");
  command->add_flag("--no-bos", flags->no_bos, "no beginning-of-sequence token");
  command->add_flag("--stats", flags->stats,
                    "after the prompt: RMS, max|x|, min, max, mean, NaN of each layer; top logits");
  command->add_option("--layers", flags->layers,
                      "layers of --stats, comma-separated (default: all)");
  command->add_flag("--json", flags->json, "schema assay.run/1, at the end");
  command->callback([flags, &exit_code] { exit_code = run(*flags); });
}
