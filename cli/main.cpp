// assay: runs GGUF language models and proves that every number it computes is right.
#include <CLI/CLI.hpp>

#include "bench.h"
#include "common.h"
#include "inspect.h"
#include "logits.h"
#include "run.h"
#include "tokenize.h"

int main(int argc, char** argv) {
  CLI::App app{"assay runs GGUF language models and proves that every number it computes is right.",
               "assay"};
  app.set_version_flag("--version", "assay " ASSAY_VERSION ", contract assay/1");
  app.require_subcommand(1);
  int exit_code = 0;
  add_run(app, exit_code);
  add_inspect(app, exit_code);
  add_tokenize(app, exit_code);
  add_logits(app, exit_code);
  add_bench(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : int(assay::Exit::cannot);
  } catch (const std::bad_alloc&) {
    return report({"not enough memory", assay::Exit::device});
  } catch (const std::exception& error) {
    return report({std::string("internal error: ") + error.what()});
  }
  return exit_code;
}
