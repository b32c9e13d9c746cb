// assay: runs GGUF language models and proves that every number it computes is right.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <system_error>

#include "about.h"
#include "arguments.h"
#include "bench.h"
#include "chat.h"
#include "check.h"
#include "common.h"
#include "completions.h"
#include "convert.h"
#include "diff.h"
#include "doctor.h"
#include "golden.h"
#include "guide.h"
#include "help.h"
#include "inspect.h"
#include "invariants.h"
#include "kit.h"
#include "logits.h"
#include "option_table.h"
#include "run.h"
#include "template.h"
#include "tokenize.h"
#include "trace.h"
#include "verify.h"
#include "version.h"

namespace {

/// The command that was called, with those that it belongs to.
const CLI::App& called(const CLI::App& app) {
  const auto used = app.get_subcommands();
  return used.empty() ? app : called(*used.front());
}

/// "'assay trace record' needs --output FILE"
std::string what_is_missing(const CLI::App& command) {
  std::string names;
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_required() || option->count() > 0) continue;
    const OptionRow row = row_of(*option);
    names += (names.empty() ? "" : " and ") + row.argument;
    if (row.argument.empty()) names += long_name_of(row) + " " + row.value;
  }
  return fmt::format("'{}' needs {}", path_of(command), names.empty() ? "a command" : names);
}

/// "'assay run' does not expect 'Hello'; a text goes after -p"
std::string what_is_too_much(const CLI::App& command) {
  const auto extra = command.remaining(true);
  const bool has_text = command.get_option_no_throw("--prompt") != nullptr;
  return fmt::format("'{}' does not expect '{}'{}", path_of(command),
                     extra.empty() ? "" : extra.front(), has_text ? "; a text goes after -p" : "");
}

/// One line that says what the parser refused and which command shows help.
void report_usage(const CLI::App& app, const CLI::ParseError& error) {
  std::string message = error.what();
  if (dynamic_cast<const CLI::RequiredError*>(&error)) message = what_is_missing(called(app));
  if (dynamic_cast<const CLI::ExtrasError*>(&error)) message = what_is_too_much(called(app));
  std::ranges::replace(message, '\n', ' ');
  report(wrong_usage(message));
}

/// Runs the command, or prints the help that is asked for. False where the use is wrong, which is
/// said.
bool parse(CLI::App& app, std::vector<std::string>& arguments) {
  std::ostringstream help;
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) {
      report_usage(app, error);
      return false;
    }
    app.exit(error, help, help);
  }
  // Not in the handler: {fmt} throws where stdout is full.
  fmt::print("{}", help.str());
  return true;
}

/// -v and --verbose, for every command that does something itself.
void add_verbose(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    if (command->get_group().empty()) continue;
    if (command->get_subcommands({}).empty())
      command->add_flag("-v,--verbose", verbose, "say more about model, time and memory on stderr");
    add_verbose(*command);
  }
}

/// A reader that has gone away (`| head`) knows it; anyone else is told. Neither is a success.
int report_output(const assay::Error& error, int code) {
  if (code == EPIPE) return int(error.exit);
  return report(error);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  const double start = seconds();
  remember_command(argc, argv);
  CLI::App app{"Runs GGUF language models and proves that every number it computes is right.",
               "assay"};
  app.formatter_fn([](const CLI::App* command, const std::string&, CLI::AppFormatMode) {
    return help_of(*command);
  });
  app.set_help_flag("-h,--help", "show this help");
  app.set_version_flag("--version", version_text, "show version, commit and devices");
  app.require_subcommand(1);
  int exit_code = 0;
  add_run(app, exit_code);
  add_chat(app, exit_code);
  add_inspect(app, exit_code);
  add_tokenize(app, exit_code);
  add_template(app, exit_code);
  add_convert(app, exit_code);
  add_logits(app, exit_code);
  add_bench(app, exit_code);
  add_trace(app, exit_code);
  add_diff(app, exit_code);
  add_doctor(app, exit_code);
  add_invariants(app, exit_code);
  add_check(app, exit_code);
  add_kit(app, exit_code);
  add_verify(app, exit_code);
  add_golden(app, exit_code);
  add_guide(app, exit_code);
  add_verbose(app);
  add_completions(app);
  auto arguments = read_arguments(app, {argv + 1, argv + argc});
  if (!arguments) return report(arguments.error());
  std::ranges::reverse(*arguments);  // as the parser takes them
  try {
    if (!parse(app, *arguments)) return int(assay::Exit::cannot);
    if (verbose)
      fmt::print(stderr, "{:.2f} s; peak {:.0f} MB; exit code {}\n", seconds() - start,
                 double(peak_bytes()) / 1e6, exit_code);
  } catch (const std::system_error& error) {
    // {fmt} throws where stdout refuses what it prints.
    if (!std::ferror(stdout)) return report({std::string("internal error: ") + error.what()});
    const int code = error.code().value();
    return report_output({fmt::format("cannot write to standard output: {}", std::strerror(code))},
                         code);
  } catch (const assay::op::DeviceFailure& failure) {
    return report(failure.error);
  } catch (const std::bad_alloc&) {
    return report({"not enough memory", assay::Exit::device});
  } catch (const std::exception& error) {
    return report({std::string("internal error: ") + error.what()});
  }
  const auto flushed = flush_output();
  if (!flushed) return report_output(flushed.error(), errno);
  return exit_code;
}
