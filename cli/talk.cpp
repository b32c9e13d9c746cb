#include "talk.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

#include "common.h"
#include "prompt.h"
#include "run/answer.h"
#include "screen.h"
#include "text/chat_prompt.h"

using assay::Error;
using assay::Result;
using assay::Status;
using assay::run::Conversation;

namespace {

struct Interrupted {};

std::string exchanges(uint64_t count) {
  return count == 1 ? "exchange" : fmt::format("{} exchanges", count);
}

}  // namespace

void add_talk_flags(CLI::App& command, TalkFlags& flags) {
  command
      .add_option("-n,--predict", flags.predict,
                  "most tokens of an answer (-1: until it ends or the context is full)")
      ->type_name("N")
      ->check(between(-1, 1e12))
      ->capture_default_str();
  add_sampling_flags(command, flags.sampling);
  command
      .add_option("--stop", flags.stops, "an answer ends at this text (may be given several times)")
      ->allow_extra_args(false);
  command
      .add_option("--context-full", flags.context_full,
                  "stop, or drop-oldest: leave out the oldest exchanges, which is said")
      ->check(CLI::IsMember({"stop", "drop-oldest"}))
      ->capture_default_str();
  const auto add_switch = [&](const char* name, bool& value, const char* help) {
    command.add_option(name, value, help)->type_name("on|off")->default_str(value ? "on" : "off");
  };
  add_switch("--speed", flags.speed, "a line about the speed after each answer");
  add_switch("--wrap", flags.wrap, "break the lines of answers between words, on a terminal");
  add_switch("--special", flags.special, "show control tokens in answers, too");
}

Talk::Talk(assay::run::Engine& engine, assay::run::Sequence sequence,
           const assay::text::Tokenizer& tokenizer, const assay::text::ChatTemplate& format,
           LineEditor& editor, TalkFlags settings)
    : flags(std::move(settings)),
      engine_(engine),
      sequence_(std::move(sequence)),
      tokenizer_(tokenizer),
      format_(format),
      editor_(editor),
      describe_(describe(engine)) {}

Status Talk::say(const std::string& text) {
  conversation.add("user", text);
  warn_of_messages(tokenizer_, nlohmann::ordered_json::array({conversation.messages.back()}));
  const uint64_t left_out = conversation.left_out;
  Status answered = answer();
  if (!answered) {
    conversation.remove_last();
    conversation.left_out = left_out;
  }
  return answered;
}

Status Talk::regenerate() {
  const Conversation before = conversation;
  if (!conversation.drop_answer()) return Error{"there is no message to answer again"};
  ++seeds_used_;
  Status answered = answer();
  if (!answered) conversation = before;
  return answered;
}

Status Talk::undo() {
  if (!replaced_.empty()) {
    conversation = std::move(replaced_.back());
    replaced_.pop_back();
    if (session && replaced_.empty()) session->go_on();
    fmt::print(stderr, "the conversation before is back: {} messages\n",
               conversation.messages.size());
    return assay::ok();
  }
  if (!conversation.undo()) return Error{"there is no exchange to take back"};
  fmt::print(stderr, "took back the last exchange; {} messages are left\n",
             conversation.messages.size());
  return assay::ok();
}

Status Talk::leave_out(uint64_t count) {
  const uint64_t shown = conversation.exchanges() - conversation.left_out;
  if (count == 0 || count > shown)
    return Error{
        fmt::format("/drop takes a number from 1 to {}, the exchanges that the model sees", shown)};
  conversation.left_out += count;
  fmt::print(stderr, "the model no longer sees the oldest {}; the conversation keeps {}\n",
             exchanges(count), count == 1 ? "it" : "them");
  return assay::ok();
}

void Talk::replace(Conversation other) {
  replaced_.push_back(std::move(conversation));
  conversation = std::move(other);
  if (session) session->begin_another();
}

Status Talk::save() {
  if (!session || !replaced_.empty()) return assay::ok();
  const auto copy = session->save(conversation);
  if (!copy) return copy.error();
  if (!copy->empty())
    fmt::print(stderr, "the conversation that '{}' held before is kept in '{}'\n", session->path(),
               *copy);
  return assay::ok();
}

void Talk::restart_seed() {
  flags.sampling.resolve_seed();
  seeds_used_ = 0;
}

void Talk::print_stats() const {
  fmt::print(stderr, "context: {} of {} positions; {} message{}", sequence_.position(), context(),
             conversation.messages.size(), conversation.messages.size() == 1 ? "" : "s");
  if (conversation.left_out > 0)
    fmt::print(stderr, ", of which the model does not see the oldest {}",
               exchanges(conversation.left_out));
  fmt::print(stderr, "\n");
  if (prompt_tokens_ > 0)
    fmt::print(stderr,
               "last answer: prompt {} tokens, {} of them kept from before, first token after "
               "{:.2f} s; generated {}, {:.1f} t/s\n",
               prompt_tokens_, kept_tokens_, first_token_, generated_.tokens.size(),
               generated_.rate());
  fmt::print(stderr, "device: {}; seed {}; peak {:.0f} MB\n", describe_,
             flags.sampling.options.seed + seeds_used_, double(peak_bytes()) / 1e6);
}

void Talk::print_speed() const {
  const size_t read = prompt_tokens_ - kept_tokens_;
  fmt::print(stderr, "[read {} tokens, {:.1f} t/s; wrote {} tokens, {:.1f} t/s]\n", read,
             first_token_ > 0 ? double(read) / first_token_ : 0, generated_.tokens.size(),
             generated_.rate());
}

