#include "diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "about.h"
#include "base/atomic_file.h"
#include "cases/case_file.h"
#include "common.h"
#include "diagnose/diagnose.h"
#include "diff/diff.h"
#include "diff/narrow.h"
#include "diff_run.h"
#include "diff_table.h"
#include "gguf/not_finite.h"
#include "model/difference.h"
#include "paragraph.h"
#include "report/report.h"
#include "trace/trace_file.h"
#include "traced_program.h"
#include "weights.h"

using assay::Error;
using assay::Exit;
using assay::Result;
using assay::diff::Report;
using assay::diff::Verdict;
using assay::trace::Trace;

namespace {

struct Flags {
  std::string a, b, model, names, case_path, html;
  assay::diff::DiffOptions options;
  DiffRunFlags run;
  bool json = false, all = false, swap = false, narrow = false;
};

/// One trace or two.
struct Traces {
  Trace a;
  std::optional<Trace> b;

  std::vector<Trace*> all() {
    std::vector<Trace*> out = {&a};
    if (b) out.push_back(&*b);
    return out;
  }
};

/// The traces that are named, or made now.
Result<Traces> open_traces(const Flags& flags) {
  if (flags.run.model) {
    if (!flags.a.empty()) return wrong_usage("give two traces or --run, not both");
    auto both = run_both(flags.run);
    if (!both) return both.error();
    return Traces{std::move(both->first), std::move(both->second)};
  }
  if (flags.a.empty())
    return wrong_usage(
        "give one trace, two traces, or --run MODEL; 'assay trace record MODEL -p TEXT -o FILE' "
        "makes a trace");
  if (!flags.run.devices.empty() || flags.run.prompt.given())
    return wrong_usage("--device, -p and --tokens can only be used with --run");
  const auto names = read_names(flags.names);
  if (!names) return names.error();
  auto a = Trace::open(flags.a, *names);
  if (!a) return a.error();
  if (flags.b.empty()) return Traces{std::move(*a), {}};
  auto b = Trace::open(flags.b, *names);
  if (!b) return b.error();
  return Traces{std::move(*a), std::move(*b)};
}

/// --model, else the file that a trace names.
Result<std::string> model_of(const Flags& flags, const std::vector<Trace*>& traces) {
  if (!flags.model.empty()) return resolve_model(flags.model);
  std::string named;
  for (const Trace* trace : traces)
    if (const std::string path = trace->metadata("model"); !path.empty()) {
      auto found = resolve_model(path);
      if (found) return found;
      named = path;
    }
  if (named.empty())
    return Error{fmt::format("UNMEASURED: {} names a model file; give it with -m MODEL",
                             traces.size() == 1 ? "no metadata of the trace" : "neither trace")};
  return Error{fmt::format(
      "UNMEASURED: the model file that {} names is not here ('{}'); give it with -m MODEL",
      traces.size() == 1 ? "the trace" : "a trace", named)};
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

void print_summary(const Report& report, const std::optional<assay::diff::Narrow>& narrow) {
  const auto& logits = report.logits;
  if (logits.positions)
    fmt::print(
        "logits: {} positions, mean KL {:.2e}, most {:.2e}; best token equal in {}, certain in "
        "{}\n",
        logits.positions, logits.kl_mean, logits.kl_max, logits.top1_equal, logits.certified);
  for (const auto* side : {&report.a, &report.b}) {
    if (report.alone && side == &report.b) break;
    uint64_t ties = 0;
    for (const auto& operation : side->operations) ties += operation.seen.ties;
    fmt::print("{}: {} PASS, {} FAIL, {} unmeasured, {} ties\n", side == &report.a ? "a" : "b",
               side->count(Verdict::pass), side->count(Verdict::fail),
               side->count(Verdict::unmeasured), ties);
  }
  for (const std::string& note : report.benign) print_paragraph("benign: " + escaped(note, false));
  if (!report.unmeasured.empty())
    print_paragraph(fmt::format("unmeasured: {}{}", report.unmeasured.front(),
                                report.unmeasured.size() > 1
                                    ? fmt::format(" and {} more", report.unmeasured.size() - 1)
                                    : ""));
  if (report.swap) print_paragraph(assay::diff::sentence_of(*report.swap));
  for (const std::string& line : assay::diff::explanations(report))
    print_paragraph(escaped(line, false));
  if (narrow) fmt::print("narrow: {}\n", escaped(narrow->command, false));
  print_paragraph(escaped(report.sentence, false));
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
  Progress reading("read traces and weights");
  auto traces = open_traces(flags);
  if (!traces) return refuse(flags, traces.error(), "no-trace", "there is nothing to judge");
  const std::vector<Trace*> all = traces->all();
  const Trace* a = all.front();
  const Trace* b = all.back();
  if (flags.swap && !traces->b)
    return report(wrong_usage("--swap takes tensors from another trace: give two traces"));
  const auto path = model_of(flags, all);
  if (!path) return refuse(flags, path.error(), "no-model", "there is no model to judge by");
  const auto weights = open_weights(*path);
  if (!weights) return report(weights.error());
  const auto* file = &weights->file;
  if (const auto good = assay::gguf::check_weights(*file); !good)
    return unmeasured(flags, good.error().message);
  const auto program = traced_program(*file, {a, b});
  if (!program) return report(program.error());
  std::string hash;
  std::vector<std::string> notes;
  for (Trace* trace : all) {
    for (std::string& note : assay::diff::arrange(*program, *trace))
      notes.push_back(std::move(note));
    std::string other = other_file(*file, *trace, hash);
    if (other.empty()) continue;
    // A user who names the model means that its weights are the right ones.
    if (flags.model.empty()) {
      const std::string how = traces->b ? difference_of(*a, *b) : "";
      return refuse(
          flags,
          Error{fmt::format("the weights differ: {}{}{}; -m MODEL judges {} by MODEL's", other,
                            how.empty() ? "" : ": ", how, traces->b ? "both" : "the trace")},
          "weights-differ", "the traces are of two model files");
    }
    notes.push_back(std::move(other) + "; judged by the latter's weights");
  }
  auto options = flags.options;
  options.other_weights = !flags.model.empty();
  reading.erase();
  Progress judging("judge every operation");
  options.advance = [&](uint64_t done, uint64_t total) { judging.show(done, total); };
  auto found = traces->b ? assay::diff::compare(*program, *a, *b, options)
                         : assay::diff::judge_alone(*program, *a, options.advance);
  if (!found)
    return refuse(flags, found.error(), traces->b ? "inputs-differ" : "no-trace",
                  traces->b ? "the traces can't be compared" : "the trace can't be judged");
  if (const auto explained = assay::diagnose::explain(*program, *a, *b, *found); !explained)
    return report(explained.error());
  judging.erase();
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
    Progress writing("write the page");
    const auto page = assay::report::to_html(*program, *a, *b, *found,
                                             about({all.begin(), all.end()}, &*weights));
    if (const auto saved = assay::write_atomically(flags.html, {page}); !saved)
      return report(saved.error());
  }
  std::optional<assay::diff::Narrow> narrow;
  if (flags.narrow && found->first)
    narrow = assay::diff::narrow(*program, found->first->a ? *a : *b, *found, *path);
  if (flags.narrow && !narrow)
    fmt::print(
        stderr, "assay: nothing to narrow: {}\n",
        found->first ? "all that the wrong operation reads was recorded" : "no operation fails");
  if (flags.json) {
    fmt::print("{}\n", assay::diff::to_json(*program, *found, narrow));
  } else {
    print_diff_table(*program, *found, flags.all);
    print_summary(*found, narrow);
  }
  return int(found->verdict == Verdict::pass   ? Exit::done
             : found->verdict == Verdict::fail ? Exit::negative
                                               : Exit::cannot);
}

}  // namespace

void add_diff(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "diff", "Judge one trace, or compare two: the first wrong operation, and whose it is");
  command->add_option("a", flags->a, "trace")->type_name("A");
  command
      ->add_option("b", flags->b, "another trace of the same prompt; without it A is judged alone")
      ->type_name("B");
  command
      ->add_option(
          "-m,--model", flags->model,
          "the model, a GGUF file or a Hugging Face folder (default: the one that the trace names)")
      ->type_name("MODEL");
  add_names_flag(*command, flags->names);
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
  command->add_flag("--narrow", flags->narrow,
                    "the command that records what divides a segment that fails");
  add_diff_run_flags(*command, flags->run);
  command
      ->add_option("--case", flags->case_path,
                   "write the first failing operation, with its inputs, for 'assay trace replay'")
      ->type_name("FILE");
  command->add_flag("--all", flags->all, "a line for every operation in the table");
  command->add_flag("--json", flags->json, "schema assay.diff/1");
  command->callback([flags, &exit_code] { exit_code = diff(*flags); });
}
