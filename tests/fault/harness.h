// Runs of the fault executor, kept operation by operation, and what the judge says of them.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "fault/executor.h"
#include "gguf/file.h"
#include "judge/replay.h"
#include "model/model.h"
#include "reference/tiny_model.h"

namespace assay::fault {

/// tests/data/kjv: a real model with every weight format.
struct Kjv {
  std::unique_ptr<gguf::File> file;
  op::Program program;
  std::vector<int32_t> tokens;  ///< "In the beginning …"

  Kjv() {
    const std::string folder = std::string(ASSAY_SOURCE_DIR) + "/tests/data/kjv/";
    auto opened = gguf::File::open(folder + "kjv.gguf");
    if (!opened) throw std::runtime_error(opened.error().message);
    file = std::make_unique<gguf::File>(std::move(*opened));
    auto built = model::build(*file);
    if (!built) throw std::runtime_error(built.error().message);
    program = std::move(*built);
    std::ifstream cases(folder + "llama_cpp.json");
    tokens = nlohmann::json::parse(cases)["cases"][0]["tokens"].get<std::vector<int32_t>>();
  }
};
inline const Kjv& kjv() {
  static const Kjv model;
  return model;
}

/// A prompt in one step, then the rest a token a step.
inline std::vector<tests::Tokens> script(const std::vector<int32_t>& tokens, size_t prompt) {
  std::vector<tests::Tokens> steps{
      tests::Tokens({tokens.begin(), tokens.begin() + int64_t(prompt)})};
  for (size_t i = prompt; i < tokens.size(); ++i)
    steps.push_back(tests::Tokens({tokens[i]}, uint32_t(i)));
  return steps;
}

/// Every operation's output, by step and operation.
using Outputs = std::vector<std::vector<std::vector<float>>>;

inline Outputs run(const op::Program& program, const op::ExecutorOptions& options,
                   const std::vector<tests::Tokens>& steps, std::optional<Fault> fault = {}) {
  op::ExecutorOptions given = options;
  if (given.context == 0) given.context = 128;
  const auto executor = make_executor(program, given, std::move(fault));
  Outputs outputs;
  for (const tests::Tokens& step : steps) {
    outputs.emplace_back();
    executor->run(step.step(), [&](const op::Operation&, std::span<const float> output) {
      outputs.back().emplace_back(output.begin(), output.end());
    });
  }
  return outputs;
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

struct Where {
  size_t step = 0, operation = 0;
};
/// The first output with other bits; nothing where all are equal.
inline std::optional<Where> first_difference(const Outputs& a, const Outputs& b) {
  for (size_t step = 0; step < a.size(); ++step)
    for (size_t i = 0; i < a[step].size(); ++i)
      if (!same_bits(a[step][i], b[step][i])) return Where{step, i};
  return {};
}

/// The judge's findings on outputs up to and including `last` (all where there is none).
inline std::vector<judge::OperationError> replayed(const op::Program& program,
                                                   const op::ExecutorOptions& options,
                                                   const std::vector<tests::Tokens>& steps,
                                                   const Outputs& outputs,
                                                   std::optional<Where> last = {}) {
  judge::Replay replay(program, options);
  for (size_t step = 0; step < steps.size(); ++step) {
    replay.begin_step(steps[step].step());
    for (size_t i = 0; i < program.operations.size(); ++i) {
      replay(program.operations[i], outputs[step][i]);
      if (last && last->step == step && last->operation == i) return replay.results();
    }
  }
  return replay.results();
}

inline uint64_t failures(const std::vector<judge::OperationError>& errors) {
  uint64_t sum = 0;
  for (const auto& error : errors) sum += error.failures;
  return sum;
}

inline std::string describe(const judge::OperationError& error) {
  return error.name + ": " + std::to_string(error.failures) + " of " +
         std::to_string(error.elements) + " outside, worst " + std::to_string(error.max_u) +
         " u of " + std::to_string(error.limit_u);
}

}  // namespace assay::fault
