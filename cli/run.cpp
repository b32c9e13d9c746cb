#include "run.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
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
  std::optional<std::string> prompt, tokens;
  std::string file, layers;
  std::vector<std::string> stops;
  int64_t predict = 512;
  uint32_t batch = 512;
  assay::run::SamplerOptions sampler;
  std::string seed = "-1";
  bool json = false, stats = false, no_parse_special = false, no_bos = false;
};

struct Outcome {
  std::vector<int32_t> prompt, tokens;
  std::string text, finish_reason = "length";
  bool context_full = false;
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
    return text_;
  }
  /// False once stdout has refused the text: nobody is left to generate for.
  bool writable() const { return writable_; }

 private:
  void emit(const std::string& text) {
    text_ += text;
    if (quiet_ || text.empty() || !writable_) return;
    fmt::print("{}", text);
    writable_ = bool(flush_output());
  }
  const assay::text::Tokenizer* tokenizer_;
  assay::text::Detokenizer detokenizer_;
  assay::run::StopStrings stops_;
  std::string text_;
  bool quiet_, writable_ = true;
};

struct Interrupted {};

/// Runs the prompt with a progress bar; the last token's logits.
Result<std::span<const float>> run_prompt(Session& session, const Flags& flags, const Outcome& out,
                                          LayerStats* stats) {
  Progress bar("prompt");
  uint64_t done = 0;
  assay::op::Sink sink;
  if (stats) sink = [&](const auto& operation, auto output) { stats->see(operation, output); };
  // Ctrl-C between two steps leaves through the session, which is not used afterwards.
  return session.feed(
      0, out.prompt, Session::Wanted::last,
      [&](auto) {
        bar.show(done = std::min<uint64_t>(done + flags.batch, out.prompt.size()),
                 out.prompt.size());
        if (interrupted && done < out.prompt.size()) throw Interrupted{};
      },
      sink);
}

/// Draws tokens until the end of generation, a stop string, the limit, a full context or Ctrl-C.
assay::Status generate(Session& session, const assay::text::Tokenizer* tokenizer,
                       const Flags& flags, std::optional<LayerStats> stats, Outcome& out) {
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
    if (!output.writable()) break;  // main tells why
    if (interrupted) {
      out.finish_reason = "interrupted";
      break;
    }
    if (flags.predict >= 0 && i + 1 == flags.predict) break;
    if (session.position(0) == session.context()) {
      out.context_full = true;
      break;
    }
    logits = session.feed(0, {&token, 1}, Session::Wanted::last);
    if (!logits) return logits.error();
  }
  out.text = output.finish();
  out.generation_rate =
      out.tokens.size() > 1 ? double(out.tokens.size() - 1) / (seconds() - prompt_end) : 0;
  out.logits_hash = hash.hex();
  return assay::ok();
}

/// In pieces that are given back at once: hashing must not make the whole file resident.
std::string file_hash(const assay::gguf::File& file) {
  constexpr size_t piece = size_t(4) << 20;
  assay::Sha256 hash;
  const std::span<const uint8_t> bytes = file.bytes();
  for (size_t at = 0; at < bytes.size(); at += piece) {
    const auto part = bytes.subspan(at, std::min(piece, bytes.size() - at));
    hash.update(part);
    file.release(part);
  }
  return hash.hex();
}

