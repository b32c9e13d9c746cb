#include "run/sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "run/core.h"

namespace assay::run {

Sequence::Sequence(std::shared_ptr<Core> core, uint32_t number)
    : core_(std::move(core)), number_(number), rows_(core_->pools.size()) {
  core_->taken[number] = true;
}

Sequence::Sequence(Sequence&& other) noexcept
    : core_(std::move(other.core_)),
      number_(other.number_),
      ids_(std::move(other.ids_)),
      rows_(std::move(other.rows_)) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
  if (this == &other) return *this;
  end();
  core_ = std::move(other.core_);
  number_ = other.number_;
  ids_ = std::move(other.ids_);
  rows_ = std::move(other.rows_);
  return *this;
}

Sequence::~Sequence() {
  end();
}

void Sequence::end() {
  if (!core_) return;
  truncate(0);
  core_->taken[number_] = false;
  core_.reset();
}

Result<Sequence> Sequence::start(const std::shared_ptr<Core>& core) {
  const auto number = std::ranges::find(core->taken, false) - core->taken.begin();
  if (size_t(number) == core->taken.size())
    return Error{fmt::format("all {} sequences of the engine are in use", core->taken.size())};
  return Sequence(core, uint32_t(number));
}

uint32_t Sequence::context() const {
  return core_->context;
}

uint32_t Sequence::truncate(uint32_t position) {
  uint32_t kept = std::min(position, this->position());
  // What one group cannot keep none does; going further back to a border or to 0 suits all.
  for (size_t g = 0; g < rows_.size(); ++g) kept = core_->pools[g].kept(rows_[g], kept);
  for (size_t g = 0; g < rows_.size(); ++g) core_->pools[g].truncate(rows_[g], kept);
  ids_.resize(kept);
  core_->executor->truncate(number_, kept);
  return kept;
}

std::span<const int32_t> Sequence::continue_with(std::span<const int32_t> ids) {
  if (ids.empty()) return truncate(0), ids;
  const auto same = std::ranges::mismatch(ids_, ids).in1 - ids_.begin();
  return ids.subspan(truncate(uint32_t(std::min(size_t(same), ids.size() - 1))));
}

Result<Sequence> Sequence::fork(uint32_t positions) const {
  auto forked = start(core_);
  if (!forked) return forked.error();
  uint32_t shared = std::min(positions, position()) / page_positions * page_positions;
  for (size_t g = 0; g < rows_.size(); ++g) shared = core_->pools[g].kept(rows_[g], shared);
  for (size_t g = 0; g < rows_.size(); ++g)
    forked->rows_[g] = core_->pools[g].fork(rows_[g], shared);
  forked->ids_.assign(ids_.begin(), ids_.begin() + shared);
  return forked;
}

}  // namespace assay::run
