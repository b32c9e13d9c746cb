#include "invariants/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <optional>

namespace assay::invariants {

namespace {

/// One schedule at work.
class Runner {
 public:
  Runner(run::Engine& engine, const Schedule& schedule, const Texts& texts, const Place* whole)
      : engine_(engine),
        schedule_(schedule),
        texts_(texts),
        whole_(whole),
        sequences_(schedule.texts.size()) {}

  Result<Rows> run() {
    for (const Action& action : schedule_.actions)
      if (const Status done = std::visit([&](const auto& one) { return act(one); }, action); !done)
        return done.error();
    return std::move(rows_);
  }

 private:
  /// A sequence starts when it is first needed.
  Result<run::Sequence*> started(uint32_t sequence) {
    std::optional<run::Sequence>& one = sequences_[sequence];
    if (!one) {
      auto made = engine_.start();
      if (!made) return made.error();
      one = std::move(*made);
    }
    return &*one;
  }

  const std::vector<int32_t>& text_of(uint32_t sequence) const {
    return texts_[schedule_.texts[sequence]];
  }

  Status act(const Step& step) {
    std::vector<run::Part> parts;
    std::vector<Place> places;
    for (const Part& part : step.parts) {
      const auto sequence = started(part.sequence);
      if (!sequence) return sequence.error();
      const uint32_t begin = (*sequence)->position();
      parts.push_back(
          {**sequence, std::span(text_of(part.sequence)).subspan(begin, part.end - begin)});
      for (uint32_t p = begin; p < part.end; ++p)
        places.push_back({schedule_.texts[part.sequence], p});
    }
    std::vector<float> keys;
    const op::Sink keep = [&](const op::Operation& operation, std::span<const float> output) {
      if (operation.is<op::KvStore>() && keys.empty()) keys.assign(output.begin(), output.end());
    };
    const auto logits = engine_.step(parts, run::Wanted::all, schedule_.keys ? keep : op::Sink());
    if (!logits) return logits.error();
    if (schedule_.keys && keys.empty()) return Error{"the executor shows no keys"};
    const std::span<const float> all = schedule_.keys ? std::span<const float>(keys) : *logits;
    const uint64_t width = schedule_.keys ? key_width() : engine_.program().vocabulary;
    for (size_t i = 0; i < places.size(); ++i) {
      const auto row = all.subspan(i * width, width);
      rows_[places[i]] =
          row_of({row.begin(), row.end()}, schedule_.keys, whole_ && *whole_ == places[i]);
    }
    return ok();
  }

  /// Of the first layer that keeps keys.
  uint64_t key_width() const {
    for (const op::Operation& operation : engine_.program().operations)
      if (operation.is<op::KvStore>()) return engine_.program().values[operation.inputs[0]].width;
    return 0;
  }

  Status act(const Wander& wander) {
    const auto sequence = started(wander.sequence);
    if (!sequence) return sequence.error();
    const std::vector<int32_t>& text = text_of(wander.sequence);
    std::vector<int32_t> others;
    for (uint32_t i = 0; i < wander.count; ++i)
      others.push_back((text[text.size() - 1 - i % text.size()] + 1) %
                       int32_t(engine_.program().vocabulary));
    const run::Part part{**sequence, others};
    const auto done = engine_.step({&part, 1}, run::Wanted::last);
    if (!done) return done.error();
    return ok();
  }

  Status act(const Undo& undo) {
    sequences_[undo.sequence]->truncate(undo.position);
    return ok();
  }

  Status act(const Copy& copy) {
    auto forked = sequences_[copy.from]->fork(copy.positions);
    if (!forked) return forked.error();
    sequences_[copy.to] = std::move(*forked);
    return ok();
  }

  Status act(const Fill& fill) {
    return engine_.fill_caches(fill.nan ? std::numeric_limits<float>::quiet_NaN() : 0.0f);
  }

  run::Engine& engine_;
  const Schedule& schedule_;
  const Texts& texts_;
  const Place* whole_;
  std::vector<std::optional<run::Sequence>> sequences_;
  Rows rows_;
};

}  // namespace

Subject subject_of(run::Engine& engine, std::string name) {
  Subject subject;
  subject.name = std::move(name);
  subject.abilities = {Ability::several, Ability::undo, Ability::copy, Ability::fill};
  if (!engine.program().caches.empty()) subject.abilities.insert(Ability::keys);
  subject.run = [&engine](const Schedule& schedule, const Texts& texts, const Place* whole) {
    return Runner(engine, schedule, texts, whole).run();
  };
  return subject;
}

}  // namespace assay::invariants
