// A run of a model, written as a trace.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "run/engine.h"
#include "trace/recorder.h"

struct RecordOptions {
  assay::trace::RecorderOptions recorder;
  uint32_t predict = 0;        ///< greedy tokens after the prompt, one step each
  std::vector<int32_t> given;  ///< tokens after the prompt and before the greedy ones, likewise
  std::string cache;           ///< "f16", "f32": as the engine was opened with
};

struct Recorded {
  uint64_t tensors = 0, bytes = 0;
  double seconds = 0;  ///< of the run, without the writing
};

/// Runs the tokens as a sequence of its own. Errors: as Engine::feed and Recorder::write; logits that are all NaN where a token must follow.
assay::Result<Recorded> record_trace(assay::run::Engine& engine, std::span<const int32_t> tokens,
                                     const RecordOptions& options, const std::string& path);
