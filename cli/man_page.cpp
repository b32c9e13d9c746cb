#include <fmt/format.h>
#include <fmt/ranges.h>

#include "completions.h"

namespace {

/// Text for roff: hyphens that can be copied, no escape and no request by accident.
std::string roff(std::string_view text) {
  std::string out;
  if (text.starts_with('.') || text.starts_with('\'')) out += "\\&";
  for (const char c : text)
    out += c == '-' ? std::string("\\-") : c == '\\' ? std::string("\\e") : std::string(1, c);
  return out;
}

std::string entry(const OptionRow& option) {
  std::vector<std::string> names;
  if (!option.argument.empty()) names.push_back(fmt::format("\\fI{}\\fR", roff(option.argument)));
  for (const std::string& name : option.names)
    names.push_back(fmt::format("\\fB{}\\fR", roff(name)));
  std::string out = fmt::format(".TP\n{}", fmt::join(names, ", "));
  if (!option.names.empty() && !option.value.empty())
    out += fmt::format(" \\fI{}\\fR", roff(option.value));
  out += "\n" + roff(option.help);
  return out + (option.required && !option.names.empty() ? " (required)\n" : "\n");
}

std::string section(const CommandRow& row) {
  std::string out =
      fmt::format(".SH {}\n{}\n.PP\n\\fB{}\\fR", roff(row.path), roff(row.help), roff(row.path));
  for (const std::string& argument : row.arguments) out += " " + roff(argument);
  out += row.commands.empty() ? " [\\fIOPTIONS\\fR]\n" : " \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n";
  std::string group;
  for (const OptionRow& option : row.options) {
    if (option.group != group) out += fmt::format(".SS {}\n", roff(option.group));
    group = option.group;
    out += entry(option);
  }
  if (!row.examples.empty()) out += ".SS Examples\n.nf\n";
  for (const std::string& line : row.examples) out += roff(line) + "\n";
  if (!row.examples.empty()) out += ".fi\n";
  for (const CommandRow& command : row.commands) out += section(command);
  return out;
}

}  // namespace

std::string man_page(const CommandRow& program) {
  std::string out = fmt::format(
      ".TH ASSAY 1 \"\" \"assay {}\" \"User Commands\"\n.SH NAME\nassay \\- run GGUF language "
      "models and "
      "prove that every number is right\n.SH SYNOPSIS\n\\fBassay\\fR \\fICOMMAND\\fR "
      "[\\fIOPTIONS\\fR]\n"
      ".SH DESCRIPTION\n{}\nGenerated text and results go to standard output, all else to standard "
      "error.\n.SH COMMANDS\n",
      ASSAY_VERSION, roff(program.help));
  for (const CommandRow& command : program.commands)
    out += fmt::format(".TP\n\\fB{}\\fR\n{}\n", roff(command.path), roff(command.help));
  for (const CommandRow& command : program.commands) out += section(command);
  out += R"(.SH "EXIT STATUS"
.TP
.B 0
done; the numbers agree
.TP
.B 1
a negative verdict: a result is wrong, or bits differ
.TP
.B 2
it cannot be done: wrong usage, a bad file, something that is not supported
.TP
.B 3
the device or the memory is missing
.TP
.B 130
interrupted
.SH ENVIRONMENT
.TP
.B ASSAY_CACHE
the folder of fetched models (default: $XDG_CACHE_HOME/assay, else ~/.cache/assay)
.TP
.B ASSAY_ISA
the instruction set of the cpu: portable, avx2 or avx512
.TP
.B ASSAY_PYTHON
the Python that \fBassay doctor\fR and \fBassay invariants\fR start
.TP
.B COLUMNS
the width of the help (default: that of the terminal)
)";
  return out;
}
