#include "invariants/schedule.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

#include "base/sha256.h"
#include "op/best.h"

namespace assay::invariants {

namespace {

constexpr uint32_t most_best = 20;

}  // namespace

std::string_view name_of(Ability ability) {
  constexpr std::array<std::string_view, 6> names = {"several", "undo", "copy",
                                                     "fill",    "keys", "counts"};
  return names[size_t(ability)];
}

std::set<Ability> needs_of(const Schedule& schedule) {
  std::set<Ability> needs;
  if (schedule.keys) needs.insert(Ability::keys);
  if (schedule.counted) needs.insert(Ability::counts);
  for (const Action& action : schedule.actions) {
    if (const Step* step = std::get_if<Step>(&action); step && step->parts.size() > 1)
      needs.insert(Ability::several);
    if (std::holds_alternative<Undo>(action)) needs.insert(Ability::undo);
    if (std::holds_alternative<Copy>(action)) needs.insert(Ability::copy);
    if (std::holds_alternative<Fill>(action)) needs.insert(Ability::fill);
  }
  return needs;
}

Row row_of(std::vector<float> values, bool keys, bool whole) {
  Row row;
  for (float& x : values)
    if (std::isnan(x)) x = std::bit_cast<float>(0x7fc00000u);  // a NaN is like any other
  row.bits =
      sha256_hex({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
  row.finite = std::ranges::all_of(values, [](float x) { return std::isfinite(x); });
  if (!keys && row.finite) {
    const auto best = op::best_of(values, most_best);
    double sum = 0;
    for (const float x : values) sum += std::exp(double(x) - double(best[0].logit));
    const double log_sum = double(best[0].logit) + std::log(sum);
    for (const op::Candidate& one : best) row.best.emplace_back(one.id, one.logit - log_sum);
  }
  if (keys || whole) row.values = std::move(values);
  return row;
}

}  // namespace assay::invariants
