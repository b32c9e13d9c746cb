#include "fault/state.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <utility>

#include "op/paging.h"

namespace assay::fault {

namespace {

// In decoding, a step's keys are written into the slot before their own, too.
constexpr StateFault decode_slot{"decode-slot", "cached"};
// After an undo, the slots that are written anew hold the undone tokens' keys again.
constexpr StateFault undo_stale{"undo-stale", "undone"};
// A later sequence reads its first page from the first sequence.
constexpr StateFault page_of_other{"page-of-other", "slots"};
// The first and the last row of a batch's logits are exchanged.
constexpr StateFault rows_swapped{"rows-swapped", "batch"};
// A sequence that goes on from a copied beginning has lost the last token of it.
constexpr StateFault restored_short{"restored-short", "restored"};
// From the second decode step in a row on, the position is still the first one's.
constexpr StateFault decode_stuck{"decode-stuck", "positions"};
// Decoding leaves one slot out, which attention then reads.
constexpr StateFault padding_read{"padding-read", "padding"};
// The first token of a prompt's later piece is still that of the piece before.
constexpr StateFault buffer_reused{"buffer-reused", "chunked"};
// The oldest page that a window reaches into is read from the one that was given back last.
constexpr StateFault window_evicted{"window-evicted", "cached"};
// In a decode step of several sequences, every position is that of the longest.
constexpr StateFault batch_longest{"batch-longest", "batch"};
// Every sequence of a decode step gets the first one's logits.
constexpr StateFault slots_alike{"slots-alike", "batch"};
// Every second step gives one logit another last bit.
constexpr StateFault racing{"racing-logit", "repeat"};

/// A step that can be altered.
struct Altered {
  explicit Altered(const op::Step& step)
      : tokens(step.tokens.begin(), step.tokens.end()),
        positions(step.positions.begin(), step.positions.end()),
        sequences(step.sequences.begin(), step.sequences.end()),
        selected(step.selected.begin(), step.selected.end()),
        pages(step.pages.pages.begin(), step.pages.pages.end()),
        stride(step.pages.stride),
        groups(step.pages.groups) {}

  op::Step view() const {
    return {tokens, positions, sequences, selected, {pages, stride, groups}};
  }
  uint32_t& page(uint32_t sequence, uint32_t group, uint32_t chunk) {
    return pages[(size_t(sequence) * groups + group) * stride + chunk];
  }
  /// Whether a token stands alone in its sequence's step, behind others.
  bool decodes(size_t t) const {
    return positions[t] > 0 && std::ranges::count(sequences, sequences[t]) == 1;
  }
  bool all_decode() const {
    for (size_t t = 0; t < tokens.size(); ++t)
      if (!decodes(t)) return false;
    return true;
  }
  /// Another position for a token, where its page holds it.
  void move(size_t t, uint32_t position) {
    if (position / op::page_positions == positions[t] / op::page_positions) positions[t] = position;
  }
  bool several() const { return sequences.front() != sequences.back(); }

  std::vector<int32_t> tokens;
  std::vector<uint32_t> positions, sequences, selected, pages;
  uint32_t stride, groups;
};

/// One token of a step that is run behind the engine's back.
struct Extra {
  int32_t token;
  uint32_t position, sequence;
};

class FaultyState final : public op::Executor {
 public:
  FaultyState(std::unique_ptr<op::Executor> inner, const op::Program& program,
              const op::ExecutorOptions& options, std::string_view fault)
      : inner_(std::move(inner)),
        program_(program),
        paging_(options, program.windows),
        fault_(fault),
        past_(options.sequences) {}

  std::span<const float> run(const op::Step& given, const op::Sink& sink) override {
    const Altered step = before(given);
    const auto logits = inner_->run(step.view(), sink);
    logits_.assign(logits.begin(), logits.end());
    alter_rows(step, [&](size_t a, size_t b, bool exchange) {
      const size_t width = program_.vocabulary;
      const auto from = logits_.begin() + ptrdiff_t(a * width),
                 to = logits_.begin() + ptrdiff_t(b * width);
      if (exchange)
        std::swap_ranges(from, from + ptrdiff_t(width), to);
      else
        std::copy_n(from, width, to);
    });
    if (is(racing) && ++steps_ % 2 == 0)
      logits_[0] = std::bit_cast<float>(std::bit_cast<uint32_t>(logits_[0]) ^ 1u);
    after(given, step);
    return logits_;
  }

