// The default model and the shared data, where they are there.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "run/engine.h"

namespace assay::testing {

inline std::filesystem::path default_model() {
  const char* cache = std::getenv("ASSAY_CACHE");
  const char* xdg = std::getenv("XDG_CACHE_HOME");
  const char* home = std::getenv("HOME");
  const std::filesystem::path folder =
      cache && *cache ? std::filesystem::path(cache)
      : xdg && *xdg   ? std::filesystem::path(xdg) / "assay"
                      : std::filesystem::path(home ? home : ".") / ".cache" / "assay";
  return folder / "models" / "SmolLM2-135M-Instruct" / "SmolLM2-135M-Instruct.Q4_1.gguf";
}

inline std::filesystem::path shared_data() {
  const char* set = std::getenv("ASSAY_SHARED_DATA");
  return set && *set ? std::filesystem::path(set)
                     : std::filesystem::path(ASSAY_SOURCE_DIR) / ".." / "shared" / "data";
}

/// An engine with the default model; fails the test where it does not open.
inline run::Engine open_default(const std::string& device = "cpu",
                                op::ExecutorOptions executor = {}, uint32_t context = 512) {
  run::EngineOptions options;
  options.device = device;
  options.context = context;
  options.executor = std::move(executor);
  if (device == "reference") options.executor.contract = op::Contract::exact;
  if (options.executor.threads == 0) options.executor.threads = 2;
  auto engine = run::Engine::open(default_model().string(), options);
  if (!engine) throw std::runtime_error(engine.error().message);
  return std::move(*engine);
}

/// A new sequence; fails the test where there is none left.
inline run::Sequence start(run::Engine& engine) {
  auto sequence = engine.start();
  if (!sequence) throw std::runtime_error(sequence.error().message);
  return std::move(*sequence);
}

/// Logits of every token, (tokens, vocabulary), run in pieces that end at `ends` (the last: all), as
/// a sequence of its own.
inline std::vector<float> all_logits(run::Engine& engine, std::span<const int32_t> tokens,
                                     std::vector<size_t> ends = {}, const op::Sink& sink = {}) {
  run::Sequence sequence = start(engine);
  std::vector<float> logits;
  ends.push_back(tokens.size());
  size_t start = 0;
  for (size_t end : ends) {
    const auto last = engine.feed(
        sequence, tokens.subspan(start, end - start), run::Wanted::all,
        [&](std::span<const float> part) { logits.insert(logits.end(), part.begin(), part.end()); },
        sink);
    if (!last) throw std::runtime_error(last.error().message);
    start = end;
  }
  return logits;
}

}  // namespace assay::testing

#define ASSAY_NEEDS_MODEL()                                      \
  if (!std::filesystem::exists(assay::testing::default_model())) \
  GTEST_SKIP() << "the default model is not there: " << assay::testing::default_model()
