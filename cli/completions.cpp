#include "completions.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <memory>

namespace {

using Words = std::vector<std::string>;

/// The command and all below it, each before its own.
void flatten(const CommandRow& row, std::vector<const CommandRow*>& out) {
  out.push_back(&row);
  for (const CommandRow& command : row.commands) flatten(command, out);
}

std::vector<const CommandRow*> all_of(const CommandRow& program) {
  std::vector<const CommandRow*> out;
  flatten(program, out);
  return out;
}

Words command_names(const CommandRow& row) {
  Words names;
  for (const CommandRow& command : row.commands) names.push_back(command.name());
  return names;
}

std::string replaced(std::string text, std::string_view characters, std::string_view before) {
  for (size_t at = 0; (at = text.find_first_of(characters, at)) != text.npos;
       at += 1 + before.size())
    text.insert(at, before);
  return text;
}

/// Between single quotes of a POSIX shell.
std::string shell_word(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

/// The first clause of a help text: a menu has room for one line.
std::string brief(const std::string& help) {
  return help.substr(0, std::min(help.find("; "), help.find(" (")));
}

}  // namespace

std::string bash_completions(const CommandRow& program) {
  std::string out =
      "# bash completions of assay, made by 'assay completions bash'\n"
      "_assay() {\n"
      "  local word=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]}\n"
      "  local command=assay values= i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; ++i)); do\n"
      "    case \"$command ${COMP_WORDS[i]}\" in\n";
  Words paths, values;
  std::string words;
  for (const CommandRow* row : all_of(program)) {
    if (row != &program) paths.push_back(shell_word(row->path));
    Words names = command_names(*row);
    for (const OptionRow& option : row->options) {
      names.insert(names.end(), option.names.begin(), option.names.end());
      if (option.names.empty() || option.value.empty()) continue;
      Words patterns;
      for (const std::string& name : option.names)
        patterns.push_back(shell_word(row->path + " " + name));
      values.push_back(fmt::format(
          "    {}) values={} ;;\n", fmt::join(patterns, "|"),
          shell_word(option.choices.empty() ? std::string("FILE")
                                            : fmt::format("{}", fmt::join(option.choices, " ")))));
    }
    words += fmt::format("    {}) values={} ;;\n", shell_word(row->path),
                         shell_word(fmt::format("{}", fmt::join(names, " "))));
  }
  out += fmt::format("      {}) command+=\" ${{COMP_WORDS[i]}}\" ;;\n", fmt::join(paths, "|"));
  out += "    esac\n  done\n  case \"$command $previous\" in\n";
  out += fmt::format("{}", fmt::join(values, ""));
  out +=
      "  esac\n"
      "  if [[ $values == FILE ]]; then\n"
      "    compopt -o default\n"
      "    return\n"
      "  elif [[ -n $values ]]; then\n"
      "    COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
      "    return\n"
      "  fi\n"
      "  case $command in\n" +
      words +
      "  esac\n"
      "  COMPREPLY=($(compgen -W \"$values\" -- \"$word\"))\n"
      "  [[ $word == -* || ${#COMPREPLY[@]} -gt 0 ]] || compopt -o default\n"
      "}\n"
      "complete -F _assay assay\n";
  return out;
}

namespace {

std::string zsh_function(const std::string& path) {
  std::string name = "_" + path;
  std::ranges::replace(name, ' ', '_');
  return name;
}

std::string zsh_action(const OptionRow& option) {
  return option.choices.empty() ? "_files" : fmt::format("({})", fmt::join(option.choices, " "));
}

std::string zsh_text(const std::string& help) {
  return replaced(brief(help), "[]:\\", "\\");
}

/// One specification of _arguments per name; each may be given again, as the program says itself
/// what it refuses.
std::string zsh_options(const CommandRow& row) {
  std::string out;
  for (const OptionRow& option : row.options) {
    const std::string value =
        option.value.empty() ? ""
                             : fmt::format(":{}:{}", zsh_text(option.value), zsh_action(option));
    for (const std::string& name : option.names)
      out += fmt::format(" \\\n    {}",
                         shell_word(fmt::format("*{}[{}]{}", name, zsh_text(option.help), value)));
    if (!option.argument.empty())
      out += fmt::format(" \\\n    {}",
                         shell_word(fmt::format("::{}:{}", option.argument, zsh_action(option))));
  }
  return out;
}

}  // namespace

std::string zsh_completions(const CommandRow& program) {
  std::string out = "#compdef assay\n# zsh completions of assay, made by 'assay completions zsh'\n";
  for (const CommandRow* row : all_of(program)) {
    out += fmt::format("\n{}() {{\n", zsh_function(row->path));
    if (row->commands.empty()) {
      out += "  _arguments -s" + zsh_options(*row) + "\n}\n";
      continue;
    }
    out += "  local line state\n  _arguments -C" + zsh_options(*row) +
           " \\\n    '1:command:->command' '*::argument:->argument'\n  case $state in\n"
           "    command)\n      local -a commands=(";
    for (const CommandRow& command : row->commands)
      out += fmt::format("\n        {}",
                         shell_word(command.name() + ":" + replaced(command.help, ":\\", "\\")));
    out +=
        "\n      )\n      _describe command commands ;;\n    argument)\n      case $line[1] in\n";
    for (const CommandRow& command : row->commands)
      out += fmt::format("        {}) {} ;;\n", command.name(), zsh_function(command.path));
    out += "      esac ;;\n  esac\n}\n";
  }
  return out + "\n_assay \"$@\"\n";
}

namespace {

/// Whether the words of a path have been typed, and none of its own commands.
std::string fish_condition(const CommandRow& row) {
  std::string out;
  std::string rest = row.path.substr(std::min(row.path.size(), row.path.find(' ') + 1));
  if (row.path.find(' ') == row.path.npos) rest.clear();
  while (!rest.empty()) {
    const std::string word = rest.substr(0, rest.find(' '));
    out += (out.empty() ? "" : "; and ") + ("__fish_seen_subcommand_from " + word);
    rest.erase(0, word.size() + 1);
  }
  const Words own = command_names(row);
  if (own.empty()) return out;
  return fmt::format("{}not __fish_seen_subcommand_from {}", out.empty() ? "" : out + "; and ",
                     fmt::join(own, " "));
}

std::string fish_quoted(const std::string& text) {
  return "'" + replaced(text, "'\\", "\\") + "'";
}

}  // namespace

std::string fish_completions(const CommandRow& program) {
  std::string out = "# fish completions of assay, made by 'assay completions fish'\n";
  for (const CommandRow* row : all_of(program)) {
    const std::string start =
        fmt::format("complete -c assay -n {}", fish_quoted(fish_condition(*row)));
    for (const CommandRow& command : row->commands)
      out += fmt::format("{} -f -a {} -d {}\n", start, command.name(), fish_quoted(command.help));
    for (const OptionRow& option : row->options) {
      if (option.names.empty()) continue;
      out += start;
      for (const std::string& name : option.names)
        out += name.starts_with("--") ? " -l " + name.substr(2) : " -s " + name.substr(1);
      if (!option.choices.empty())
        out += fmt::format(" -x -a {}",
                           fish_quoted(fmt::format("{}", fmt::join(option.choices, " "))));
      else if (!option.value.empty())
        out += " -r";
      out += fmt::format(" -d {}\n", fish_quoted(brief(option.help)));
    }
  }
  return out;
}

void add_completions(CLI::App& app) {
  auto shell = std::make_shared<std::string>();
  CLI::App* completions =
      app.add_subcommand("completions", "Print what a shell needs to complete assay's commands");
  completions->group("");
  completions->add_option("shell", *shell, "bash, zsh or fish")
      ->type_name("SHELL")
      ->required()
      ->check(CLI::IsMember({"bash", "zsh", "fish"}));
  completions->callback([shell, &app] {
    const CommandRow program = table_of(app);
    fmt::print("{}", *shell == "bash"  ? bash_completions(program)
                     : *shell == "zsh" ? zsh_completions(program)
                                       : fish_completions(program));
  });
  CLI::App* page = app.add_subcommand("man-page", "Print the man page, assay(1)");
  page->group("");
  page->callback([&app] { fmt::print("{}", man_page(table_of(app))); });
}
