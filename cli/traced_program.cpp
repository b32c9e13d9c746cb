#include "traced_program.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>

#include "model/model.h"

using assay::Error;
using assay::Result;
using assay::op::Program;
using assay::trace::Trace;

Result<Program> traced_program(const assay::gguf::File& file,
                               std::initializer_list<const Trace*> traces) {
  std::optional<Program> first;
  for (const Trace* trace : traces) {
    if (!trace) continue;
    const std::string stated = trace->metadata("context");
    uint32_t context = 0;
    std::from_chars(stated.data(), stated.data() + stated.size(), context);
    auto program = assay::model::build(file, context);
    if (!program) return program.error();
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
