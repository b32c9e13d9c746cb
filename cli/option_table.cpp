#include "option_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <iterator>

#include "examples.h"
#include "llama_options.h"

namespace {

/// A group of the help, with the options that stand in it in every command that has them.
struct Group {
  const char* title;
  std::string_view names;  // a space before and after each
};

// In the order of the help. An option that is not listed stands in the group that its command gave
// it, or under "Options".
constexpr const char* unlisted = "Options";
constexpr std::array groups = {
    Group{"Arguments", ""},
    Group{"Model", " model ctx-size chat-template run "},
    Group{"Prompt",
          " prompt file tokens tokens-count chat system escape session no-parse-special no-bos "
          "messages tools set name date add-generation-prompt no-generation-prompt context-full "
          "history "},
    Group{"Sampling",
          " predict temp top-k top-p min-p repeat-penalty frequency-penalty presence-penalty "
          "repeat-last-n seed stop ignore-eos "},
    Group{"Device", " device threads batch kv "},
    Group{unlisted, ""},
    Group{"Output",
          " json special output expected html all ids top case keep plan weights verbose help "
          "version "},
    Group{"For engine authors",
          " contract stats layers chain cut sequences filter values peer peer-batched swap runs "
          "attention token "},
    Group{"For the developers of assay", " fault fault-seed faults store "},
};

bool lists(const Group& group, const std::string& name) {
  return group.names.find(" " + name + " ") != std::string_view::npos;
}

/// Where a group stands in the help; a command's own groups follow "Model".
size_t order_of(const std::string& title) {
  const auto found = std::ranges::find(groups, title, &Group::title);
  return found == groups.end() ? 3 : 2 * size_t(found - groups.begin());
}

std::string group_of(const CLI::Option& option) {
  if (!option.nonpositional()) return groups[0].title;
  // "OPTIONS" in newer versions of the parser.
  if (CLI::detail::to_lower(option.get_group()) != "options") return option.get_group();
  for (const std::string& name : option.get_lnames())
    for (const Group& group : groups)
      if (lists(group, name)) return group.title;
  return unlisted;
}

std::string replaced(std::string text, char from, char to) {
  std::ranges::replace(text, from, to);
  return text;
}

/// "MODEL" of "TEXT:FILE", "[MODEL]" or "NAME:{a,b}"; the choices in braces go to `choices`.
std::string value_of(const CLI::Option& option, std::vector<std::string>& choices) {
  std::string type = option.get_type_name();
  if (const size_t brace = type.find('{'); brace != type.npos) {
    choices = words_of(replaced(type.substr(brace + 1, type.find('}') - brace - 1), ',', ' '));
    constexpr size_t longest = 24;  // a longer list would not fit beside a help text
    const std::string list = type.substr(brace, type.find('}') + 1 - brace);
    return list.size() <= longest ? list : "NAME";
  }
  type = type.substr(0, type.find(':'));
  // "on|off", but not "NAME|FILE"
  if (type.find('|') != type.npos &&
      std::ranges::none_of(type, [](unsigned char c) { return std::isupper(c); }))
    choices = words_of(replaced(type, '|', ' '));
  std::erase_if(type, [](char c) { return c == '[' || c == ']'; });
  return type;
}

std::string upper(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

}  // namespace

OptionRow row_of(const CLI::Option& option) {
  OptionRow row;
  for (const std::string& name : option.get_snames()) row.names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) row.names.push_back("--" + name);
  row.help = option.get_description();
  row.group = group_of(option);
  row.required = option.get_required();
  if (option.get_items_expected_max() > 0) row.value = value_of(option, row.choices);
  const auto told = [&](const std::string& name) { return row.help.find(name) != row.help.npos; };
  if (row.value == "NAME" && !std::ranges::all_of(row.choices, told))
    row.help += fmt::format(": {}", fmt::join(row.choices, ", "));
  if (option.check_lname("device"))
    row.choices = {"auto", "cpu", "cuda", "metal", "emulated", "reference"};
  if (option.get_positional())
    row.argument =
        row.value.empty() || row.value == "TEXT" ? upper(option.get_name(true, false)) : row.value;
  std::string usual = option.get_items_expected_max() > 0 ? option.get_default_str() : "";
  std::erase_if(usual, [](char c) { return c == '[' || c == ']' || c == '"'; });
  if (!usual.empty()) row.help += fmt::format(" (default: {})", usual);
  return row;
}

std::string path_of(const CLI::App& app) {
  const CLI::App* parent = app.get_parent();
  return (parent ? path_of(*parent) + " " : "") + app.get_name();
}

const std::string& long_name_of(const OptionRow& option) {
  return option.names.empty() ? option.argument : option.names.back();
}

CommandRow table_of(const CLI::App& app) {
  CommandRow row;
  row.path = path_of(app);
  row.help = app.get_description();
  row.examples = examples_of(row.path);
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_group().empty()) continue;
    row.options.push_back(row_of(*option));
    const OptionRow& last = row.options.back();
    if (!last.argument.empty())
      row.arguments.push_back(last.required ? last.argument : "[" + last.argument + "]");
  }
  std::ranges::stable_sort(row.options, {},
                           [](const OptionRow& option) { return order_of(option.group); });
  for (const CLI::App* command : app.get_subcommands({}))
    if (!command->get_group().empty()) row.commands.push_back(table_of(*command));
  return row;
}
