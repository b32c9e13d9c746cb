#include "help.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "option_table.h"
#include "paragraph.h"

namespace {

/// The words in lines of their own.
std::string wrap(std::string_view text, size_t width, size_t indent, size_t begun) {
  return wrapped(text, width, indent, begun) + "\n";
}

/// A line for a shell, broken between its words.
std::string wrap_command(std::string line, size_t width) {
  constexpr char kept = '\1';
  bool inside = false;
  for (char& c : line) {
    inside ^= c == '"';
    if (inside && c == ' ') c = kept;
  }
  line = wrapped(line, width, 4, 0, " \\") + "\n";
  std::ranges::replace(line, kept, ' ');
  return line;
}

/// A name and what it means, in two columns, or in two lines where the name is too long.
std::string entry(const std::string& name, const std::string& help, size_t column, size_t width) {
  const size_t length = length_of(name) + 2;
  if (length > width)
    return "  " + wrap(name, width, 4, 2) + std::string(column, ' ') +
           wrap(help, width, column, column);
  std::string out = "  " + name;
  if (help.empty()) return out + "\n";
  if (length + 2 <= column)
    out += std::string(column - length, ' ');
  else
    out += "\n" + std::string(column, ' ');
  return out + wrap(help, width, column, column);
}

std::string name_of(const OptionRow& option) {
  std::string text = option.argument;
  if (!option.names.empty())
    text += fmt::format("{}{}", text.empty() ? "" : ", ", fmt::join(option.names, ", "));
  if (!option.names.empty() && !option.value.empty()) text += " " + option.value;
  return text;
}

std::string help_text(const OptionRow& option) {
  return option.help + (option.required && !option.names.empty() ? " (required)" : "");
}

std::string usage_of(const CommandRow& row) {
  std::string text = "Usage: " + row.path;
  for (const std::string& argument : row.arguments) text += " " + argument;
  if (!row.commands.empty()) text += " COMMAND";
  return text + " [OPTIONS]";
}

/// Where the second column begins: as far right as the names need, if that leaves room for text.
size_t column_of(const CommandRow& row, size_t width) {
  const size_t most = width < 60 ? 6 : std::min<size_t>(width * 2 / 5, 34);
  size_t longest = 0;
  const auto see = [&](const std::string& name) {
    const size_t needed = length_of(name) + 4;
    if (needed <= most) longest = std::max(longest, needed);
  };
  for (const OptionRow& option : row.options) see(name_of(option));
  for (const CommandRow& command : row.commands) see(command.name());
  return longest ? longest : 6;
}

std::string text_of(const CommandRow& row, size_t width) {
  const size_t column = column_of(row, width);
  std::string out = wrap(usage_of(row), width, 4, 0) + "\n" + wrap(row.help, width, 0, 0);
  if (!row.commands.empty()) {
    out += "\nCommands:\n";
    for (const CommandRow& command : row.commands)
      out += entry(command.name(), command.help, column, width);
  }
  std::string group;
  for (const OptionRow& option : row.options) {
    if (option.group != group) out += "\n" + option.group + ":\n";
    group = option.group;
    out += entry(name_of(option), help_text(option), column, width);
  }
  if (!row.examples.empty()) out += "\nExamples:\n";
  for (const std::string& line : row.examples) out += wrap_command(line, width);
  if (!row.commands.empty())
    out += "\n" + wrap(fmt::format("'{} COMMAND --help' shows the options of a command.", row.path),
                       width, 0, 0);
  return out;
}

}  // namespace

std::string help_of(const CLI::App& app) {
  return text_of(table_of(app), columns_of_terminal(STDOUT_FILENO));
}
