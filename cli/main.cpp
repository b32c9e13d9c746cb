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
#include "bench.h"
#include "chat.h"
#include "check.h"
#include "common.h"
#include "diff.h"
#include "doctor.h"
#include "golden.h"
#include "inspect.h"
#include "kit.h"
#include "logits.h"
#include "run.h"
#include "tokenize.h"
#include "trace.h"
#include "verify.h"

namespace {

/// One line that says what the parser refused and which command shows help.
int report_usage(const CLI::App& app, const CLI::ParseError& error) {
  const auto used = app.get_subcommands();
  const std::string command = "assay" + (used.empty() ? "" : " " + used.front()->get_name());
  std::string message = error.what();
  std::ranges::replace(message, '\n', ' ');
  return report({fmt::format("{}; see '{} --help'", message, command)});
}

/// A reader that has gone away (`| head`) knows it; anyone else is told. Neither is a success.
int report_output(const assay::Error& error, int code) {
  if (code == EPIPE) return int(error.exit);
  return report(error);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  remember_command(argc, argv);
  CLI::App app{"assay runs GGUF language models and proves that every number it computes is right.",
               "assay"};
  app.set_version_flag("--version", "assay " ASSAY_VERSION ", contract assay/1");
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  int exit_code = 0;
  add_run(app, exit_code);
  add_chat(app, exit_code);
  add_inspect(app, exit_code);
  add_tokenize(app, exit_code);
  add_logits(app, exit_code);
  add_bench(app, exit_code);
  add_trace(app, exit_code);
  add_diff(app, exit_code);
  add_doctor(app, exit_code);
  add_check(app, exit_code);
  add_kit(app, exit_code);
  add_verify(app, exit_code);
  add_golden(app, exit_code);
  const auto known = [&](const std::string& name) {
    return std::ranges::any_of(app.get_subcommands({}),
                               [&](const CLI::App* sub) { return sub->get_name() == name; });
  };
  if (argc == 1) return report({"no command given; see 'assay --help'"});
  if (argv[1][0] != '-' && !known(argv[1]))
    return report({fmt::format("no command '{}'; see 'assay --help'", argv[1])});
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() != 0) return report_usage(app, error);
    std::ostringstream help;
    app.exit(error, help, help);
    fmt::print("{}", help.str());
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
