#include "run/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "op/paging.h"
#include "run/core.h"
#include "run/device.h"

namespace assay::run {

Result<Engine> Engine::make(std::shared_ptr<const Model> model, const EngineOptions& options) {
  auto built = model->program_for(options.context);
  if (!built) return built.error();
  return make(std::move(model), std::move(*built), options);
}

Result<Engine> Engine::make(std::shared_ptr<const Model> model,
                            std::shared_ptr<const op::Program> program,
                            const EngineOptions& options) {
  op::ExecutorOptions executor_options = options.executor;
  executor_options.context = program->context;
  const uint64_t stride = pages_for(executor_options.context);
  if (executor_options.pages == 0)
    executor_options.pages = uint32_t(stride * executor_options.sequences);
  executor_options.release = [file = &model->file()](std::span<const uint8_t> bytes) {
    file->release(bytes);
  };
  auto executor = options.make ? options.make(*program, executor_options)
                               : make_executor(options.device, *program, executor_options);
  if (!executor) return executor.error();
  std::vector<PagePool> pools;
  for (const uint32_t window : program->windows)
    pools.emplace_back(op::pages_of(executor_options, window), window);
  Engine engine;
  engine.batch_ = executor_options.batch;
  engine.stride_ = uint32_t(stride);
  engine.table_.resize(executor_options.sequences * pools.size() * stride);
  engine.core_ = std::make_shared<Core>(
      Core{std::move(model), std::move(program), std::move(*executor), std::move(pools),
           std::vector<bool>(executor_options.sequences), executor_options.context});
  return engine;
}

Result<Engine> Engine::open(const std::string& path, const EngineOptions& options) {
  auto model = Model::open(path, options.context);
  if (!model) return model.error();
  return make(std::move(*model), options);
}

const Model& Engine::model() const {
  return *core_->model;
}
const op::Program& Engine::program() const {
  return *core_->program;
}
const op::Executor& Engine::executor() const {
  return *core_->executor;
}
const PagePool& Engine::pages(uint32_t group) const {
  return core_->pools[group];
}
uint32_t Engine::context() const {
  return core_->context;
}

Result<Sequence> Engine::start() {
  return Sequence::start(core_);
}

Status Engine::check_sequences(std::span<const Part> parts) const {
  std::vector<bool> seen(core_->taken.size());
  for (const Part& part : parts) {
    if (!part.sequence.core_) return Error{"a sequence that was moved from cannot run"};
    if (part.sequence.core_ != core_)
      return Error{"a sequence of another engine cannot run in this one"};
    const uint32_t number = part.sequence.number();
    if (seen[number]) return Error{fmt::format("sequence {} occurs twice in one step", number)};
    seen[number] = true;
  }
  return ok();
}

/// Gives every part's sequence the pages that its tokens need, and writes them into the table; what
/// a window has passed is given back before. Where there are too few, nobody gets any.
Status Engine::extend_pages(std::span<const Part> parts, uint32_t drawn) {
  std::vector<PagePool>& pools = core_->pools;
  for (const Part& part : parts)
    for (size_t g = 0; g < pools.size(); ++g)
      pools[g].give_back_before(part.sequence.rows_[g], part.sequence.position());
  for (const Part& part : parts) {
    Sequence& sequence = part.sequence;
    for (size_t g = 0; g < pools.size(); ++g) {
      PageRow& row = sequence.rows_[g];
      const Status extended =
          pools[g].extend(row, sequence.position() + part.tokens.size() + drawn);
      if (!extended) {
        give_back_pages(parts);
        return extended;
      }
      const uint64_t at = (sequence.number() * pools.size() + g) * stride_;
      std::ranges::copy(row, table_.begin() + std::ptrdiff_t(at));
    }
  }
  return ok();
}

/// Gives back the pages that hold none of the sequences' ids.
void Engine::give_back_pages(std::span<const Part> parts) {
  for (const Part& part : parts)
    for (size_t g = 0; g < core_->pools.size(); ++g)
      core_->pools[g].truncate(part.sequence.rows_[g], part.sequence.position());
}

/// `drawn` is how many drawn tokens run after each part's own tokens; the caller adds them to the
/// ids.
Status Engine::run(std::span<const Part> parts, Wanted wanted, uint32_t drawn,
                   const std::function<void(const op::Step&)>& run_step) {
  if (Status good = check_sequences(parts); !good) return good;
  const uint32_t vocabulary = program().vocabulary;
  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences, selected;
  for (const Part& part : parts) {
    const uint64_t needed = part.sequence.position() + part.tokens.size() + drawn;
    if (needed > context())
      return Error{fmt::format("context full: {} tokens needed, the limit is {} (-c sets it)",
                               needed, context())};
    for (uint64_t i = 0; i < part.tokens.size(); ++i) {
      const int32_t token = part.tokens[i];
      if (token < 0 || uint32_t(token) >= vocabulary)
        return Error{fmt::format("token {} is beyond the vocabulary of {}", token, vocabulary)};
      if (wanted == Wanted::all || i + 1 == part.tokens.size())
        selected.push_back(uint32_t(tokens.size()));
      tokens.push_back(token);
      positions.push_back(part.sequence.position() + uint32_t(i));
      sequences.push_back(part.sequence.number());
    }
  }
  if (tokens.empty()) return Error{"a step needs at least one token"};
  if (tokens.size() > batch_)
    return Error{
        fmt::format("{} tokens in one step are more than the batch of {}", tokens.size(), batch_)};
  if (Status good = extend_pages(parts, drawn); !good) return good;
  const op::Step whole{
      tokens, positions, sequences, selected, {table_, stride_, uint32_t(core_->pools.size())}};
  if (watch_) watch_(whole);
  try {
    run_step(whole);
  } catch (const op::DeviceFailure& failure) {
    give_back_pages(parts);
    return failure.error;
  }
  auto ran = tokens.begin();  // the copy: a part's tokens may be those of the ids themselves
  for (const Part& part : parts) {
    const auto end = ran + std::ptrdiff_t(part.tokens.size());
    part.sequence.ids_.insert(part.sequence.ids_.end(), ran, end);
    ran = end;
  }
  return ok();
}

Result<std::span<const float>> Engine::step(std::span<const Part> parts, Wanted wanted,
                                            const op::Sink& sink) {
  std::span<const float> logits;
  const Status done = run(parts, wanted, 0,
                          [&](const op::Step& step) { logits = core_->executor->run(step, sink); });
  if (!done) return done.error();
  return logits;
}

Result<std::vector<std::vector<op::Candidate>>> Engine::step_best(std::span<const Part> parts,
                                                                  uint32_t most) {
  std::vector<std::vector<op::Candidate>> best;
  const Status done = run(parts, Wanted::last, 0, [&](const op::Step& step) {
    best = core_->executor->run_best(step, most);
  });
  if (!done) return done.error();
  return best;
}

Result<std::vector<int32_t>> Engine::run_ahead(std::span<const Part> parts,
                                               std::span<const op::Drawing> drawings,
                                               uint32_t count) {
  if (drawings.size() != parts.size() || count == 0)
    return Error{
        fmt::format("{} tokens ahead of {} sequences with {} drawings: one drawing is "
                    "needed for each, and at least one token",
                    count, parts.size(), drawings.size())};
  for (const Part& part : parts)
    if (part.tokens.size() != 1)
      return Error{fmt::format("running ahead starts with exactly one token per sequence, not {}",
                               part.tokens.size())};
  for (const op::Drawing& drawing : drawings)
    if (const uint32_t most = executor().most_ahead(drawing); count > most)
      return Error{
          fmt::format("{} tokens ahead are more than this device draws at once ({})", count, most)};
  std::vector<int32_t> tokens;
  const Status done = run(parts, Wanted::last, count - 1, [&](const op::Step& step) {
    tokens = core_->executor->run_ahead(step, drawings, count);
  });
  if (!done) return done.error();
  for (uint32_t i = 0; i + 1 < count; ++i)
    for (size_t p = 0; p < parts.size(); ++p)
      parts[p].sequence.ids_.push_back(tokens[i * parts.size() + p]);
  return tokens;
}

Result<std::span<const float>> Engine::feed(Sequence& sequence, std::span<const int32_t> tokens,
                                            Wanted wanted,
                                            const std::function<void(std::span<const float>)>& each,
                                            const op::Sink& sink) {
  if (sequence.position() + tokens.size() > context())  // said before any work
    return Error{fmt::format("context full: {} tokens needed, the limit is {} (-c sets it)",
                             sequence.position() + tokens.size(), context())};
  std::span<const float> last;
  for (size_t start = 0; start < tokens.size(); start += batch_) {
    const Part part{sequence,
                    tokens.subspan(start, std::min<size_t>(batch_, tokens.size() - start))};
    const auto logits = step({&part, 1}, wanted, sink);
    if (!logits) return logits.error();
    if (each) each(*logits);
    last = logits->last(program().vocabulary);
  }
  return last;
}

Status Engine::fill_caches(float value) {
  try {
    if (core_->executor->fill_caches(value)) return ok();
  } catch (const op::DeviceFailure& failure) {
    return failure.error;
  }
  return Error{fmt::format("the caches of {} cannot be filled", core_->executor->device())};
}

}  // namespace assay::run