void print_json(const Session& session, const Flags& flags, const Outcome& out) {
  const auto architecture = session.file().string_value("general.architecture");
  const auto& executor = session.executor();
  nlohmann::ordered_json json = {
      {"schema", "assay.run/1"},
      {"model",
       {{"path", session.file().path()},
        {"sha256", file_hash(session.file())},
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

/// The text to continue, or nothing where --tokens gives ids.
Result<std::string> read_prompt(const Flags& flags) {
  if (flags.tokens) return std::string();
  if (flags.prompt) return *flags.prompt;
  if (!flags.file.empty()) return read_text(flags.file);
  return isatty(STDIN_FILENO) ? std::string() : read_text("-");
}

/// The layers of --stats, checked against the model's.
Result<std::optional<LayerStats>> make_stats(const Flags& flags, const Session& session) {
  if (!flags.stats) return std::optional<LayerStats>();
  const auto layers = parse_ids(flags.layers);
  if (!layers) return Error{"--layers: " + layers.error().message};
  int32_t count = 0;
  for (const auto& operation : session.program().operations)
    if (operation.name == fmt::format("blk.{}.out", operation.layer))
      count = std::max(count, int32_t(operation.layer) + 1);
  for (int32_t layer : *layers)
    if (layer >= count)
      return Error{fmt::format("--layers: no layer {}, the model has 0 to {}", layer, count - 1)};
  return std::optional<LayerStats>(std::set<int32_t>(layers->begin(), layers->end()));
}

void print_summary(const Session& session, const Outcome& done) {
  if (done.context_full)
    fmt::print(stderr, "assay: context full: {} positions (-c sets the limit)\n",
               session.context());
  const auto tokens = [](size_t n) { return fmt::format("{} token{}", n, n == 1 ? "" : "s"); };
  fmt::print(stderr,
             "load {:.2f} s; prompt {}, {:.1f} t/s, first token after {:.2f} s; generated {}",
             done.load, tokens(done.prompt.size()), done.prompt_rate, done.first_token,
             tokens(done.tokens.size()));
  if (done.tokens.size() > 1) fmt::print(stderr, ", {:.1f} t/s", done.generation_rate);
  fmt::print(stderr, "; peak {:.0f} MB\n", double(peak_bytes()) / 1e6);
}

int run(Flags flags) {
  if (int(flags.prompt.has_value()) + int(!flags.file.empty()) + int(flags.tokens.has_value()) > 1)
    return report({"give one of -p, -f and --tokens"});
  flags.sampler.seed = flags.seed == "-1" ? uint64_t(std::random_device{}())
                                          : std::strtoull(flags.seed.c_str(), nullptr, 10);
  const auto ids = parse_ids(flags.tokens.value_or(""));
  if (!ids) return report(ids.error());
  const auto text = read_prompt(flags);
  if (!text) return report(text.error());
  const double start = seconds();
  auto session = open_session(flags.model, flags.batch);
  if (!session) return report(session.error());
  auto stats = make_stats(flags, *session);
  if (!stats) return report(stats.error());
  Outcome out;
  auto tokenizer = assay::text::Tokenizer::open(session->file());
  if (!tokenizer && !flags.tokens) return report(tokenizer.error());
  if (flags.tokens)
    out.prompt = *ids;
  else
    out.prompt = tokenizer->encode(*text, {!flags.no_parse_special, !flags.no_bos});
  if (out.prompt.empty())
    return report({"the prompt is empty: give -p TEXT, -f FILE, --tokens IDS, or text on stdin"});
  if (!tokenizer) fmt::print(stderr, "assay: {}; printing token ids\n", tokenizer.error().message);
  out.load = seconds() - start;
  fmt::print(stderr, "device: {}; seed {}\n", describe(session->executor()), flags.sampler.seed);
  catch_interrupt();
  try {
    const auto done =
        generate(*session, tokenizer ? &*tokenizer : nullptr, flags, std::move(*stats), out);
    if (!done) return report(done.error());
  } catch (const Interrupted&) {
    out.finish_reason = "interrupted";
    out.logits_hash = assay::trace::LogitsHash().hex();
  }
  if (flags.json) print_json(*session, flags, out);
  print_summary(*session, out);
  return out.finish_reason == "interrupted" ? int(assay::Exit::interrupted) : 0;
}

}  // namespace

void add_run(CLI::App& app, int& exit_code) {
  const CLI::Validator seed_text(
      [](std::string& text) -> std::string {
        uint64_t seed = 0;
        const char* end = text.data() + text.size();
        const auto parsed = std::from_chars(text.data(), end, seed);
        if (text == "-1" || (parsed.ec == std::errc() && parsed.ptr == end)) return {};
        return fmt::format("'{}' is neither a whole number from 0 to 2^64 - 1 nor -1", text);
      },
      "");
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
      ->type_name("N")
      ->check(between(-1, 1e12))
      ->capture_default_str();
  command->add_option("-b,--batch", flags->batch, "most prompt tokens in one step")
      ->type_name("N")
      ->check(between(1, 65536))
      ->capture_default_str();
  auto& s = flags->sampler;
  command->add_option("--temp", s.temperature, "temperature; 0: always the best token")
      ->type_name("X")
      ->check(between(0, 1e3))
      ->capture_default_str();
  command->add_option("--top-k", s.top_k, "keep the k best; 0: all")
      ->type_name("N")
      ->check(between(0, 1e9))
      ->capture_default_str();
  command->add_option("--top-p", s.top_p, "keep the best that sum to p; 1: all")
      ->type_name("P")
      ->check(between(0, 1))
      ->capture_default_str();
  command->add_option("--min-p", s.min_p, "keep those above p times the best; 0: all")
      ->type_name("P")
      ->check(between(0, 1))
      ->capture_default_str();
  command
      ->add_option("--repeat-penalty", s.repeat_penalty,
                   "divides the logits of recent tokens; 1: off")
      ->type_name("X")
      ->check(between(1e-3, 1e3))
      ->capture_default_str();
  command
      ->add_option("--frequency-penalty", s.frequency_penalty,
                   "subtracted for each time a token is recent")
      ->type_name("X")
      ->check(between(-1e3, 1e3))
      ->capture_default_str();
  command
      ->add_option("--presence-penalty", s.presence_penalty, "subtracted once for a recent token")
      ->type_name("X")
      ->check(between(-1e3, 1e3))
      ->capture_default_str();
  command->add_option("--repeat-last-n", s.repeat_last_n, "tokens that are recent; -1: all")
      ->type_name("N")
      ->check(between(-1, 1e9))
      ->capture_default_str();
  command->add_option("--seed", flags->seed, "seed of the draw; -1: random, printed")
      ->type_name("N")
      ->check(seed_text)
      ->capture_default_str();
  command->add_option("--stop", flags->stops, "end at this text (may be given several times)")
      ->allow_extra_args(false);
  command->add_flag("--no-parse-special", flags->no_parse_special,
                    "take the spelling of special tokens as plain text");
  command->add_flag("--no-bos", flags->no_bos, "no beginning-of-sequence token");
  command->add_flag("--stats", flags->stats,
                    "after the prompt: RMS, max|x|, min, max, mean, NaN of each layer; top logits");
  CLI::Option* layers = command->add_option("--layers", flags->layers,
                                            "layers of --stats, comma-separated (default: all)");
  command->add_flag("--json", flags->json, "schema assay.run/1, at the end");
  layers->needs("--stats");
  command->callback([flags, &exit_code] { exit_code = run(*flags); });
}
