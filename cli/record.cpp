#include "record.h"

#include <fmt/format.h>

#include "common.h"
#include "trace/statistics.h"

using assay::Error;
using assay::Result;
using assay::run::Session;

Result<Recorded> record_trace(Session& session, std::span<const int32_t> tokens,
                              const RecordOptions& options, const std::string& path) {
  assay::trace::Recorder recorder(session.program(), options.recorder);
  session.watch_steps([&](const assay::op::Step& step) { recorder.begin_step(step); });
  const assay::op::Sink sink = std::ref(recorder);
  const double start = seconds();
  auto logits = session.feed(0, tokens, Session::Wanted::all, {}, sink);
  for (const int32_t& token : options.given)
    if (logits) logits = session.feed(0, {&token, 1}, Session::Wanted::all, {}, sink);
  for (uint32_t i = 0; i < options.predict && logits; ++i) {
    const auto best = assay::trace::top(*logits, 1);
    if (best.empty()) return Error{"the logits are all NaN: there is no best token to go on with"};
    const int32_t token = best[0].id;
    logits = session.feed(0, {&token, 1}, Session::Wanted::all, {}, sink);
  }
  session.watch_steps({});
  if (!logits) return logits.error();
  const Recorded done{recorder.tensors(), recorder.bytes(), seconds() - start};
  if (done.tensors == 0) return done;
  const auto& executor = session.executor();
  const std::string isa = executor.isa().empty() ? "" : " " + executor.isa();
  const auto written =
      recorder.write(path, {{"engine", "assay " ASSAY_VERSION " " + executor.device() + isa},
                            {"commit", commit()},
                            {"contract", executor.contract()},
                            {"kv", options.cache},
                            {"device", executor.device()},
                            {"isa", executor.isa()},
                            {"model", session.file().path()},
                            {"model_sha256", file_sha256(session.file())}});
  if (!written) return written.error();
  return done;
}
