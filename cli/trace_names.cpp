// assay trace names FILE -m MODEL
#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "common.h"
#include "diff/propose.h"
#include "gguf/not_finite.h"
#include "paragraph.h"
#include "trace.h"
#include "trace/trace_file.h"
#include "traced_program.h"
#include "weights.h"

using assay::trace::Trace;

namespace {

struct Flags {
  std::string trace, model, output;
  bool json = false;
};

nlohmann::ordered_json json_of(const assay::diff::Proposal& proposal) {
  nlohmann::ordered_json json = {{"schema", "assay.trace-names/1"},
                                 {"placed", nlohmann::ordered_json::array()},
                                 {"not_placed", nlohmann::ordered_json::array()},
                                 {"missing", proposal.missing}};
  for (const auto& one : proposal.placed)
    json["placed"].push_back({{"tensor", one.tensor},
                              {"operation", one.operation},
                              {"halves", one.halves},
                              {"sure", assay::diff::is_sure(one)},
                              {"evidence", assay::diff::name_of(one.evidence)},
                              {"error", one.error},
                              {"next", one.next < 0 ? nlohmann::ordered_json(nullptr)
                                                    : nlohmann::ordered_json(one.next)}});
  for (const auto& one : proposal.left)
    json["not_placed"].push_back({{"tensor", one.tensor}, {"why", one.why}});
  return json;
}

/// "23 of 30 tensors placed, 20 of them surely; 2 could not be placed (…); 3 operations are in no tensor (…)"
std::string sentence_of(const assay::diff::Proposal& proposal) {
  const size_t sure = size_t(std::ranges::count_if(proposal.placed, assay::diff::is_sure));
  const size_t same = size_t(std::ranges::count_if(proposal.left, &assay::diff::NotPlaced::same));
  const size_t left = proposal.left.size() - same;
  std::string text =
      fmt::format("{} of {} tensors placed, {} of them surely", proposal.placed.size(),
                  proposal.placed.size() + proposal.left.size(), sure);
  if (same) text += fmt::format("; {} repeat the values of others", same);
  if (left) {
    const auto first =
        std::ranges::find_if(proposal.left, [](const auto& one) { return !one.same; });
    text += fmt::format("; {} could not be placed, the first '{}': {}", left, first->tensor,
                        first->why);
  }
  if (!proposal.missing.empty())
    text += fmt::format("; {} operations are no tensor's, the first {}", proposal.missing.size(),
                        proposal.missing.front());
  return text;
}

int names(const Flags& flags) {
  Progress reading("read trace and weights");
  const auto trace = Trace::open(flags.trace, assay::trace::NameMap::as_they_are());
  if (!trace) return report(trace.error());
  const std::string model = flags.model.empty() ? trace->metadata("model") : flags.model;
  if (model.empty())
    return report({"no metadata of the trace names a model; give it with -m MODEL"});
  const auto path = resolve_model(model);
  if (!path) return report(path.error());
  const auto weights = open_weights(*path);
  if (!weights) return report(weights.error());
  if (const auto good = assay::gguf::check_weights(weights->file); !good)
    return report(good.error());
  const auto program = traced_program(weights->file, {&*trace});
  if (!program) return report(program.error());
  reading.erase();
  Progress placing("place the tensors");
  const auto proposal = assay::diff::propose_names(*program, *trace);
  placing.erase();
  if (!proposal) return report(proposal.error());
  const std::string yaml = assay::diff::to_yaml(*proposal);
  if (!flags.output.empty())
    if (const auto saved = assay::write_atomically(flags.output, {yaml}); !saved)
      return report(saved.error());
  if (flags.json)
    fmt::print("{}\n",
               json_of(*proposal).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
  else if (flags.output.empty())
    fmt::print("{}", yaml);
  const std::string sentence = escaped(sentence_of(*proposal), false);
  if (flags.output.empty() || flags.json)
    fmt::print(stderr, "assay: {}\n", sentence);
  else
    print_paragraph(sentence);
  return int(proposal->placed.empty() ? assay::Exit::cannot : assay::Exit::done);
}

}  // namespace

void add_trace_names(CLI::App& parent, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = parent.add_subcommand(
      "names", "Propose which operation each tensor is, by shapes and values, for --names");
  command->add_option("trace", flags->trace, "trace with an engine's own names")
      ->type_name("FILE")
      ->required();
  command
      ->add_option(
          "-m,--model", flags->model,
          "the model, a GGUF file or a Hugging Face folder (default: the one that the trace names)")
      ->type_name("MODEL");
  command->add_option("-o,--output", flags->output, "the YAML file (default: standard output)")
      ->type_name("FILE.yaml");
  command->add_flag("--json", flags->json, "schema assay.trace-names/1");
  command->callback([flags, &exit_code] { exit_code = names(*flags); });
}