  std::vector<std::vector<op::Candidate>> run_best(const op::Step& given, uint32_t most) override {
    const Altered step = before(given);
    auto best = inner_->run_best(step.view(), most);
    alter_rows(step, [&](size_t a, size_t b, bool exchange) {
      if (exchange)
        std::swap(best[a], best[b]);
      else
        best[b] = best[a];
    });
    after(given, step);
    return best;
  }

  void truncate(uint32_t sequence, uint32_t position) override {
    Past& past = past_[sequence];
    past.undone.clear();
    if (position == 0) past = {};
    if (position < past.tokens.size()) {
      past.undone_from = position;
      past.undone.assign(past.tokens.begin() + position, past.tokens.end());
      past.tokens.resize(position);
    }
    inner_->truncate(sequence, position);
  }
  bool fill_caches(float value) override { return inner_->fill_caches(value); }
  std::string device() const override { return inner_->device(); }
  std::string isa() const override { return inner_->isa(); }
  std::string contract() const override { return inner_->contract(); }
  uint32_t threads() const override { return inner_->threads(); }

 private:
  struct Past {
    std::vector<int32_t> tokens;
    std::vector<int32_t> undone;  // since the last step
    uint32_t undone_from = 0;
    std::optional<uint32_t> decoded_at;        // the first of the decode steps in a row
    std::vector<std::vector<uint32_t>> pages;  // by group, as the last step had them
    std::map<uint32_t, uint32_t> given_back;   // the page that a group gave back last
  };

  bool is(const StateFault& fault) const { return fault_ == fault.name; }

  Altered before(const op::Step& given) {
    Altered step(paging_.resolve(given));
    remember_pages(step);
    if (is(restored_short)) lose_last(step);
    if (is(page_of_other)) read_other(step);
    if (is(window_evicted)) read_given_back(step);
    if (is(batch_longest) && step.several() && step.all_decode()) {
      const uint32_t longest = std::ranges::max(step.positions);
      for (size_t t = 0; t < step.tokens.size(); ++t) step.move(t, longest);
    }
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      Past& past = past_[step.sequences[t]];
      const bool decodes = step.decodes(t);
      if (!decodes) past.decoded_at.reset();
      if (is(padding_read) && decodes) step.move(t, step.positions[t] + 1);
      if (is(decode_stuck) && decodes) {
        if (!past.decoded_at) past.decoded_at = step.positions[t];
        step.move(t, *past.decoded_at);
      }
      const bool first = t == 0 || step.sequences[t - 1] != step.sequences[t];
      if (is(buffer_reused) && first && !decodes && step.positions[t] > 0 && !past.tokens.empty())
        step.tokens[t] = past.tokens[0];
    }
    return step;
  }

  template <class Function>
  void alter_rows(const Altered& step, Function function) const {
    const size_t rows = step.selected.size();
    if (rows < 2 || !step.several()) return;
    if (is(rows_swapped)) function(0, rows - 1, true);
    if (is(slots_alike) && step.all_decode())
      for (size_t row = 1; row < rows; ++row) function(0, row, false);
  }

  /// What a step leaves behind; then the fault's own steps.
  void after(const op::Step& given, const Altered& step) {
    std::vector<Extra> extra;
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const uint32_t sequence = step.sequences[t], position = given.positions[t];
      Past& past = past_[sequence];
      past.tokens.resize(position, 0);
      past.tokens.push_back(given.tokens[t]);
      // Where a page begins, a window may have given back what the token before it sees.
      if (is(decode_slot) && step.decodes(t) && position % op::page_positions > 0)
        extra.push_back({step.tokens[t], position - 1, sequence});
      if (is(undo_stale) && position >= past.undone_from &&
          position - past.undone_from < past.undone.size())
        extra.push_back({past.undone[position - past.undone_from], position, sequence});
    }
    run_extra(step, extra);
  }

