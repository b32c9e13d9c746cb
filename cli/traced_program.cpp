#include "traced_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "model/departures.h"
#include "model/model.h"

using assay::Error;
using assay::Result;
using assay::op::Program;
using assay::trace::Trace;

Result<Program> traced_program(const assay::gguf::File& file,
                               std::initializer_list<const Trace*> traces) {
  std::optional<Program> first;
  const auto is_llama_cpp = [](const Trace* trace) {
    return trace && trace->metadata("engine").starts_with("llama.cpp");
  };
  uint32_t llama_cpp = 0, others = 0, positions = 0;
  for (const Trace* trace : traces) {
    if (!trace) continue;
    (is_llama_cpp(trace) ? llama_cpp : others) += 1;
    for (const auto& step : trace->steps())
      for (const uint32_t position : step.positions) positions = std::max(positions, position + 1);
  }
  using assay::model::Reading;
  const Reading reading = llama_cpp && !others ? Reading::llama_cpp : Reading::own;
  for (const Trace* trace : traces) {
    if (!trace) continue;
    const std::string stated = trace->metadata("context");
    uint32_t context = 0;
    std::from_chars(stated.data(), stated.data() + stated.size(), context);
    auto program = assay::model::build(file, context, reading);
    if (!program) return program.error();
    if (llama_cpp && others)
      if (const auto departures = assay::model::departures_of(file, context, positions);
          !departures.empty())
        return Error{fmt::format("the engines of the traces read this file differently: {}",
                                 departures.front())};
    if (first && first->rope_factors != program->rope_factors)
      return Error{fmt::format(
          "the traces were made with different RoPE factors: {} for a context limit of "
          "{}, {} for {}; -c sets the limit",
          first->rope_factors, first->context, program->rope_factors, program->context)};
    if (!first) first = std::move(*program);
  }
  if (!first) return assay::model::build(file);
  return std::move(*first);
}
