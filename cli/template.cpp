#include "template.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "common.h"
#include "gguf/file.h"
#include "jinja/read_json.h"
#include "text/chat_template.h"
#include "text/named_templates.h"

using assay::Error;
using assay::Result;
using assay::text::ChatTemplate;

namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::string source, messages, tools, name, date;
  std::vector<std::string> variables;
  bool generation_prompt = false, no_generation_prompt = false, json = false;
};

/// The JSON of a file, or of standard input for "-". Errors name the place.
Result<Json> read_json_file(const std::string& path) {
  const auto text = read_text(path);
  if (!text) return text.error();
  auto json = assay::jinja::read_json(*text);
  if (!json)
    return Error{
        fmt::format("{}: {}", path == "-" ? "standard input" : path, json.error().message)};
  return json;
}

/// A list that stands alone or is the member `key` of an object.
Result<Json> list_of(const Json& json, const std::string& path, const char* key) {
  if (json.is_array()) return json;
  if (json.is_object() && json.contains(key) && json[key].is_array()) return json[key];
  return Error{
      fmt::format("{}: expected a list of {} or an object {{\"{}\": [ … ]}}", path, key, key)};
}

/// NAME=JSON of --set.
assay::Status set_variable(Json& variables, const std::string& text) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == text.npos)
    return Error{fmt::format("--set {}: expected NAME=JSON, as in --set enable_thinking=false",
                             escaped(text))};
  const std::string name = text.substr(0, equals);
  auto value = assay::jinja::read_json(std::string_view(text).substr(equals + 1));
  if (!value)
    return Error{
        fmt::format("--set {0}: the value is not JSON; a text needs quotes: --set "
                    "{1}='\"…\"', and Python's True is true",
                    escaped(text), escaped(name))};
  variables[name] = std::move(*value);
  return assay::ok();
}

/// The template of a file in Jinja, of a model, or of a name; and what to call it in errors.
struct Source {
  ChatTemplate chat;
  std::string called;
};
Result<Source> open_template(const Flags& flags) {
  if (!flags.source.empty() && flags.name.empty()) {
    if (const auto known = assay::text::named_template(flags.source))
      return Source{std::move(*ChatTemplate::compile(*known, {})), flags.source};
  }
  std::string start;
  std::error_code failed;
  const bool regular = std::filesystem::is_regular_file(flags.source, failed);
  if (FILE* file = regular ? std::fopen(flags.source.c_str(), "rb") : nullptr) {
    start.resize(4);
    start.resize(std::fread(start.data(), 1, 4, file));
    std::fclose(file);
  }
  if (flags.source == "-" || (regular && start != "GGUF")) {
    const auto source = read_text(flags.source);
    if (!source) return source.error();
    auto made = ChatTemplate::compile(*source, {});
    if (!made) return Error{fmt::format("{}: {}", flags.source, made.error().message)};
    return Source{std::move(*made), flags.source};
  }
  const auto path = resolve_model(flags.source);
  if (!path) return path.error();
  const auto file = assay::gguf::File::open(*path);
  if (!file) return file.error();
  auto made = ChatTemplate::open(*file, flags.name);
  if (!made) return made.error();
  return Source{std::move(*made), *path};
}

struct Input {
  Json messages;
  assay::text::ChatOptions options;
};

Result<Input> read_input(const Flags& flags) {
  Input input;
  const auto messages = read_json_file(flags.messages);
  if (!messages) return messages.error();
  auto list = list_of(*messages, flags.messages, "messages");
  if (!list) return list.error();
  input.messages = std::move(*list);
  input.options.add_generation_prompt = !flags.no_generation_prompt;
  if (!flags.tools.empty()) {
    const auto tools = read_json_file(flags.tools);
    if (!tools) return tools.error();
    auto offered = list_of(*tools, flags.tools, "tools");
    if (!offered) return offered.error();
    input.options.tools = std::move(*offered);
  } else if (messages->is_object() && messages->contains("tools")) {
    input.options.tools = (*messages)["tools"];
  }
  input.options.extra = Json::object();
  if (messages->is_object()) {
    if (const auto found = messages->find("documents"); found != messages->end())
      input.options.extra["documents"] = *found;
    if (const auto found = messages->find("chat_template_kwargs");
        found != messages->end() && found->is_object())
      input.options.extra.update(*found);
  }
  for (const std::string& each : flags.variables) {
    if (const auto set = set_variable(input.options.extra, each); !set) return set.error();
  }
  if (!flags.date.empty()) {
    input.options.now = assay::jinja::parse_date(flags.date);
    if (!input.options.now) return Error{"--date: expected YYYY-MM-DD or 'YYYY-MM-DD HH:MM:SS'"};
  }
  return input;
}

int render(const Flags& flags) {
  const auto made = open_template(flags);
  if (!made) return report(made.error());
  const auto input = read_input(flags);
  if (!input) return report(input.error());
  const ChatTemplate& chat = made->chat;
  const auto rendering = chat.render(input->messages, input->options);
  if (!rendering)
    return report(Error{fmt::format("{}: {}", made->called, rendering.error().message)});
  if (!chat.name().empty())
    fmt::print(stderr, "assay: the file's chat template is only the name '{}'\n", chat.name());
  if (!rendering->has_question)
    fmt::print(stderr, "assay: the template leaves out the user's last message\n");
  if (!flags.json) {
    fmt::print("{}", rendering->text);
    return 0;
  }
  Json quoted = Json::array();
  for (const auto& part : rendering->quoted) quoted.push_back({part.begin, part.end});
  const Json document = {{"schema", "assay.template/1"},
                         {"text", rendering->text},
                         {"quoted", quoted},
                         {"has_question", rendering->has_question}};
  fmt::print("{}\n", document.dump(2));
  return 0;
}

}  // namespace

void add_template(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "template", "Render a chat template without running a model: the text alone to stdout");
  command
      ->add_option("template,-m,--model", flags->source,
                   "file in Jinja, GGUF file, name of a known model, or name of a template such as "
                   "chatml (default: SmolLM2-135M-Instruct)")
      ->type_name("FILE|MODEL|NAME");
  command
      ->add_option("--messages", flags->messages,
                   "JSON: a list of messages, or an object with 'messages' ('-': standard input)")
      ->type_name("FILE")
      ->required();
  command->add_option("--tools", flags->tools, "JSON: a list of tools, or an object with 'tools'")
      ->type_name("FILE");
  CLI::Option* with =
      command->add_flag("--add-generation-prompt", flags->generation_prompt,
                        "end with what begins the assistant's answer (the default)");
  command
      ->add_flag("--no-generation-prompt", flags->no_generation_prompt, "end with the last message")
      ->excludes(with);
  command
      ->add_option("--set", flags->variables,
                   "further variable of the template: --set enable_thinking=false")
      ->type_name("NAME=JSON")
      ->allow_extra_args(false);
  command
      ->add_option("--name", flags->name, "one of the model's further templates, such as tool_use")
      ->type_name("NAME");
  command->add_option("--date", flags->date, "what strftime_now prints (default: now)")
      ->type_name("YYYY-MM-DD");
  command->add_flag("--json", flags->json,
                    "schema assay.template/1: the text, and which bytes come from messages");
  command->callback([flags, &exit_code] { exit_code = render(*flags); });
}
