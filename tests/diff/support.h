// Traces of the small model tests/data/kjv, whole or altered.
#pragma once

#include <gmock/gmock.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <map>
#include <string>

#include "diff/diff.h"
#include "run/engine.h"
#include "support/default_model.h"
#include "trace/recorder.h"
#include "trace/statistics.h"
#include "trace/trace_file.h"

namespace assay::diff {

inline const std::filesystem::path data = std::filesystem::path(ASSAY_SOURCE_DIR) / "tests/data";

/// A path that is removed with it.
struct TemporaryFile {
  std::filesystem::path path;
  explicit TemporaryFile(const std::string& name)
      : path(std::filesystem::temp_directory_path() /
             ("assay_diff_" + std::to_string(getpid()) + "_" + name)) {}
  ~TemporaryFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
};

inline run::Engine open_kjv(const std::string& device = "cpu", op::ExecutorOptions executor = {}) {
  run::EngineOptions options;
  options.device = device;
  options.executor = std::move(executor);
  if (options.executor.threads == 0) options.executor.threads = 1;
  auto engine = run::Engine::open(data / "kjv" / "kjv.gguf", options);
  if (!engine) throw std::runtime_error(engine.error().message);
  return std::move(*engine);
}

inline const std::vector<int32_t> eight = {1, 1044, 261, 1798, 1249, 391, 282, 561};

struct Recording {
  std::vector<int32_t> tokens = eight;
  uint32_t decode = 0;  ///< greedy steps of one token afterwards
  std::function<bool(std::string_view)> wanted = {};
  std::map<std::string, std::string> metadata = {{"engine", "assay test"}};
  /// May change what is recorded of an operation; what follows was computed from the right values.
  std::function<void(const op::Operation&, std::vector<float>&)> alter = {};
  bool statistics = false;
};

inline Result<trace::Trace> record(const Recording& how, run::Engine engine = open_kjv()) {
  trace::Recorder recorder(engine.program(), {how.wanted, how.statistics});
  engine.watch_steps([&](const op::Step& step) { recorder.begin_step(step); });
  const op::Sink sink = [&](const op::Operation& operation, std::span<const float> output) {
    std::vector<float> copy(output.begin(), output.end());
    if (how.alter) how.alter(operation, copy);
    recorder(operation, copy);
  };
  run::Sequence sequence = testing::start(engine);
  auto logits = engine.feed(sequence, how.tokens, run::Wanted::all, {}, sink);
  for (uint32_t i = 0; i < how.decode && logits; ++i) {
    const int32_t token = trace::top(*logits, 1)[0].id;
    logits = engine.feed(sequence, {&token, 1}, run::Wanted::all, {}, sink);
  }
  if (!logits) return logits.error();
  static int count = 0;
  const TemporaryFile file("record" + std::to_string(count++));
  if (const auto written = recorder.write(file.path, how.metadata); !written)
    return written.error();
  return trace::Trace::open(file.path);
}

inline const op::Program& kjv_program() {
  static const run::Engine engine = open_kjv();
  return engine.program();
}

}  // namespace assay::diff
