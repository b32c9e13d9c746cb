#include "diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "cases/case_file.h"
#include "common.h"
#include "diagnose/diagnose.h"
#include "diff/diff.h"
#include "diff_run.h"
#include "gguf/file.h"
#include "gguf/not_finite.h"
#include "model/difference.h"
#include "report/report.h"
#include "trace/trace_file.h"
#include "traced_program.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::diff::Report;
using assay::diff::Verdict;
using assay::trace::Trace;

namespace {

struct Flags {
  std::string a, b, model, case_path, html;
  assay::diff::DiffOptions options;
  DiffRunFlags run;
  bool json = false, all = false, swap = false;
};

/// The traces that are named, or made now.
Result<std::pair<Trace, Trace>> open_traces(const Flags& flags) {
  const bool named = !flags.a.empty() && !flags.b.empty();
  if (flags.run.model) {
    if (!flags.a.empty()) return Error{"give two traces or --run, not both"};
    return run_both(flags.run);
  }
  if (!named) return Error{"give two traces, or --run MODEL; see 'assay diff --help'"};
  if (!flags.run.devices.empty() || flags.run.prompt.given())
    return Error{"--device, -p and --tokens can only be used with --run"};
  auto a = Trace::open(flags.a);
  if (!a) return a.error();
  auto b = Trace::open(flags.b);
  if (!b) return b.error();
  return std::pair(std::move(*a), std::move(*b));
}

/// --model, else the file that a trace names.
Result<std::string> model_of(const Flags& flags, const Trace& a, const Trace& b) {
  if (!flags.model.empty()) return resolve_model(flags.model);
  for (const Trace* trace : {&a, &b})
    if (const std::string path = trace->metadata("model"); !path.empty()) {
      auto found = resolve_model(path);
      if (found) return found;
    }
  return Error{"UNMEASURED: neither trace names a model file that exists; give it with --model"};
}

/// What to say of a trace that states another model file than this one; empty where it doesn't.
std::string other_file(const assay::gguf::File& file, const Trace& trace, std::string& hash) {
  const std::string stated = trace.metadata("model_sha256");
  if (stated.empty()) return "";
  if (hash.empty()) hash = file_sha256(file);
  if (stated == hash) return "";
  return fmt::format("{} was made with a model of SHA-256 {:.12}…, {} has {:.12}…", trace.path(),
                     stated, file.path(), hash);
}

/// How the files that two traces name differ; empty where one is not there or they are equal.
std::string difference_of(const Trace& a, const Trace& b) {
  const auto x = assay::gguf::File::open(a.metadata("model"));
  const auto y = assay::gguf::File::open(b.metadata("model"));
  return x && y ? assay::model::difference_of(*x, *y) : "";
}

/// With --json a refusal is an object, too. Returns the exit code.
int refuse(const Flags& flags, const Error& error, const char* id, const char* name) {
  if (flags.json)
    fmt::print("{}\n", assay::diff::refusal_json(error.message, {id, name, "", false}));
  return report(error);
}

/// The verdict where the model's weights allow none.
int unmeasured(const Flags& flags, const std::string& sentence) {
  fmt::print("{}\n", flags.json ? assay::diff::refusal_json(
                                      sentence, {"weight-not-finite", "a weight is NaN or infinite",
                                                 "", false})
                                : escaped(sentence, false));
  return int(Exit::cannot);
}

std::string cell(const assay::diff::JudgedOperation& operation) {
  if (operation.verdict == Verdict::unmeasured) return "unmeasured";
  if (operation.seen.elements == 0) return "-";
  const std::string ties = operation.seen.ties ? fmt::format(" {} tie{}", operation.seen.ties,
                                                             operation.seen.ties == 1 ? "" : "s")
                                               : "";
  return fmt::format("{}{:.2f}/{:.1f} u{}", operation.verdict == Verdict::fail ? "FAIL " : "",
                     operation.seen.max_u, operation.seen.limit_u, ties);
}

void print_table(const assay::op::Program& program, const Report& report, bool all) {
  fmt::print("a  {} ({})\nb  {} ({})\n\n", escaped(report.a.engine, false), report.a.contract,
             escaped(report.b.engine, false), report.b.contract);
  fmt::print("{:<22}{:<28}{:<28}{}\n", "operation", "a: error/limit", "b: error/limit",
             "|a-b|/|b|");
  for (size_t i = 0; i < program.operations.size(); ++i) {
    const auto& a = report.a.operations[i];
    const auto& b = report.b.operations[i];
    const uint32_t layer = program.operations[i].layer;
    const bool plain = a.verdict == Verdict::pass && b.verdict == Verdict::pass;
    if (plain && !all && layer != assay::op::none && layer > 0 && layer + 1 < program.layers)
      continue;
    const double apart = report.differences[i];
    fmt::print("{:<22}{:<28}{:<28}{}\n", program.operations[i].name, cell(a), cell(b),
               apart < 0 ? "-"
               : report.percentile[i] < 0
                   ? fmt::format("{:.2e}", apart)
                   : fmt::format("{:.2e}  {:3.0f}%", apart, report.percentile[i]));
  }
  fmt::print("\n");
}

void print_summary(const Report& report) {
  const auto& logits = report.logits;
  if (logits.positions)
    fmt::print(
        "logits: {} positions, mean KL {:.2e}, most {:.2e}; best token equal in {}, certain in "
        "{}\n",
        logits.positions, logits.kl_mean, logits.kl_max, logits.top1_equal, logits.certified);
  for (const auto* side : {&report.a, &report.b}) {
    uint64_t ties = 0;
    for (const auto& operation : side->operations) ties += operation.seen.ties;
    fmt::print("{}: {} PASS, {} FAIL, {} unmeasured, {} ties\n", side == &report.a ? "a" : "b",
               side->count(Verdict::pass), side->count(Verdict::fail),
               side->count(Verdict::unmeasured), ties);
  }
  for (const std::string& note : report.benign) fmt::print("benign: {}\n", escaped(note, false));
  if (!report.unmeasured.empty())
    fmt::print("unmeasured: {}{}\n", report.unmeasured.front(),
               report.unmeasured.size() > 1
                   ? fmt::format(" and {} more", report.unmeasured.size() - 1)
                   : "");
  if (report.swap) fmt::print("{}\n", assay::diff::sentence_of(*report.swap));
  fmt::print("{}\n", escaped(report.sentence, false));
}

/// Writes the first failing operation to --case.
assay::Status save_case(const Flags& flags, const assay::op::Program& program, const Trace& a,
                        const Trace& b, const Report& report) {
  if (!report.first) {
    fmt::print(stderr, "assay: no operation fails, so there is no case to write to {}\n",
               escaped(flags.case_path, false));
    return assay::ok();
  }
  const auto& side = report.first->a ? report.a : report.b;
  const auto& operations = program.operations;
  const auto index =
      size_t(std::ranges::find(operations, report.first->operation, &assay::op::Operation::name) -
             operations.begin());
  const auto scene =
      assay::diff::scene_at(program, report.first->a ? a : b, side, report.first->step, index);
  if (!scene) return scene.error();
  auto the = assay::cases::cut_case(program, *scene, side.engine);
  the.version = "assay " ASSAY_VERSION;
  return assay::cases::write_case(the, flags.case_path);
}

int diff(const Flags& flags) {
  const auto traces = open_traces(flags);
  if (!traces) return report(traces.error());
  const auto* a = &traces->first;
  const auto* b = &traces->second;
  const auto path = model_of(flags, *a, *b);
  if (!path) return report(path.error());
  const auto file = assay::gguf::File::open(*path);
  if (!file) return report(file.error());
  if (const auto good = assay::gguf::check_weights(*file); !good)
    return unmeasured(flags, good.error().message);
  const auto program = traced_program(*file, {a, b});
  if (!program) return report(program.error());
  std::string hash;
  std::vector<std::string> notes;
  for (const Trace* trace : {&*a, &*b})
    if (std::string other = other_file(*file, *trace, hash); !other.empty()) {
      // A user who names the model means that its weights are the right ones.
      if (flags.model.empty()) {
        const std::string how = difference_of(*a, *b);
        return refuse(
            flags,
            Error{fmt::format("the weights differ: {}{}{}; -m MODEL judges both by MODEL's", other,
                              how.empty() ? "" : ": ", how)},
            "weights-differ", "the traces are of two model files");
      }
      notes.push_back(std::move(other) + "; judged by the latter's weights");
    }
  auto options = flags.options;
  options.other_weights = !flags.model.empty();
  auto found = assay::diff::compare(*program, *a, *b, options);
  if (!found) return refuse(flags, found.error(), "inputs-differ", "the traces can't be compared");
  if (const auto explained = assay::diagnose::explain(*program, *a, *b, *found); !explained)
    return report(explained.error());
  found->benign.insert(found->benign.end(), notes.begin(), notes.end());
  if (flags.swap) {
    Progress bar("swap");
    auto swapped = assay::diff::swap(*program, *a, *b, *found,
                                     [&](uint64_t done, uint64_t total) { bar.show(done, total); });
    if (!swapped) return report(swapped.error());
    found->swap = std::move(*swapped);
  }
  if (!flags.case_path.empty())
    if (const auto saved = save_case(flags, *program, *a, *b, *found); !saved)
      return report(saved.error());
  if (!flags.html.empty()) {
    const auto page = assay::report::to_html(*program, *a, *b, *found);
    if (const auto saved = assay::write_atomically(flags.html, {page}); !saved)
      return report(saved.error());
  }
  if (flags.json) {
    fmt::print("{}\n", assay::diff::to_json(*program, *found));
  } else {
    print_table(*program, *found, flags.all);
    print_summary(*found);
  }
  return int(found->verdict == Verdict::pass   ? Exit::done
             : found->verdict == Verdict::fail ? Exit::negative
                                               : Exit::cannot);
}

}  // namespace

void add_diff(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command =
      app.add_subcommand("diff", "Compare two traces: the first wrong operation, and whose it is");
  command->add_option("a", flags->a, "trace")->type_name("A");
  command->add_option("b", flags->b, "trace")->type_name("B");
  command
      ->add_option("-m,--model", flags->model, "the model (default: the one that the traces name)")
      ->type_name("MODEL");
  command
      ->add_option("--runs", flags->options.runs, "correct runs of the noise certificate; 0: none")
      ->type_name("N")
      ->check(between(0, 1000))
      ->capture_default_str();
  command->add_option("--seed", flags->options.seed, "seed of their ulps")
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--html", flags->html, "a page with plots: where it broke")
      ->type_name("FILE");
  command->add_flag("--swap", flags->swap,
                    "which difference matters: replace single outputs in the wrong run");
  add_diff_run_flags(*command, flags->run);
  command
      ->add_option("--case", flags->case_path,
                   "write the first failing operation, with its inputs, for 'assay trace replay'")
      ->type_name("FILE");
  command->add_flag("--all", flags->all, "every operation in the table");
  command->add_flag("--json", flags->json, "schema assay.diff/1");
  command->callback([flags, &exit_code] { exit_code = diff(*flags); });
}