Result<std::vector<int32_t>> Talk::encode() const {
  auto options = template_options;
  options.control_tokens = true;
  auto tokens = assay::text::encode_chat(tokenizer_, format_, conversation.shown(), options);
  if (tokens && tokens->empty())
    return Error{"the chat template gives no text for this conversation"};
  return tokens;
}

/// The tokens of what the model is shown. If it is to drop the oldest exchanges, it leaves out as
/// few as possible of them so that an answer has room.
Result<std::vector<int32_t>> Talk::encode_what_fits() {
  auto tokens = encode();
  if (!tokens) return tokens;
  const uint64_t limit = context(), asked = flags.predict < 0 ? limit / 4 : uint64_t(flags.predict);
  const bool may_drop = flags.context_full == "drop-oldest";
  const uint64_t room =
      may_drop ? std::clamp<uint64_t>(asked, 1, std::max<uint64_t>(1, limit / 2)) : 1;
  // Fewer exchanges, fewer tokens: the smallest number that fits is found by halving.
  uint64_t first = conversation.left_out + 1, last = conversation.exchanges() - 1;
  if (may_drop && tokens->size() + room > limit && first <= last) {
    while (first < last) {
      conversation.left_out = (first + last) / 2;
      tokens = encode();
      if (!tokens) return tokens;
      if (tokens->size() + room > limit)
        first = conversation.left_out + 1;
      else
        last = conversation.left_out;
    }
    conversation.left_out = last;
    tokens = encode();
    if (!tokens) return tokens;
    fmt::print(stderr,
               "assay: context full: the model no longer sees the oldest {} of {}; the "
               "conversation keeps {}\n",
               exchanges(last), conversation.exchanges(), last == 1 ? "it" : "them");
  }
  if (tokens->size() < limit) return tokens;
  return Error{
      fmt::format("context full: the conversation has {} tokens, the limit is {}; this message was "
                  "not sent (/drop N leaves out the N oldest exchanges, /undo takes back the last "
                  "one, /clear starts over, -c sets the limit)",
                  tokens->size(), limit)};
}

/// Runs what the cache does not hold yet; the last token's logits.
Result<std::span<const float>> Talk::read_prompt(const std::vector<int32_t>& tokens) {
  const auto rest = sequence_.continue_with(tokens);
  prompt_tokens_ = tokens.size();
  kept_tokens_ = tokens.size() - rest.size();
  Progress bar("prompt");
  const double start = seconds();
  const auto logits = engine_.feed(sequence_, rest, assay::run::Wanted::last, [&](auto) {
    const uint32_t done = sequence_.position();
    bar.show(done - kept_tokens_, rest.size());
    if (interrupted && done < tokens.size()) throw Interrupted{};
  });
  first_token_ = seconds() - start;
  return logits;
}

bool Talk::begins_with_thoughts(const std::vector<int32_t>& tokens) const {
  std::string end;
  for (const int32_t token : std::span(tokens).last(std::min<size_t>(tokens.size(), 32)))
    end += tokenizer_.piece(token);
  return assay::run::opens_thoughts(end);
}

Status Talk::answer() {
  const auto tokens = encode_what_fits();
  if (!tokens) return tokens.error();
  editor_.listen();
  std::optional<std::span<const float>> logits;
  try {
    const auto read = read_prompt(*tokens);
    if (!read) return read.error();
    logits = *read;
  } catch (const Interrupted&) {
    return Error{"interrupted before the answer; the message was taken back",
                 assay::Exit::interrupted};
  }
  auto options = flags.sampling.options;
  options.seed += seeds_used_;
  options.banned = tokenizer_.suppressed();
  assay::run::Sampler sampler(options);
  for (const int32_t token : *tokens) sampler.accept(token);
  std::optional<Screen> screen;
  const bool thinking = begins_with_thoughts(*tokens);
  if (isatty(STDOUT_FILENO))
    screen.emplace(Screen::Options{
        .wrap = flags.wrap, .thinking = thinking, .waiting = [this] { return editor_.waiting(); }});
  Output output(
      &tokenizer_,
      {.stops = flags.stops, .special = flags.special, .screen = screen ? &*screen : nullptr});
  auto generated =
      generate(engine_, sequence_, &tokenizer_, sampler, *logits, flags.predict, output);
  if (screen) screen->finish();
  if (!generated) return generated.error();
  generated_ = std::move(*generated);
  if (!screen) fmt::print("\n");
  writable_ = output.writable();
  conversation.messages.push_back(
      assay::run::answer_message(generated_.raw_text, generated_.controls, thinking));
  conversation.model = model();
  replaced_.clear();
  tell_end();
  if (flags.speed) print_speed();
  return assay::ok();
}

/// Why the answer ended, where it didn't end by itself.
void Talk::tell_end() const {
  if (generated_.context_full)
    fmt::print(stderr,
               "assay: context full: {} positions; the answer ends here (/drop N leaves out the N "
               "oldest exchanges)\n",
               context());
  else if (generated_.finish_reason == "length")
    fmt::print(stderr, "assay: the answer was cut at {} tokens (-n sets the limit)\n",
               flags.predict);
  else if (generated_.finish_reason == "interrupted")
    fmt::print(stderr, "assay: interrupted; the answer so far is kept\n");
}
