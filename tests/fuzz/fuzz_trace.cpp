// A trace: steps, names, values, and what `trace show` makes of it.
#include <cstdlib>

#include "trace/summary.h"
#include "trace/trace_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto trace = assay::trace::Trace::parse({data, data + size}, "x");
  if (!trace) {
    if (trace.error().message.empty()) std::abort();
    return 0;
  }
  for (const auto& tensor : trace->tensors()) {
    // The last of its name: a product of llama.cpp may have several nodes.
    const auto* found = trace->find(tensor.step, tensor.name);
    if (!found || found < &tensor || found->name != tensor.name) std::abort();
    const auto values = trace->values(tensor);
    if (values && values->data.size() != tensor.rows * tensor.width) std::abort();
  }
  uint64_t tokens = 0;
  for (const auto& step : trace->steps()) tokens += step.tokens.size();
  const auto rows = assay::trace::summarise(*trace);
  const auto lines = assay::trace::token_lines(assay::op::Program{}, *trace);
  if (bool(rows) != bool(lines)) std::abort();
  if (!lines) return 0;
  for (const auto& [name, list] : *lines)
    for (const auto& line : list)
      if (line.token >= tokens) std::abort();
  return 0;
}
