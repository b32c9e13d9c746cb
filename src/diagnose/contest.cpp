#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "diagnose/case.h"
#include "diff/where.h"

namespace assay::diagnose {

using judge::Judged;
using judge::Table;

namespace {

/// Bits that a reproduction must be worth beyond its price.
constexpr double margin = 10;
/// Others that cost at most as many bits more than the winner are its ties.
constexpr double as_cheap = 6;
/// What leaves less of the difference's square comes near.
constexpr double nearly = 1.0 / 10;
/// f32 has no more to reproduce.
constexpr double most_bits = 24;
/// A result that is not finite, where the hypothesis has one, too: few values do that.
constexpr double bits_of_not_finite = 6;
/// Up to here nothing that has to be fitted is simpler.
constexpr double cheap = 14;

/// Slack is for what rarely happens (an activation near a tie is coded the other way): where it was not
/// needed, it is no excuse.
double allowed_of(const Judged& judged, double got, uint64_t t, uint64_t i) {
  const double slack = std::min(judged.slack_at(t, i), std::fabs(got - judged.want.row(t)[i]));
  const double allowed = judged.limit_at(t, i) * 0x1p-24 * judged.scale.row(t)[i] + slack + 0x1p-72;
  // A copy is exact: f32's own bits are what there is to reproduce.
  return std::max(allowed, 0x1p-25 * std::fabs(judged.want.row(t)[i]));
}

}  // namespace

double price::some_of(uint64_t k, uint64_t n) {
  if (k == 0 || k >= n) return 0;
  const double p = double(k) / double(n);
  return double(n) * -(p * std::log2(p) + (1 - p) * std::log2(1 - p)) + of(double(n));
}

Contest::Contest(const Case& the, const Table& got, const Judged& usual, const Carried* carried)
    : case_(the), got_(got), usual_(usual), carried_(carried) {
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t i = 0; i < got.width; ++i)
      if (judge::compare_element(got, usual, t, i).failures > 0) {
        failing_.push_back(t * got.width + i);
        error_.push_back(std::fabs(got.row(t)[i] - usual.want.row(t)[i]));
      }
  // What is altered in some tokens and carried on is not the same as what fails in some.
  if (!carried) make_regions();
}

void Contest::make_regions() {
  const uint64_t rows = case_.got().rows, width = case_.got().width;
  const uint64_t heads = diff::heads_of(case_.program, case_.operation);
  const auto add = [&](uint64_t parts, bool by_token, std::string name) {
    const uint64_t part = width / parts, units = by_token ? rows * parts : parts;
    const auto unit = [&](uint64_t i) {
      return (by_token ? i / width * parts : 0) + i % width / part;
    };
    std::vector<bool> fails(units, false);
    for (const uint64_t i : failing_) fails[unit(i)] = true;
    const auto failing = uint64_t(std::ranges::count(fails, true));
    if (failing == units) return;
    uint64_t runs = 0;
    for (uint64_t u = 0; u < units; ++u) runs += fails[u] && (u == 0 || !fails[u - 1]);
    Region region;
    region.price =
        std::min(price::some_of(failing, units), 2 * double(runs) * price::of(double(units)));
    region.price = std::max(region.price, 6.0);
    region.name = std::move(name);
    region.of_channels = parts == width;
    region.within.resize(rows * width);
    for (uint64_t i = 0; i < region.within.size(); ++i) region.within[i] = fails[unit(i)];
    regions_.push_back(std::move(region));
  };
  if (failing_.empty()) return;
  add(1, true, "tokens");
  if (heads > 1 && width % heads == 0) {
    add(heads, false, "heads");
    add(heads, true, "heads and tokens");
  }
  add(width, false, "channels");
}

Contest::Fit Contest::fit(const Judged& judged, const std::vector<bool>* within) const {
  Fit out;
  const Table& got = got_;
  const auto both_not_finite = [&](uint64_t t, uint64_t i) {
    return overflows_ && !std::isfinite(got.row(t)[i]) && !std::isfinite(judged.want.row(t)[i]);
  };
  const uint64_t allowed = failing_.size() / 200;
  for (uint64_t t = 0; t < got.rows && out.left <= allowed; ++t)
    for (uint64_t i = 0; i < got.width && out.left <= allowed; ++i) {
      if (within && !(*within)[t * got.width + i]) continue;
      if (judge::compare_element(got, judged, t, i).failures > 0 && !both_not_finite(t, i))
        ++out.left;
    }
  if (out.left > allowed) return out;
  for (size_t k = 0; k < failing_.size(); ++k) {
    const uint64_t t = failing_[k] / got.width, i = failing_[k] % got.width;
    if (both_not_finite(t, i)) {
      out.gain += bits_of_not_finite;
      continue;
    }
    if (judge::compare_element(got, judged, t, i).failures > 0) continue;
    out.exact += float(judged.want.row(t)[i]) == float(got.row(t)[i]);
    const double bits = std::log2(error_[k] / allowed_of(judged, got.row(t)[i], t, i));
    out.gain += std::isnan(bits) ? 0 : std::clamp(bits, 0.0, most_bits);
  }
  return out;
}

bool Contest::count(Cause& cause, std::string key, const Fit& fit, double price, bool everywhere) {
  price += price::some_of(fit.left, failing_.size());
  if (fit.left > failing_.size() / 200 || fit.gain < price + margin) return false;
  cause.evidence +=
      fmt::format("{}reproduces {} of {} elements that failed", cause.evidence.empty() ? "" : "; ",
                  failing_.size() - std::min<uint64_t>(failing_.size(), fit.left), failing_.size());
  counted_.push_back(
      {std::move(cause), std::move(key), fit.left, fit.exact, fit.gain, price, everywhere});
  return true;
}

