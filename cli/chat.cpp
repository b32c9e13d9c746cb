#include "chat.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "chat_template.h"
#include "common.h"
#include "generate.h"
#include "line_editor.h"
#include "run/conversation.h"
#include "sampling.h"
#include "text/chat_prompt.h"
#include "text/tokenizer.h"

using assay::Error;
using assay::Result;
using assay::Status;
using assay::run::Conversation;
using assay::run::Engine;
using assay::run::Sequence;

namespace {

struct Flags {
  ModelFlags model;
  SamplingFlags sampling;
  std::optional<std::string> system, chat_template;
  std::string session;
  int64_t predict = -1;
  uint32_t batch = 512;
};

struct Interrupted {};

/// The conversation, and the sequence that it is run in.
class Chat {
 public:
  Chat(Engine& engine, Sequence sequence, const assay::text::Tokenizer& tokenizer,
       assay::text::ChatTemplate& format, const Flags& flags)
      : engine_(engine),
        sequence_(std::move(sequence)),
        tokenizer_(tokenizer),
        format_(format),
        flags_(flags) {
    conversation.model = engine.file().path();
  }

  Conversation conversation;

  /// Sends a message. Where it can't be answered the conversation stays as it was.
  Status say(const std::string& text) {
    conversation.add("user", text);
    Status answered = answer();
    if (!answered) conversation.remove_last();
    return answered;
  }

  /// Another answer to the last message, drawn with the next seed.
  Status regenerate() {
    const auto before = conversation.messages;
    if (!conversation.drop_answer()) return Error{"there is no message to answer again"};
    ++seeds_used_;
    Status answered = answer();
    if (!answered) conversation.messages = before;
    return answered;
  }

  void print_stats() const {
    fmt::print(stderr, "context: {} of {} positions; {} message{}\n", sequence_.position(),
               engine_.context(), conversation.messages.size(),
               conversation.messages.size() == 1 ? "" : "s");
    if (prompt_tokens_ > 0)
      fmt::print(stderr,
                 "last answer: prompt {} tokens, {} of them kept from before, first token after "
                 "{:.2f} s; generated {}, {:.1f} t/s\n",
                 prompt_tokens_, kept_tokens_, first_token_, generated_.tokens.size(),
                 generated_.rate());
    fmt::print(stderr, "device: {}; seed {}; peak {:.0f} MB\n", describe(engine_),
               flags_.sampling.options.seed + seeds_used_, double(peak_bytes()) / 1e6);
  }

  /// False once nobody reads stdout any more.
  bool writable() const { return writable_; }

 private:
  Status answer();
  Result<std::span<const float>> read_prompt(const std::vector<int32_t>& tokens);

