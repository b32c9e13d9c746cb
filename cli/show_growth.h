// What `trace show` says beyond the table: whether a growth is normal, and where heads look.
#pragma once

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "diff/ensemble.h"
#include "op/program.h"
#include "trace/attention_weights.h"
#include "trace/trace_file.h"
#include "weights.h"

struct GrowthFlags {
  std::string model;
  std::optional<uint64_t> runs;
  uint64_t seed = 1;
  bool attention = false;
  std::optional<uint64_t> token;
};
void add_growth_flags(CLI::App& command, GrowthFlags& flags);

/// The model by which traces are looked at.
struct ShownModel {
  Weights weights;
  assay::op::Program program;
};
/// --model, else the file that a trace names. Errors: none is there; another model than a trace was
/// made with.
assay::Result<ShownModel> open_shown_model(const GrowthFlags& flags,
                                           const std::vector<assay::trace::Trace>& traces);

/// What is said of one trace, or of two.
struct GrowthReport {
  std::string unknown;  ///< why nothing can be said; else empty
  assay::diff::Ensemble ensemble;
  std::vector<assay::diff::Growth> traces;
  std::optional<assay::diff::Partings> partings;

  std::vector<std::string> sentences() const;  ///< the last is what matters most
};
/// Errors: a tensor that holds no numbers.
assay::Result<GrowthReport> report_growth(const GrowthFlags& flags,
                                          const assay::Result<ShownModel>& model,
                                          const std::vector<assay::trace::Trace>& traces);
nlohmann::ordered_json growth_json(const GrowthReport& report,
                                   const assay::Result<ShownModel>& model);

using Heads = std::vector<assay::trace::HeadWeights>;
assay::Result<Heads> weights_of(const GrowthFlags& flags, const assay::Result<ShownModel>& model,
                                const assay::trace::Trace& trace);
void print_heads(const Heads& heads);
nlohmann::ordered_json heads_json(const Heads& heads);