bool Contest::offer(Cause cause, const Judged& judged, double price, double shown) {
  if (!carried_) return offer_recorded(std::move(cause), judged, price, shown);
  if (carried_->only && !carried_->only->contains(key_of(cause))) return false;
  const Judged led = carried_->of(judged);
  if (offer_recorded(cause, led, price, 0)) return true;
  // A code of what is altered may fall the other way where none of what is right did.
  const bool near = distance(led.want, got_) < nearly * distance(usual_.want, got_);
  return near && offer_recorded(std::move(cause), carried_->closely(judged), price, 0);
}

bool Contest::offer_recorded(Cause cause, const Judged& judged, double price, double shown) {
  const std::string key = key_of(cause);
  Fit all = fit(judged, nullptr);
  all.gain += shown;
  if (count(cause, key, all, price, true)) return true;
  for (const Region& region : regions_) {
    if (of_tokens_ && region.of_channels) continue;
    const Fit part = fit(judged, &region.within);
    if (part.left > failing_.size() / 200 || part.gain < price + region.price + margin) continue;
    cause.evidence +=
        fmt::format("{}in the {} that fail alone", cause.evidence.empty() ? "" : "; ", region.name);
    return count(cause, key, part, price + region.price, false);
  }
  return false;
}

bool Contest::offer_overflow(Cause cause, const Judged& judged, double price, double shown) {
  overflows_ = true;
  const bool counts = offer(std::move(cause), judged, price, shown);
  overflows_ = false;
  return counts;
}

bool Contest::offer(Cause cause, Table want, double price) {
  return offer(std::move(cause), with_limits(case_, std::move(want)), price);
}

bool Contest::offer_of_tokens(Cause cause, Table want, double price) {
  of_tokens_ = true;
  const bool counts = offer(std::move(cause), std::move(want), price);
  of_tokens_ = false;
  return counts;
}

bool Contest::offer_rounded(double value,
                            const std::function<std::pair<Cause, Judged>(double)>& make,
                            double extra) {
  if (!std::isfinite(value)) return false;
  for (int digits = 1; digits <= 8; ++digits) {
    auto [cause, judged] = make(digits < 8 ? rounded(value, digits) : value);
    if (offer(std::move(cause), judged, extra + price::number(digits))) return true;
  }
  return false;
}

bool Contest::offer_nearly(Cause cause, const Judged& judged, double price) {
  if (offer(cause, judged, price)) return true;
  if (failing_.size() < 64 || carried_) return false;
  double left = 0, all = 0;
  const auto& got = got_.data;
  for (size_t i = 0; i < got.size(); ++i) {
    left += (got[i] - judged.want.data[i]) * (got[i] - judged.want.data[i]);
    all += (got[i] - usual_.want.data[i]) * (got[i] - usual_.want.data[i]);
  }
  if (!(left < left_ * all)) return false;
  left_ = left / all;
  cause.evidence += fmt::format(
      "{}explains all but {:.2g} of the difference's square: not to the "
      "bit, as after quantising again",
      cause.evidence.empty() ? "" : "; ", left_);
  cause.confidence = 1 - left_;
  near_ = std::move(cause);
  return true;
}

void Contest::rename(Cause cause) {
  if (counted_.empty()) return;
  Cause& last = counted_.back().cause;
  cause.evidence += (cause.evidence.empty() ? "" : "; ") + last.evidence;
  last = std::move(cause);
}

void Contest::adopt(Cause cause) {
  if (!adopted_ && !carried_) adopted_ = std::move(cause);
}

bool Contest::decided() const {
  return std::ranges::any_of(counted_,
                             [](const Counted& c) { return c.everywhere && c.price <= cheap; });
}

std::set<std::string> Contest::keys() const {
  std::set<std::string> out;
  for (const Counted& c : counted_) out.insert(c.key);
  return out;
}

const Contest::Counted* Contest::best() const {
  const auto best = std::ranges::min_element(counted_, [](const Counted& a, const Counted& b) {
    return std::tuple(a.price, a.left, b.exact) < std::tuple(b.price, b.left, a.exact);
  });
  return best == counted_.end() ? nullptr : &*best;
}

double Contest::price() const {
  return counted_.empty() ? INFINITY : best()->price;
}

Cause Contest::result() const {
  if (counted_.empty()) {
    if (near_) return *near_;
    if (adopted_) return *adopted_;
    return {"unknown", "cause unknown", "no hypothesis reproduces the engine's values"};
  }
  const Counted& best = *this->best();
  // Of one name the cheapest counts. The chance that none is right weighs 2^-gain.
  std::map<std::string, double> prices;
  for (const Counted& c : counted_) {
    const auto [at, is_new] = prices.emplace(c.cause.id, c.price);
    if (!is_new) at->second = std::min(at->second, c.price);
  }
  double weight = std::exp2(best.price - best.gain);
  for (const auto& [id, paid] : prices) weight += std::exp2(best.price - paid);
  Cause cause = best.cause;
  cause.confidence = 1 / weight;
  for (const auto& [id, paid] : prices)
    if (id != cause.id && paid <= best.price + as_cheap) cause.ties.push_back(id);
  cause.evidence += fmt::format("; confidence {:.3g}", cause.confidence);
  if (!cause.ties.empty())
    cause.evidence += fmt::format("; as well: {}", fmt::join(cause.ties, ", "));
  return cause;
}

}  // namespace assay::diagnose
