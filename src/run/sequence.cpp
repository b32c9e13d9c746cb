#include "run/sequence.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "run/core.h"

namespace assay::run {

Sequence::Sequence(std::shared_ptr<Core> core, uint32_t number)
    : core_(std::move(core)), number_(number) {
  core_->taken[number] = true;
}

Sequence::Sequence(Sequence&& other) noexcept
    : core_(std::move(other.core_)),
      number_(other.number_),
      ids_(std::move(other.ids_)),
      pages_(std::move(other.pages_)) {}

Sequence& Sequence::operator=(Sequence&& other) noexcept {
  if (this == &other) return *this;
  end();
  core_ = std::move(other.core_);
  number_ = other.number_;
  ids_ = std::move(other.ids_);
  pages_ = std::move(other.pages_);
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
  const uint32_t kept = core_->pages.truncate(pages_, std::min(position, this->position()));
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
  forked->pages_ = core_->pages.fork(pages_, std::min(positions, position()));
  const auto shared = std::span(ids_).first(forked->pages_.size() * page_positions);
  forked->ids_.assign(shared.begin(), shared.end());
  return forked;
}

}  // namespace assay::run
