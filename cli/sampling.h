// The flags of how tokens are drawn, shared by `run` and `chat`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

#include "run/sampler.h"

struct SamplingFlags {
  assay::run::SamplerOptions options;
  std::string seed = "-1";

  /// Turns the seed's text into options.seed; "-1" draws one.
  void resolve_seed();
};

void add_sampling_flags(CLI::App& command, SamplingFlags& flags);
