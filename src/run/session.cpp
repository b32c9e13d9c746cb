#include "run/session.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/model.h"
#include "run/device.h"

namespace assay::run {

Result<Session> Session::open(const std::string& path, const SessionOptions& options) {
  Session session;
  auto file = gguf::File::open(path);
  if (!file) return file.error();
  session.file_ = std::make_unique<gguf::File>(std::move(*file));
  auto program = model::build(*session.file_);
  if (!program) return program.error();
  session.program_ = std::make_unique<op::Program>(std::move(*program));
  session.context_ = options.context ? options.context : session.program_->trained_context;
  op::ExecutorOptions executor_options = options.executor;
  executor_options.context = session.context_;
  const gguf::File* mapped = session.file_.get();
  executor_options.release = [mapped](std::span<const uint8_t> bytes) { mapped->release(bytes); };
  auto executor = options.make ? options.make(*session.program_, executor_options)
                               : make_executor(options.device, *session.program_, executor_options);
  if (!executor) return executor.error();
  session.executor_ = std::move(*executor);
  session.held_.assign(executor_options.sequences, 0);
  session.batch_ = executor_options.batch;
  return session;
}

/// `drawn`: so many tokens of each part run after its own.
Status Session::run(std::span<const Part> parts, Wanted wanted, uint32_t drawn,
                    const std::function<void(const op::Step&)>& run_step) {
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences, selected;
  for (const Part& part : parts) {
    const uint64_t needed = held_[part.sequence] + part.tokens.size() + drawn;
    if (needed > context_)
      return Error{fmt::format("context full: {} tokens needed, the limit is {} (-c sets it)",
                               needed, context_)};
    for (uint64_t i = 0; i < part.tokens.size(); ++i) {
      const int32_t token = part.tokens[i];
      if (token < 0 || uint32_t(token) >= program_->vocabulary)
        return Error{
            fmt::format("token {} is beyond the vocabulary of {}", token, program_->vocabulary)};
      if (wanted == Wanted::all || i + 1 == part.tokens.size())
        selected.push_back(uint32_t(tokens.size()));
      tokens.push_back(token);
      positions.push_back(held_[part.sequence] + uint32_t(i));
      sequences.push_back(part.sequence);
    }
  }
  if (tokens.size() > batch_)
    return Error{fmt::format("{} tokens in one step, the batch holds {}", tokens.size(), batch_)};
  const op::Step whole{tokens, positions, sequences, selected};
  if (watch_) watch_(whole);
  try {
    run_step(whole);
  } catch (const op::DeviceFailure& failure) {
    return failure.error;
  }
  for (const Part& part : parts) held_[part.sequence] += uint32_t(part.tokens.size()) + drawn;
  return ok();
}

Result<std::span<const float>> Session::step(std::span<const Part> parts, Wanted wanted,
                                             const op::Sink& sink) {
  std::span<const float> logits;
  const Status done =
      run(parts, wanted, 0, [&](const op::Step& step) { logits = executor_->run(step, sink); });
  if (!done) return done.error();
  return logits;
}

Result<std::vector<std::vector<op::Candidate>>> Session::step_best(std::span<const Part> parts,
                                                                   uint32_t most) {
  std::vector<std::vector<op::Candidate>> best;
  const Status done = run(parts, Wanted::last, 0,
                          [&](const op::Step& step) { best = executor_->run_best(step, most); });
  if (!done) return done.error();
  return best;
}

Result<std::vector<int32_t>> Session::run_ahead(std::span<const Part> parts,
                                                std::span<const op::Drawing> drawings,
                                                uint32_t count) {
  std::vector<int32_t> tokens;
  const Status done = run(parts, Wanted::last, count - 1, [&](const op::Step& step) {
    tokens = executor_->run_ahead(step, drawings, count);
  });
  if (!done) return done.error();
  return tokens;
}

Result<std::span<const float>> Session::feed(
    uint32_t sequence, std::span<const int32_t> tokens, Wanted wanted,
    const std::function<void(std::span<const float>)>& each, const op::Sink& sink) {
  if (held_[sequence] + tokens.size() > context_)  // said before any work
    return Error{fmt::format("context full: {} tokens needed, the limit is {} (-c sets it)",
                             held_[sequence] + tokens.size(), context_)};
  std::span<const float> last;
  for (size_t start = 0; start < tokens.size(); start += batch_) {
    const Part part{sequence,
                    tokens.subspan(start, std::min<size_t>(batch_, tokens.size() - start))};
    const auto logits = step({&part, 1}, wanted, sink);
    if (!logits) return logits.error();
    if (each) each(*logits);
    last = logits->last(program_->vocabulary);
  }
  return last;
}

void Session::truncate(uint32_t sequence, uint32_t position) {
  held_[sequence] = std::min(held_[sequence], position);
  executor_->truncate(sequence, held_[sequence]);
}

}  // namespace assay::run