  Engine& engine_;
  Sequence sequence_;
  const assay::text::Tokenizer& tokenizer_;
  assay::text::ChatTemplate& format_;
  const Flags& flags_;
  uint64_t seeds_used_ = 0;
  bool writable_ = true;
  // Of the last answer:
  size_t prompt_tokens_ = 0, kept_tokens_ = 0;
  double first_token_ = 0;
  Generated generated_;
};

/// Runs what the cache does not hold yet; the last token's logits.
Result<std::span<const float>> Chat::read_prompt(const std::vector<int32_t>& tokens) {
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

Status Chat::answer() {
  const auto tokens = assay::text::encode_chat(tokenizer_, format_, conversation.messages,
                                               chat_options(flags_.system));
  if (!tokens) return tokens.error();
  if (tokens->empty()) return Error{"the chat template gives no text for this conversation"};
  if (tokens->size() >= engine_.context())
    return Error{
        fmt::format("context full: the conversation has {} tokens, the limit is {} "
                    "(/clear starts over, -c sets the limit)",
                    tokens->size(), engine_.context())};
  interrupted = false;
  catch_interrupt();
  std::optional<std::span<const float>> logits;
  try {
    const auto read = read_prompt(*tokens);
    if (!read) return read.error();
    logits = *read;
  } catch (const Interrupted&) {
    return Error{"interrupted before the answer; the message was taken back",
                 assay::Exit::interrupted};
  }
  auto options = flags_.sampling.options;
  options.seed += seeds_used_;
  assay::run::Sampler sampler(options);
  for (const int32_t token : *tokens) sampler.accept(token);
  Output output(&tokenizer_, {}, false);
  auto generated =
      generate(engine_, sequence_, &tokenizer_, sampler, *logits, flags_.predict, output);
  if (!generated) return generated.error();
  generated_ = std::move(*generated);
  if (!isatty(STDOUT_FILENO)) fmt::print("\n");  // a terminal has its line end already
  writable_ = output.writable();
  conversation.add("assistant", generated_.text);
  if (generated_.context_full)
    fmt::print(stderr, "assay: context full: {} positions; the answer ends here\n",
               engine_.context());
  else if (generated_.finish_reason == "length")
    fmt::print(stderr, "assay: the answer was cut at {} tokens (-n sets the limit)\n",
               flags_.predict);
  else if (generated_.finish_reason == "interrupted")
    fmt::print(stderr, "assay: interrupted; the answer so far is kept\n");
  return assay::ok();
}

// ---- commands

enum class Next { go_on, quit };

struct Command {
  const char* name;
  const char* help;
  Status (*act)(Chat&, const std::string& argument);
};

std::string file_name(const std::string& argument) {
  const char* home = std::getenv("HOME");
  return argument.starts_with("~/") && home ? home + argument.substr(1) : argument;
}

Status set_system(Chat& chat, const std::string& text) {
  if (text.empty()) {
    const std::string now = chat.conversation.system();
    fmt::print(stderr, "{}\n", now.empty() ? "no system message" : "system: " + now);
  } else {
    chat.conversation.set_system(text == "off" ? "" : text);
  }
  return assay::ok();
}

Status clear(Chat& chat, const std::string&) {
  const std::string system = chat.conversation.system();
  chat.conversation.messages.clear();
  chat.conversation.set_system(system);
  fmt::print(stderr, "the conversation is empty again{}\n",
             system.empty() ? "" : "; the system message stays");
  return assay::ok();
}

Status save_to(Chat& chat, const std::string& argument) {
  if (argument.empty()) return Error{"/save needs the name of a file"};
  if (Status saved = save(chat.conversation, file_name(argument)); !saved) return saved;
  fmt::print(stderr, "saved {} messages to {}\n", chat.conversation.messages.size(),
             file_name(argument));
  return assay::ok();
}

Status load_from(Chat& chat, const std::string& argument) {
  if (argument.empty()) return Error{"/load needs the name of a file"};
  auto loaded = assay::run::load_conversation(file_name(argument));
  if (!loaded) return loaded.error();
  fmt::print(stderr, "loaded {} messages\n", loaded->messages.size());
  if (!loaded->model.empty() && loaded->model != chat.conversation.model)
    fmt::print(stderr, "note: this conversation was held with another model, {}\n",
               escaped(loaded->model));
  chat.conversation.messages = std::move(loaded->messages);
  return assay::ok();
}

Status help(Chat&, const std::string&);

constexpr std::array commands = {
    Command{"system", "TEXT: set the system message; 'off' removes it, no argument shows it",
            set_system},
    Command{"clear", ": forget the conversation, but keep the system message", clear},
    Command{"regen", ": another answer to your last message",
            [](Chat& chat, const std::string&) { return chat.regenerate(); }},
    Command{"save", "FILE: write the conversation as JSON", save_to},
    Command{"load", "FILE: go on with a saved conversation", load_from},
    Command{"stats", ": context, speed, memory",
            [](Chat& chat, const std::string&) {
              chat.print_stats();
              return assay::ok();
            }},
    Command{"help", ": this list", help},
    Command{"quit", ": leave, as Ctrl-D does", nullptr},
};

Status help(Chat&, const std::string&) {
  for (const Command& command : commands)
    fmt::print(stderr, "  /{} {}\n", command.name, command.help);
  fmt::print(stderr,
             "  \"\"\" alone on a line begins and ends a message of many lines\n"
             "  \\ at the end of a line: the next one belongs to the message, too\n"
             "  // at the start sends a line that begins with /\n"
             "  Ctrl-C stops an answer\n");
  return assay::ok();
}

Result<Next> obey(Chat& chat, const std::string& line) {
  const size_t space = std::min(line.find_first_of(" \t"), line.size());
  const std::string name = line.substr(1, space - 1);
  const size_t begin = line.find_first_not_of(" \t", space);
  std::string argument = begin == line.npos ? "" : line.substr(begin);
  while (argument.ends_with(' ')) argument.pop_back();
  for (const Command& command : commands) {
    if (name != command.name) continue;
    if (!command.act) return Next::quit;
    const Status done = command.act(chat, argument);
    if (!done) return done.error();
    return Next::go_on;
  }
  return Error{fmt::format("unknown command '/{}'; /help lists all commands", escaped(name))};
}

/// A message or a command: one line, or what `"""` or `\` join. Empty where the user gave up.
LineEditor::Read read_message(LineEditor& editor, std::string& message) {
  std::string line;
  const auto first = editor.read("> ", message);
  if (first != LineEditor::Read::line) return first;
  const bool block = message == "\"\"\"";
  if (block) message.clear();
  for (bool begun = !block; block || message.ends_with('\\'); begun = true) {
    if (!block) message.back() = '\n';
    const auto next = editor.read(". ", line);
    if (next == LineEditor::Read::interrupt) return next;
    if (next == LineEditor::Read::end || (block && line == "\"\"\"")) break;
    message += (block && begun ? "\n" : "") + line;
  }
  editor.remember(message);
  return LineEditor::Read::line;
}

/// Reads and answers until the end. The exit code: of the last failure where nobody is there to see
/// it, so that a script does.
int converse(Chat& chat, const Flags& flags) {
  LineEditor editor;
  if (editor.interactive()) fmt::print(stderr, "/help lists the commands; Ctrl-D leaves\n");
  std::string message;
  int code = 0;
  while (chat.writable()) {
    const auto read = read_message(editor, message);
    if (read == LineEditor::Read::end) break;
    if (read == LineEditor::Read::interrupt) {
      if (!editor.interactive()) return int(assay::Exit::interrupted);
      continue;
    }
    if (message.find_first_not_of(" \t\r\n") == message.npos) continue;
    Result<Next> next = Next::go_on;
    if (message[0] == '/' && !message.starts_with("//")) {
      next = obey(chat, message);
    } else if (const Status said = chat.say(message[0] == '/' ? message.substr(1) : message);
               !said) {
      next = said.error();
    }
    if (next && !flags.session.empty()) {
      if (const Status saved = save(chat.conversation, flags.session); !saved) next = saved.error();
    }
    if (!next) {
      const int failed = report(next.error());
      if (next.error().exit == assay::Exit::device) return failed;  // it will answer nothing more
      if (!editor.interactive()) code = failed;
    } else if (*next == Next::quit) {
      break;
    }
  }
  return code;
}

int chat(Flags flags) {
  flags.sampling.resolve_seed();
  auto engine = open_engine(flags.model, flags.batch);
  if (!engine) return report(engine.error());
  const auto& tokenizer = open_tokenizer(engine->model());
  if (!tokenizer) return report(tokenizer.error());
  auto format = open_chat_template(engine->file(), flags.chat_template, flags.system);
  if (!format) return report(format.error());
  auto sequence = engine->start();
  if (!sequence) return report(sequence.error());
  Chat chat(*engine, std::move(*sequence), *tokenizer, *format, flags);
  std::error_code ignored;
  if (!flags.session.empty() && std::filesystem::exists(flags.session, ignored)) {
    if (const Status loaded = load_from(chat, flags.session); !loaded)
      return report(loaded.error());
  }
  if (flags.system) chat.conversation.set_system(*flags.system);
  fmt::print(stderr, "device: {}; seed {}\n", describe(*engine), flags.sampling.options.seed);
  return converse(chat, flags);
}

}  // namespace

void add_chat(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "chat", "Talk with a model: lines from the terminal or a pipe, answers to stdout");
  add_model_flags(*command, flags->model);
  command->add_option("--system", flags->system,
                      "system message; '' switches off the template's own");
  add_chat_template_flag(*command, flags->chat_template);
  command
      ->add_option("--session", flags->session,
                   "file of the conversation: loaded if it is there, saved after every answer")
      ->type_name("FILE");
  command
      ->add_option("-n,--predict", flags->predict,
                   "most tokens of an answer (-1: until it ends or the context is full)")
      ->type_name("N")
      ->check(between(-1, 1e12))
      ->capture_default_str();
  add_batch_flag(*command, flags->batch);
  add_sampling_flags(*command, flags->sampling);
  command->callback([flags, &exit_code] { exit_code = chat(*flags); });
}
