// assay trace replay CASE
#include <fmt/format.h>

#include <cstdlib>
#include <memory>

#include "cases/replay.h"
#include "common.h"
#include "diff/diff.h"
#include "op/kinds.h"
#include "paragraph.h"
#include "run/device.h"
#include "trace.h"

using assay::Error;
using assay::Exit;
using assay::Result;

namespace {

struct Flags {
  std::string path, device = "cpu";
  bool json = false;
};

void print(const assay::cases::Case& the, const assay::cases::Replayed& r) {
  const auto line = [&](const std::string& who, const std::string& contract,
                        const assay::judge::Seen& seen) {
    fmt::print("{:<28}{:<16}{:>12.4g}{:>12.4g}{:>8}{:>8}{:>12}\n", who, contract, seen.max_u,
               seen.limit_u, seen.token, the.whole_row(seen.row),
               fmt::format("{}/{}", seen.failures, seen.elements));
  };
  fmt::print("{} ({}), step {}, {} token{}\n\n", escaped(the.operation().name, false),
             assay::op::name_of(the.operation()), the.scene.step, the.tokens.size(),
             the.tokens.size() == 1 ? "" : "s");
  fmt::print("{:<28}{:<16}{:>12}{:>12}{:>8}{:>8}{:>12}\n", "output of", "contract", "error u",
             "limit u", "token", "channel", "outside");
  line(escaped(the.engine, false) + ", stored", escaped(the.scene.contract, false), r.stored);
  line(r.name + (r.isa.empty() ? "" : " (" + r.isa + ")"), r.contract, r.device);
  fmt::print("\n");
  print_paragraph(assay::diff::unit_explained());
  print_paragraph(escaped(r.sentence, false));
}

int replay(const Flags& flags) {
  const auto the = assay::cases::open_case(flags.path);
  if (!the) return report(the.error());
  Progress bar("run and judge");
  const auto replayed = assay::cases::replay(*the, [&](const auto& program, auto options) {
    if (const char* isa = std::getenv("ASSAY_ISA"); isa && *isa && flags.device == "cpu")
      options.isa = isa;
    return assay::run::make_executor(flags.device, program, options);
  });
  bar.erase();
  if (!replayed) return report(replayed.error());
  if (flags.json)
    fmt::print("{}\n", assay::cases::to_json(*the, *replayed));
  else
    print(*the, *replayed);
  return int(replayed->device.failures == 0 ? Exit::done : Exit::negative);
}

}  // namespace

void add_trace_replay(CLI::App& parent, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      parent.add_subcommand("replay", "Run the operation of a case file again, on any device");
  command->add_option("case", flags->path, "what 'assay diff --case' wrote")
      ->type_name("CASE")
      ->required();
  command->add_option("--device", flags->device, assay::run::device_names())
      ->type_name("NAME")
      ->capture_default_str();
  command->add_flag("--json", flags->json, "schema assay.replay/1");
  command->callback([flags, &exit_code] { exit_code = replay(*flags); });
}
