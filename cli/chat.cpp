#include "chat.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <filesystem>

#include "chat_template.h"
#include "common.h"
#include "history_file.h"
#include "prompt.h"
#include "talk.h"

using assay::Error;
using assay::Result;
using assay::Status;
using assay::run::Conversation;

namespace {

struct Flags {
  ModelFlags model;
  TalkFlags talk;
  std::optional<std::string> system, chat_template;
  std::string session;
  uint32_t batch = 512;
  bool history = true;
};

// ---- commands

enum class Next { go_on, quit };

struct Command {
  const char* name;
  const char* help;
  Status (*act)(Talk&, const std::string& argument);
};

std::string file_name(const std::string& argument) {
  const char* home = std::getenv("HOME");
  return argument.starts_with("~/") && home ? home + argument.substr(1) : argument;
}

Status set_system(Talk& talk, const std::string& text) {
  if (text.empty()) {
    const std::string now = talk.conversation.system();
    fmt::print(stderr, "{}\n", now.empty() ? "no system message" : "system: " + now);
  } else {
    talk.conversation.set_system(text == "off" ? "" : text);
  }
  return assay::ok();
}

/// What becomes of the session's file once the conversation in it was replaced.
void tell_session(const Talk& talk) {
  if (!talk.session) return;
  fmt::print(stderr, "'{}' keeps the conversation before until the next answer, which copies it\n",
             talk.session->path());
}

Status clear(Talk& talk, const std::string&) {
  const std::string system = talk.conversation.system();
  Conversation empty;
  empty.set_system(system);
  talk.replace(std::move(empty));
  fmt::print(stderr, "the conversation is empty again{} (/undo brings it back)\n",
             system.empty() ? "" : "; the system message stays");
  tell_session(talk);
  return assay::ok();
}

Status save_to(Talk& talk, const std::string& argument, bool replace) {
  if (argument.empty()) return Error{"/save needs the name of a file"};
  const std::string path = file_name(argument);
  std::error_code ignored;
  if (!replace && std::filesystem::is_regular_file(path, ignored))
    return Error{fmt::format("'{}' exists; /save! {} replaces it", path, argument)};
  if (Status saved = save(talk.conversation, path); !saved) return saved;
  fmt::print(stderr, "saved {} messages to {}\n", talk.conversation.messages.size(), path);
  return assay::ok();
}

void tell_loaded(const Talk& talk, const Conversation& loaded) {
  fmt::print(stderr, "loaded {} messages\n", loaded.messages.size());
  if (!loaded.model.empty() && loaded.model != talk.model())
    fmt::print(stderr, "note: this conversation was held with another model, {}\n",
               escaped(loaded.model));
  if (loaded.last_role() == "user")
    fmt::print(stderr, "note: its last message has no answer; /regen gives one\n");
}

Status load_from(Talk& talk, const std::string& argument) {
  if (argument.empty()) return Error{"/load needs the name of a file"};
  auto loaded = assay::run::load_conversation(file_name(argument));
  if (!loaded) return loaded.error();
  tell_loaded(talk, *loaded);
  talk.replace(std::move(*loaded));
  tell_session(talk);
  return assay::ok();
}

Status drop(Talk& talk, const std::string& argument) {
  uint64_t count = 0;
  const char* end = argument.data() + argument.size();
  const auto read = std::from_chars(argument.data(), end, count);
  return talk.leave_out(read.ec == std::errc() && read.ptr == end ? count : 0);
}

/// The names that /set takes and what they are now.
struct Settings {
  CLI::App parser;
  TalkFlags changed;
  explicit Settings(const TalkFlags& flags) : changed(flags) {
    parser.set_help_flag();
    add_talk_flags(parser, changed);
  }
};

Status show(Talk& talk, const std::string&) {
  fmt::print(stderr, "model: {}\ndevice: {}\ncontext: {} positions\n", talk.model(), talk.device(),
             talk.context());
  if (talk.session) fmt::print(stderr, "session: {}\n", talk.session->path());
  const std::string system = talk.conversation.system();
  fmt::print(stderr, "system: {}\n", system.empty() ? "none" : system);
  Settings settings(talk.flags);
  for (const CLI::Option* option : settings.parser.get_options()) {
    const std::string& name = option->get_lnames().at(0);
    std::string value = option->get_default_str();
    if (name == "stop")
      value = talk.flags.stops.empty() ? "none" : fmt::format("'{}'", talk.flags.stops[0]);
    if (name == "seed") value = fmt::format("{}", talk.flags.sampling.options.seed);
    fmt::print(stderr, "  {:<18} {:<10} {}\n", name, value, option->get_description());
  }
  return assay::ok();
}

Status set(Talk& talk, const std::string& argument) {
  const size_t space = argument.find(' ');
  const std::string name = argument.substr(0, space);
  if (name.empty()) return show(talk, "");
  Settings settings(talk.flags);
  if (!settings.parser.get_option_no_throw("--" + name))
    return Error{fmt::format("there is no setting '{}'; /show lists all", name)};
  if (space == argument.npos) return Error{fmt::format("/set {} needs a value", name)};
  std::string value = argument.substr(argument.find_first_not_of(' ', space));
  if (name == "stop" && value == "off") {
    settings.changed.stops.clear();
  } else {
    std::vector<std::string> line = {fmt::format("--{}={}", name, value)};
    try {
      settings.parser.parse(line);
    } catch (const CLI::ParseError& error) {
      return Error{error.what()};
    }
  }
  talk.flags = settings.changed;
  if (name == "seed") talk.restart_seed();
  return assay::ok();
}

Status help(Talk&, const std::string&);

constexpr std::array commands = {
    Command{"system", "TEXT: set the system message; 'off' removes it, no argument shows it",
            set_system},
    Command{"clear", ": forget the conversation, but keep the system message", clear},
    Command{"regen", ": another answer to your last message",
            [](Talk& talk, const std::string&) { return talk.regenerate(); }},
    Command{"undo", ": take back your last message and its answer; or /clear, or /load",
            [](Talk& talk, const std::string&) { return talk.undo(); }},
    Command{"drop", "N: the model no longer sees the N oldest exchanges", drop},
    Command{"set", "NAME VALUE: for the next answers, as /set temp 0.2", set},
    Command{"show", ": the model and all settings", show},
    Command{"save", "FILE: write the conversation as JSON, to a file that is not there yet",
            [](Talk& talk, const std::string& file) { return save_to(talk, file, false); }},
    Command{"save!", "FILE: the same, and replace what the file holds",
            [](Talk& talk, const std::string& file) { return save_to(talk, file, true); }},
    Command{"load", "FILE: go on with a saved conversation", load_from},
    Command{"stats", ": context, speed, memory",
            [](Talk& talk, const std::string&) {
              talk.print_stats();
              return assay::ok();
            }},
    Command{"help", ": this list", help},
    Command{"quit", ": leave, as Ctrl-D, /bye and /exit do", nullptr},
    Command{"bye", "", nullptr},
    Command{"exit", "", nullptr},
};

Status help(Talk&, const std::string&) {
  for (const Command& command : commands)
    if (*command.help) fmt::print(stderr, "  /{} {}\n", command.name, command.help);
  fmt::print(
      stderr,
      "  \"\"\" alone on a line begins and ends a message of many lines; a pasted text is one "
      "message, too\n"
      "  \\ at the end of a line: the next one belongs to the message, too\n"
      "  // at the start sends a line that begins with /\n"
      "  Tab completes a command\n"
      "  Ctrl-C stops an answer\n");
  return assay::ok();
}

/// What Tab completes.
std::vector<std::string> command_words() {
  std::vector<std::string> words;
  for (const Command& command : commands) words.push_back(fmt::format("/{}", command.name));
  const TalkFlags flags;
  Settings settings(flags);
  for (const CLI::Option* option : settings.parser.get_options())
    words.push_back("/set " + option->get_lnames().at(0));
  return words;
}

Result<Next> obey(Talk& talk, const std::string& line) {
  const size_t space = std::min(line.find_first_of(" \t\n"), line.size());
  const std::string name = line.substr(1, space - 1);
  const size_t begin = line.find_first_not_of(" \t\n", space);
  std::string argument = begin == line.npos ? "" : line.substr(begin);
  while (argument.ends_with(' ')) argument.pop_back();
  for (const Command& command : commands) {
    if (name != command.name) continue;
    if (!command.act) return Next::quit;
    const Status done = command.act(talk, argument);
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
    if (next == LineEditor::Read::interrupt) {
      message += (block && begun ? "\n" : "") + line;
      return next;
    }
    if (next == LineEditor::Read::end || (block && line == "\"\"\"")) break;
    message += (block && begun ? "\n" : "") + line;
  }
  editor.remember(message);
  return LineEditor::Read::line;
}

/// Reads and answers until the end. The exit code: of the last failure where nobody is there to see
/// it, so that a script does.
int converse(Talk& talk, LineEditor& editor) {
  if (editor.interactive()) fmt::print(stderr, "/help lists the commands; Ctrl-D leaves\n");
  std::string message;
  int code = 0;
  while (talk.writable()) {
    const auto read = read_message(editor, message);
    if (read == LineEditor::Read::end) break;
    if (read == LineEditor::Read::interrupt) {
      if (!editor.interactive()) return int(assay::Exit::interrupted);
      if (message.empty()) fmt::print(stderr, "Ctrl-D or /bye leaves\n");
      editor.remember(message);  // arrow up brings it back
      continue;
    }
    if (message.find_first_not_of(" \t\r\n") == message.npos) continue;
    Result<Next> next = Next::go_on;
    if (message[0] == '/' && !message.starts_with("//")) {
      next = obey(talk, message);
    } else if (const Status said = talk.say(message[0] == '/' ? message.substr(1) : message);
               !said) {
      next = said.error();
    }
    if (next) {
      if (const Status saved = talk.save(); !saved) next = saved.error();
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

int chat(const Flags& flags) {
  std::optional<assay::run::SessionFile> session;
  if (!flags.session.empty()) {
    auto opened = assay::run::SessionFile::open(flags.session);
    if (!opened) return report(opened.error());
    session = std::move(*opened);
  }
  auto engine = open_engine(flags.model, flags.batch);
  if (!engine) return report(engine.error());
  const auto& tokenizer = open_tokenizer(engine->model());
  if (!tokenizer) return report(tokenizer.error());
  const auto format = open_chat_template(engine->file(), flags.chat_template, flags.system);
  if (!format) return report(format.error());
  auto sequence = engine->start();
  if (!sequence) return report(sequence.error());
  LineEditor editor(flags.history ? default_history_file() : "", command_words());
  Talk talk(*engine, std::move(*sequence), *tokenizer, *format, editor, flags.talk);
  talk.restart_seed();
  if (session && session->loaded()) {
    talk.conversation = *session->loaded();
    tell_loaded(talk, talk.conversation);
    warn_of_messages(*tokenizer, talk.conversation.messages);
  }
  talk.session = std::move(session);
  talk.template_options = chat_options(flags.system);
  if (const std::string before = talk.conversation.system(); flags.system) {
    if (!before.empty() && before != *flags.system)
      fmt::print(stderr, "note: --system replaces the session's system message '{}'\n",
                 escaped(before));
    talk.conversation.set_system(*flags.system);
  }
  note_turn_end(*tokenizer, *format, flags.talk.stops);
  fmt::print(stderr, "device: {}; seed {}\n", talk.device(), talk.flags.sampling.options.seed);
  return converse(talk, editor);
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
      ->add_option("--history", flags->history,
                   "keep what you type for the arrow keys of later chats, in a file of yours")
      ->type_name("on|off")
      ->default_str("on");
  add_batch_flag(*command, flags->batch);
  add_talk_flags(*command, flags->talk);
  command->callback([flags, &exit_code] { exit_code = chat(*flags); });
}
