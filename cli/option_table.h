// The commands and options of the program as plain data, read from its parser: what the help, the
// completions of the shells and the man page are made of.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <string_view>
#include <vector>

struct OptionRow {
  std::vector<std::string> names;    ///< "-n", "--predict"; empty: an argument without a name
  std::string argument;              ///< "MODEL", where it may be given without its name
  std::string value;                 ///< "N"; empty: a flag
  std::vector<std::string> choices;  ///< the values that it takes, where they are known
  std::string help;                  ///< ends with the default, where there is one
  std::string group;
  bool required = false;
};

struct CommandRow {
  std::string path;  ///< "assay trace record"
  std::string help;
  std::vector<OptionRow> options;      ///< without hidden ones; those of a group together
  std::vector<CommandRow> commands;    ///< without hidden ones
  std::vector<std::string> arguments;  ///< "[MODEL]", "CASE": as the usage line shows them
  std::vector<std::string> examples;
  std::string name() const { return path.substr(path.rfind(' ') + 1); }
};
CommandRow table_of(const CLI::App& app);

OptionRow row_of(const CLI::Option& option);

/// "assay trace record": the command with those that it belongs to.
std::string path_of(const CLI::App& app);

/// "--ctx-size"; "-f" where there is no longer name.
const std::string& long_name_of(const OptionRow& option);