  /// Runs tokens of which nobody hears but the cache.
  void run_extra(const Altered& like, const std::vector<Extra>& extra) {
    if (extra.empty()) return;
    Altered step = like;
    step.tokens.clear();
    step.positions.clear();
    step.sequences.clear();
    for (const Extra& one : extra) {
      step.tokens.push_back(one.token);
      step.positions.push_back(one.position);
      step.sequences.push_back(one.sequence);
    }
    step.selected = {0};
    inner_->run(step.view(), {});
  }

  void remember_pages(const Altered& step) {
    for (const uint32_t sequence : step.sequences) {
      Past& past = past_[sequence];
      past.pages.resize(step.groups);
      for (uint32_t group = 0; group < step.groups; ++group) {
        const auto row = op::PageTable{step.pages, step.stride, step.groups}.row(sequence, group);
        std::vector<uint32_t>& known = past.pages[group];
        for (size_t chunk = 0; chunk < known.size(); ++chunk)
          if (known[chunk] != op::none && row[chunk] == op::none)
            past.given_back[group] = known[chunk];
        known.assign(row.begin(), row.end());
      }
    }
  }

  /// The first chunk that a sequence writes in a step.
  static uint32_t first_written(const Altered& step, uint32_t sequence) {
    const auto t = std::ranges::find(step.sequences, sequence) - step.sequences.begin();
    return step.positions[size_t(t)] / op::page_positions;
  }

  void read_other(Altered& step) {
    for (const uint32_t sequence : step.sequences)
      for (uint32_t group = 0; group < step.groups; ++group)
        if (sequence > 0 && first_written(step, sequence) > 0 && past_[0].pages.size() > group &&
            past_[0].pages[group][0] != op::none && step.page(sequence, group, 0) != op::none)
          step.page(sequence, group, 0) = past_[0].pages[group][0];
  }

  void read_given_back(Altered& step) {
    for (const uint32_t sequence : step.sequences)
      for (const auto& [group, page] : past_[sequence].given_back)
        for (uint32_t chunk = 0; chunk < first_written(step, sequence); ++chunk)
          if (step.page(sequence, group, chunk) != op::none) {
            step.page(sequence, group, chunk) = page;
            break;
          }
  }

  /// Another token in the last slot of what a sequence begins with. Where a window may have given
  /// back what that token sees, nothing is altered.
  void lose_last(const Altered& step) {
    std::vector<Extra> extra;
    for (size_t t = 0; t < step.tokens.size(); ++t) {
      const bool first = t == 0 || step.sequences[t - 1] != step.sequences[t];
      const bool copied = step.positions[t] > past_[step.sequences[t]].tokens.size();
      if (first && copied && std::ranges::max(program_.windows) == 0)
        extra.push_back({int32_t((uint32_t(step.tokens[t]) + 1) % program_.vocabulary),
                         step.positions[t] - 1, step.sequences[t]});
    }
    run_extra(step, extra);
  }

  std::unique_ptr<op::Executor> inner_;
  const op::Program& program_;
  const op::Paging paging_;
  const std::string_view fault_;  // of the list
  std::vector<Past> past_;        // by sequence
  std::vector<float> logits_;
  uint64_t steps_ = 0;
};

}  // namespace

const std::vector<StateFault>& state_faults() {
  static const std::vector<StateFault> all{
      decode_slot,  undo_stale,    page_of_other,  rows_swapped,  restored_short, decode_stuck,
      padding_read, buffer_reused, window_evicted, batch_longest, slots_alike,    racing};
  return all;
}

Result<std::unique_ptr<op::Executor>> make_faulty_state(std::unique_ptr<op::Executor> inner,
                                                        const op::Program& program,
                                                        const op::ExecutorOptions& options,
                                                        std::string_view fault) {
  std::string names;
  for (const StateFault& one : state_faults()) {
    if (one.name == fault)
      return std::unique_ptr<op::Executor>(
          std::make_unique<FaultyState>(std::move(inner), program, options, one.name));
    names += fmt::format("{}{}", names.empty() ? "" : ", ", one.name);
  }
  return Error{
      fmt::format("an engine's state cannot have the fault '{}'; it can have: {}", fault, names)};
}

}  // namespace assay::fault
