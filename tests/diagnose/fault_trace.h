// Traces of the executor that can have a fault.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "diff/support.h"
#include "fault/executor.h"
#include "fault/faults.h"

namespace assay::diagnose {

struct FaultTrace {
  std::vector<int32_t> prompt;
  int decode = 3;                                     ///< steps of one token after the prompt
  std::function<bool(std::string_view)> wanted = {};  ///< what is kept; everything where empty
};

/// The token ids first, first + 131, …, which are in none of the model's texts.
inline std::vector<int32_t> spaced_tokens(const op::Program& program, uint32_t first,
                                          uint32_t count) {
  const uint32_t words = std::min(program.vocabulary, 2048u) - 1;
  std::vector<int32_t> tokens;
  for (uint32_t i = 0; i < count; ++i) tokens.push_back(int32_t(first + 131 * i % words));
  return tokens;
}

inline Result<trace::Trace> record_fault(const op::Program& program,
                                         std::optional<fault::Fault> fault, const FaultTrace& how) {
  op::ExecutorOptions options;
  options.context = 128;
  auto executor = fault::make_executor(program, options, std::move(fault));
  if (!executor) return Error{"no executor"};
  trace::Recorder recorder(program, {how.wanted});
  std::vector<int32_t> tokens = how.prompt;
  uint32_t position = 0;
  for (int step = 0; step <= how.decode; ++step) {
    std::vector<uint32_t> positions, sequences(tokens.size(), 0), selected;
    for (uint32_t i = 0; i < tokens.size(); ++i) {
      positions.push_back(position + i);
      selected.push_back(i);
    }
    const op::Step one{tokens, positions, sequences, selected};
    recorder.begin_step(one);
    executor->run(one, std::ref(recorder));
    position += uint32_t(tokens.size());
    tokens = {int32_t((300 + 17 * step) % program.vocabulary)};
  }
  static int count = 0;
  const diff::TemporaryFile file("fault" + std::to_string(count++));
  if (const auto written = recorder.write(
          file.path, {{"engine", "assay fault"}, {"contract", executor->contract()}});
      !written)
    return written.error();
  return trace::Trace::open(file.path);
}

}  // namespace assay::diagnose
