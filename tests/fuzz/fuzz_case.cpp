// A case file: what is accepted must run, in the judge and on a device.
#include <cstdlib>

#include "cases/replay.h"
#include "reference/executor.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto the = assay::cases::parse_case({data, data + size}, "x");
  if (!the) return 0;
  const auto again = assay::cases::replay(
      *the,
      [](const auto& program, auto options) -> assay::Result<std::unique_ptr<assay::op::Executor>> {
        return assay::reference::make_executor(program, options, assay::reference::Mode::contract);
      });
  if (!again || again->device.elements != the->output().data.size()) std::abort();
  if (assay::cases::to_json(*the, *again).empty()) std::abort();
  return 0;
}
