#include "record.h"

#include <fmt/format.h>

#include <map>

#include "common.h"
#include "trace/statistics.h"

using assay::Error;
using assay::Result;
using assay::run::Engine;
using assay::run::Wanted;

Result<Recorded> record_trace(Engine& engine, std::span<const int32_t> tokens,
                              const RecordOptions& options, const std::string& path) {
  assay::trace::Recorder recorder(engine.program(), options.recorder);
  auto sequence = engine.start();
  if (!sequence) return sequence.error();
  Progress bar("run and record");
  engine.watch_steps([&](const assay::op::Step& step) { recorder.begin_step(step); });
  const assay::op::Sink sink = std::ref(recorder);
  const double start = seconds();
  auto logits = engine.feed(*sequence, tokens, Wanted::all, {}, sink);
  for (const int32_t& token : options.given)
    if (logits) logits = engine.feed(*sequence, {&token, 1}, Wanted::all, {}, sink);
  for (uint32_t i = 0; i < options.predict && logits; ++i) {
    const auto best = assay::trace::top(*logits, 1);
    if (best.empty())
      return Error{"the logits are all NaN: there is no best token to continue with"};
    const int32_t token = best[0].id;
    logits = engine.feed(*sequence, {&token, 1}, Wanted::all, {}, sink);
  }
  engine.watch_steps({});
  if (!logits) return logits.error();
  const Recorded done{recorder.tensors(), recorder.bytes(), seconds() - start};
  if (done.tensors == 0) return done;
  const auto& executor = engine.executor();
  const std::string isa = executor.isa().empty() ? "" : " " + executor.isa();
  std::map<std::string, std::string> facts = {
      {"engine", "assay " ASSAY_VERSION " " + executor.device() + isa},
      {"commit", commit()},
      {"contract", executor.contract()},
      {"kv", options.cache},
      {"device", executor.device()},
      {"isa", executor.isa()},
      {"context", fmt::format("{}", engine.context())},
      {"model", engine.file().path()},
      {"model_sha256", file_sha256(engine.file())}};
  if (const std::string& factors = engine.program().rope_factors; !factors.empty())
    facts["rope_factors"] = factors;
  const auto written = recorder.write(path, facts);
  if (!written) return written.error();
  return done;
}
