// One text that an engine continues: its token ids, and the pages that hold their keys and values.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/result.h"
#include "run/pages.h"

namespace assay::run {

struct Core;

/// Made by Engine::start() or fork(). Its ids are the only record of what the cache holds: position
/// p has the keys and values of ids()[p], as far as later tokens see them. The destructor gives back
/// its pages. Only one thread may use an engine and its sequences.
class Sequence {
 public:
  Sequence(Sequence&& other) noexcept;
  Sequence& operator=(Sequence&& other) noexcept;
  ~Sequence();

  /// The tokens that have run, in order.
  std::span<const int32_t> ids() const { return ids_; }
  uint32_t position() const { return uint32_t(ids_.size()); }  ///< of the next token
  uint32_t context() const;                                    ///< most positions it can hold
  uint32_t number() const { return number_; }                  ///< as op::Step numbers sequences
  /// In a group of the program's caches.
  const PageRow& pages(uint32_t group = 0) const { return rows_[group]; }

  /// Forgets the tokens from `position` on. Returns how many positions remain, which is the new
  /// position(). This is less than `position` if a fork shares the page that would now be partly
  /// filled, and 0 if the page of `position` lies before that in which the last step began and a
  /// window before it is no longer held: all tokens must run again then.
  uint32_t truncate(uint32_t position);

  /// Prepares the sequence to become `ids`: keeps the common beginning, forgets the rest, and
  /// returns those of `ids` that still have to run. The last one always has to run, since its
  /// logits are wanted. The contract makes this safe: the kept keys and values have the bits of a
  /// fresh run. `ids` must not be a view of this sequence's own.
  std::span<const int32_t> continue_with(std::span<const int32_t> ids);

  /// Another sequence that begins with the first `positions` tokens of this one, rounded down to
  /// whole pages, which both share: executors write pages in place, so a partly filled page is never
  /// shared. Where a window before that border is no longer held, the other sequence is empty; the
  /// one before the last border is always held. The caller feeds the tokens that follow the fork's
  /// position(), which gives the same bits. Errors: all sequences of the engine are in use.
  Result<Sequence> fork(uint32_t positions = std::numeric_limits<uint32_t>::max()) const;

 private:
  friend class Engine;
  Sequence(std::shared_ptr<Core> core, uint32_t number);
  /// An empty sequence under the lowest number that is not taken.
  static Result<Sequence> start(const std::shared_ptr<Core>& core);
  void end();

  std::shared_ptr<Core> core_;  // none after a move
  uint32_t number_ = 0;
  std::vector<int32_t> ids_;
  std::vector<PageRow> rows_;  // by group of caches
};

}  // namespace assay::run
