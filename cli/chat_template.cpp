#include "chat_template.h"

#include <fmt/format.h>

#include <filesystem>

#include "common.h"
#include "text/named_templates.h"

using assay::Error;
using assay::Result;
using assay::text::ChatTemplate;

CLI::Option* add_chat_template_flag(CLI::App& command, std::optional<std::string>& flag) {
  return command
      .add_option("--chat-template", flag,
                  "chat template instead of the model's own: a file in Jinja, or a name such as "
                  "chatml or llama3")
      ->type_name("NAME|FILE");
}

namespace {

Result<ChatTemplate> open_given(const assay::gguf::File& file, const std::string& name_or_path) {
  if (assay::text::named_template(name_or_path))
    return ChatTemplate::open_other(file, name_or_path);
  std::error_code failed;
  if (!std::filesystem::exists(name_or_path, failed))
    return Error{fmt::format(
        "--chat-template: '{}' is neither a file nor the name of a template; the names are: {}",
        escaped(name_or_path), assay::text::template_names())};
  const auto source = read_text(name_or_path);
  if (!source) return source.error();
  auto made = ChatTemplate::open_other(file, *source);
  if (!made) return Error{fmt::format("{}: {}", name_or_path, made.error().message)};
  return made;
}

Result<ChatTemplate> open_own(const assay::gguf::File& file) {
  auto made = ChatTemplate::open(file);
  if (!made)
    return Error{made.error().message + "; --chat-template NAME or FILE gives another one"};
  if (!made->name().empty())
    fmt::print(stderr,
               "assay: the file's chat template is only the name '{0}'; assay's own template for "
               "'{0}' is used\n",
               made->name());
  return made;
}

}  // namespace

Result<ChatTemplate> open_chat_template(const assay::gguf::File& file,
                                        const std::optional<std::string>& flag,
                                        const std::optional<std::string>& system) {
  auto made = flag ? open_given(file, *flag) : open_own(file);
  const nlohmann::ordered_json messages = {{{"role", "system"}, {"content", system.value_or("")}},
                                           {{"role", "user"}, {"content", "?"}}};
  if (made && made->leaves_out(messages, 0))
    fmt::print(
        stderr,
        "assay: the chat template leaves out the system message: the model does not see it\n");
  return made;
}

assay::text::ChatOptions chat_options(const std::optional<std::string>& system) {
  assay::text::ChatOptions options;
  options.no_system = system && system->empty();
  return options;
}
