// Patterns that any result can have, whatever its operation: scaled, moved, unwritten, with an added
// vector, in single bits.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "diagnose/case.h"
#include "diff/where.h"

namespace assay::diagnose {

using judge::Judged;
using judge::Table;

namespace {

/// Fewer elements show no pattern but one of bits.
constexpr size_t enough = 4;
/// That one element fails and all others pass: nothing but a bit's flip, of all that is tried here, does
/// it.
constexpr double bits_of_one = 4;

/// The tokens and the channels in which something fails, and what lies between the outermost.
struct Places {
  std::set<uint64_t> tokens, channels;

  uint64_t first_token() const { return *tokens.begin(); }
  uint64_t last_token() const { return *tokens.rbegin(); }
  uint64_t first_channel() const { return *channels.begin(); }
  uint64_t last_channel() const { return *channels.rbegin(); }
};

Places places_of(const Case& the, const Contest& contest) {
  Places places;
  for (const uint64_t i : contest.failing()) {
    places.tokens.insert(i / the.got().width);
    places.channels.insert(i % the.got().width);
  }
  return places;
}

// --- unwritten ---

/// What lay there: the same operation's result of another layer, of the step before.
void try_unwritten(const Case& the, Contest& contest) {
  const Table& got = the.got();
  std::vector<std::pair<std::string, Table>> others;
  if (the.trace && the.scene.step > 0)
    if (auto before = the.scene_at(the.scene.step - 1, the.scene.operation)) {
      // The buffer's first rows; of one token the same rows as now.
      Table lay = the.usual.want;
      const uint64_t rows = std::min(lay.rows, before->output.rows);
      std::copy_n(before->output.data.begin(), rows * lay.width, lay.data.begin());
      others.emplace_back("what the step before left there", std::move(lay));
    }
  const size_t dot = the.operation.name.rfind('.');
  if (the.trace && the.operation.layer != op::none && dot != std::string::npos)
    for (size_t i = 0; i < the.scene.operation; ++i) {
      const op::Operation& other = the.program.operations[i];
      if (other.layer == op::none || other.layer == the.operation.layer ||
          other.name != fmt::format("blk.{}{}", other.layer, the.operation.name.substr(dot)))
        continue;
      Table values = the.tensor(other.name);
      if (values.rows == got.rows && values.width == got.width)
        others.emplace_back(fmt::format("what {} left there", other.name), std::move(values));
    }
  for (auto& [evidence, values] : others)
    contest.offer({"rows-not-written", "results that nobody wrote", evidence}, std::move(values),
                  price::of(double(others.size())));
}

// --- scaled ---

/// The factor between the elements that fail: of one token, or of all.
double factor_of(const Case& the, const Contest& contest, std::optional<uint64_t> token = {}) {
  double along = 0, size = 0;
  for (const uint64_t i : contest.failing()) {
    if (token && i / the.got().width != *token) continue;
    along += the.got().data[i] * the.usual.want.data[i];
    size += the.usual.want.data[i] * the.usual.want.data[i];
  }
  return along / size;
}

/// Whether this factor explains a token's failures.
bool explains(const Case& the, const Judged& judged, uint64_t token) {
  for (uint64_t i = 0; i < the.got().width; ++i)
    if (judge::compare_element(the.got(), judged, token, i).failures > 0) return false;
  return true;
}

void try_scaled(const Case& the, Contest& contest, const Places& places) {
  const uint64_t rows = the.got().rows, width = the.got().width;
  const bool whole_tokens = places.channels.size() * 10 >= width * 9;
  const bool one_token = whole_tokens && places.tokens.size() < rows;
  const Cause cause = one_token ? Cause{"token-scale", "a token's results are scaled", ""}
                                : Cause{"scaled", "the result is scaled", ""};
  const double factor = factor_of(the, contest);
  if (factor == 0 || !std::isfinite(factor)) return;
  const bool done = contest.offer_rounded(factor, [&](double by) {
    Cause named = cause;
    named.evidence = fmt::format("by {:.7g}", by);
    return std::pair(named, scaled_by(the, [by](uint64_t) { return by; }));
  });
  if (done || !whole_tokens || places.tokens.size() < 2) return;
  // Each token by a factor of its own.
  std::vector<double> factors(rows, 1.0);
  double paid = 0;
  std::string evidence;
  for (const uint64_t t : places.tokens) {
    const double own = factor_of(the, contest, t);
    int digits = 1;
    for (; digits <= 8; ++digits) {
      factors[t] = digits < 8 ? rounded(own, digits) : own;
      if (explains(the, scaled_by(the, [&](uint64_t) { return factors[t]; }), t)) break;
    }
    if (digits > 8) return;
    paid += price::number(digits);
    if (evidence.size() < 80)
      evidence += fmt::format("{}token {} by {:.5g}", evidence.empty() ? "" : ", ", t, factors[t]);
  }
  contest.offer({"token-scale", "tokens are scaled, each by a factor of its own", evidence},
                scaled_by(the, [&](uint64_t t) { return factors[t]; }), paid);
}

// --- moved ---

/// The place in the usual result that an element comes from.
using Source = std::function<std::pair<uint64_t, uint64_t>(uint64_t token, uint64_t channel)>;

Judged moved(const Case& the, const Source& source) {
  Judged out = the.usual;
  const auto take = [&](Table& to, const Table& from) {
    if (from.data.size() <= 1) return;
    for (uint64_t t = 0; t < to.rows; ++t)
      for (uint64_t i = 0; i < to.width; ++i) {
        const auto [row, column] = source(t, i);
        to.row(t)[i] = from.row(row)[column];
      }
  };
  take(out.want, the.usual.want);
  take(out.scale, the.usual.scale);
  take(out.limit, the.usual.limit);
  take(out.slack, the.usual.slack);
  return out;
}

bool comes_from(const Case& the, uint64_t element, uint64_t source) {
  const uint64_t width = the.got().width, row = source / width, column = source % width;
  const double allowed = the.usual.limit_at(row, column) * 0x1p-24 * the.usual.scale.data[source] +
                         the.usual.slack_at(row, column) + 0x1p-72;
  return std::fabs(the.got().data[element] - the.usual.want.data[source]) <= allowed;
}

/// Distances (tokens, channels) at which the first elements that fail find their value in the usual
/// result, and the others, too.
std::vector<std::pair<int64_t, int64_t>> distances(const Case& the, const Contest& contest) {
  const auto& failing = contest.failing();
  const auto& want = the.usual.want.data;
  const int64_t width = int64_t(the.got().width);
  std::vector<uint64_t> by_value(want.size());
  std::iota(by_value.begin(), by_value.end(), 0u);
  std::erase_if(by_value, [&](uint64_t i) { return !std::isfinite(want[i]); });
  std::ranges::sort(by_value, {}, [&](uint64_t i) { return want[i]; });
  std::set<std::pair<int64_t, int64_t>> found;
  const uint64_t probe = failing[failing.size() / 2];
  if (!std::isfinite(the.got().data[probe])) return {};
  const auto near = std::ranges::lower_bound(by_value, the.got().data[probe], {},
                                             [&](uint64_t i) { return want[i]; }) -
                    by_value.begin();
  for (auto i = std::max<std::ptrdiff_t>(0, near - 64);
       i < std::min<std::ptrdiff_t>(near + 64, std::ptrdiff_t(by_value.size())); ++i) {
    const uint64_t source = by_value[size_t(i)];
    if (source != probe && comes_from(the, probe, source))
      found.insert({int64_t(source) / width - int64_t(probe) / width,
                    int64_t(source) % width - int64_t(probe) % width});
  }
  std::vector<std::pair<int64_t, int64_t>> out;
  for (const auto& [down, right] : found) {
    uint64_t left = 0;
    for (size_t k = 0; k < failing.size() && left <= failing.size() / 200; ++k) {
      const int64_t t = int64_t(failing[k]) / width + down, i = int64_t(failing[k]) % width + right;
      const bool inside = t >= 0 && t < int64_t(the.got().rows) && i >= 0 && i < width;
      left += !inside || !comes_from(the, failing[k], uint64_t(t * width + i));
    }
    if (left <= failing.size() / 200) out.emplace_back(down, right);
  }
  return out;
}

std::string in_words(std::string_view thing, uint64_t first, uint64_t last) {
  return first == last ? fmt::format("{} {}", thing, first)
                       : fmt::format("{}s {} to {}", thing, first, last);
}

/// Part of the result holds what belongs to another part.
void try_repeated(const Case& the, Contest& contest, const Places& places) {
  const int64_t rows = int64_t(the.got().rows), width = int64_t(the.got().width);
  for (const auto& [down, right] : distances(the, contest)) {
    const auto source = [&](uint64_t t, uint64_t i) {
      const int64_t row = int64_t(t) + down, column = int64_t(i) + right;
      const bool inside = row >= 0 && row < rows && column >= 0 && column < width;
      return inside ? std::pair(uint64_t(row), uint64_t(column)) : std::pair(t, i);
    };
    std::string evidence;
    const auto part = [&](const char* thing, uint64_t first, uint64_t last, int64_t by) {
      if (by == 0) return;
      evidence +=
          fmt::format("{}{} hold what belongs to {}", evidence.empty() ? "" : "; ",
                      in_words(thing, first, last),
                      in_words(thing, uint64_t(int64_t(first) + by), uint64_t(int64_t(last) + by)));
    };
    part("token", places.first_token(), places.last_token(), down);
    part("channel", places.first_channel(), places.last_channel(), right);
    contest.offer({"tile-repeated", "a part of the result repeats another", evidence},
                  moved(the, source), price::of(double(rows * width)));
  }
}

/// A square of tokens and channels, turned.
void try_tile_transposed(const Case& the, Contest& contest, const Places& places) {
  const uint64_t rows = the.got().rows, width = the.got().width;
  const uint64_t high = places.last_token() - places.first_token() + 1;
  const uint64_t wide = places.last_channel() - places.first_channel() + 1;
  const auto offer = [&](uint64_t token, uint64_t channel, uint64_t size) {
    if (token + size > rows || channel + size > width) return;
    contest.offer({"tile-transposed", "a tile of the result is transposed",
                   fmt::format("{0} × {0} at token {1}, channel {2}", size, token, channel)},
                  moved(the,
                        [&](uint64_t t, uint64_t i) {
                          const bool inside =
                              t >= token && t < token + size && i >= channel && i < channel + size;
                          return inside ? std::pair(token + i - channel, channel + t - token)
                                        : std::pair(t, i);
                        }),
                  price::of(double(rows * width)));
  };
  const uint64_t size = std::max(high, wide);
  if (high == wide) offer(places.first_token(), places.first_channel(), size);
  for (uint64_t tile = std::bit_ceil(size); tile <= 2 * size && !contest.decided(); tile *= 2)
    if (tile != high || tile != wide)
      offer(places.first_token() / tile * tile, places.first_channel() / tile * tile, tile);
}

/// Channels in another order, in every token.
void try_columns(const Case& the, Contest& contest, const Places& places) {
  const uint64_t width = the.got().width, rows = the.got().rows;
  if (places.channels.size() < 2) return;
  const Table& want = the.usual.want;
  const uint64_t token = places.first_token();
  std::vector<uint64_t> by_value(width), sources(width);
  std::iota(by_value.begin(), by_value.end(), 0u);
  std::iota(sources.begin(), sources.end(), 0u);
  std::ranges::sort(by_value, {}, [&](uint64_t i) { return want.row(token)[i]; });
  double paid = 0;
  for (const uint64_t i : places.channels) {
    const double value = the.got().row(token)[i];
    if (!std::isfinite(value)) return;
    const auto near = std::ranges::lower_bound(by_value, value, {},
                                               [&](uint64_t s) { return want.row(token)[s]; }) -
                      by_value.begin();
    for (auto k = std::max<std::ptrdiff_t>(0, near - 4);
         k < std::min<std::ptrdiff_t>(near + 4, std::ptrdiff_t(width)); ++k) {
      const uint64_t source = by_value[size_t(k)];
      uint64_t t = 0;
      while (t < rows &&
             (!places.tokens.contains(t) || comes_from(the, t * width + i, t * width + source)))
        ++t;
      if (t < rows) continue;
      sources[i] = source;
      break;
    }
    if (sources[i] == i) return;
    paid += price::of(double(width));
  }
  // An order has every channel once; what repeats some is try_repeated's.
  if (std::set(sources.begin(), sources.end()).size() < width) return;
  const uint64_t first = places.first_channel();
  contest.offer({"columns-permuted", "the channels are in another order",
                 fmt::format("channel {} has what belongs to channel {}", first, sources[first])},
                moved(the, [&](uint64_t t, uint64_t i) { return std::pair(t, sources[i]); }), paid);
}

// --- one vector more ---

/// The same vector in every token: it has as many numbers as there are channels, and the tokens must
/// tell more.
void try_vector(const Case& the, Contest& contest, const Places& places) {
  const uint64_t rows = the.got().rows;
  if (rows < 3) return;
  Table want = the.usual.want;
  double size = 0;
  for (const uint64_t i : places.channels) {
    std::vector<double> off;
    for (uint64_t t = 0; t < rows; ++t) off.push_back(the.got().row(t)[i] - want.row(t)[i]);
    std::ranges::sort(off);
    const double middle = off[rows / 2];
    size += middle * middle;
    for (uint64_t t = 0; t < rows; ++t) want.row(t)[i] += middle;
  }
  if (!std::isfinite(size) || size == 0) return;
  Judged judged = with_limits(the, std::move(want));
  // It was rounded where it was added, and is known as well as its tokens are.
  for (double& limit : judged.limit.data) limit += 4;
  contest.offer({"bias", "the same vector is added to every token", "the model has no such bias"},
                judged, double(places.channels.size()) * price::number(8));
}

// --- bits ---

/// A number's bits as f32, or as f16 where all results are f16's.
struct Format {
  int bits;
  const char* name;
  double (*flipped)(double x, int bit);
  bool (*is_set)(double x, int bit);
};

double flip_f32(double x, int bit) {
  return double(std::bit_cast<float>(std::bit_cast<uint32_t>(float(x)) ^ (1u << bit)));
}
bool set_f32(double x, int bit) {
  return std::bit_cast<uint32_t>(float(x)) >> bit & 1;
}
double flip_f16(double x, int bit) {
  return double(k_f16_to_f32(uint16_t(k_f32_to_f16(float(x)) ^ (1u << bit))));
}
bool set_f16(double x, int bit) {
  return k_f32_to_f16(float(x)) >> bit & 1;
}

bool right_if(const Case& the, uint64_t element, double value) {
  if (!std::isfinite(value)) return false;
  const uint64_t width = the.got().width, t = element / width, i = element % width;
  const double allowed = the.usual.limit_at(t, i) * 0x1p-24 * the.usual.scale.data[element] +
                         the.usual.slack_at(t, i) + 0x1p-72;
  return std::fabs(value - the.usual.want.data[element]) <= allowed;
}

/// Failing element k with a bit flipped back is mended(k), which is right.
template <class Mended>
void offer_bits(const Case& the, Contest& contest, Cause cause, double paid, const Mended& mended) {
  Judged judged = the.usual;
  for (const uint64_t i : contest.failing()) judged.want.data[i] += the.got().data[i] - mended(i);
  double shown = 0;
  if (contest.failing().size() == 1 && the.usual.want.data.size() > 16) {
    // How near the mended value comes says more than that it is inside its limits.
    const uint64_t i = contest.failing()[0], width = the.got().width;
    const double want = the.usual.want.data[i];
    const double limit =
        the.usual.limit_at(i / width, i % width) * 0x1p-24 * the.usual.scale.data[i];
    const double off = std::max(std::fabs(mended(i) - want), 0x1p-25 * std::fabs(want));
    shown = bits_of_one + std::max(0.0, std::log2(limit / off));
  }
  contest.offer(std::move(cause), judged, paid, shown);
}

void try_bits(const Case& the, Contest& contest, const Places& places, const Format& format) {
  const auto& failing = contest.failing();
  const auto& got = the.got().data;
  const uint64_t width = the.got().width;
  for (int bit = format.bits - 1; bit >= 0; --bit) {
    const auto mends = [&](uint64_t i) { return right_if(the, i, format.flipped(got[i], bit)); };
    if (!std::ranges::all_of(failing, mends)) continue;
    // Stuck: it never has the other value where it fails.
    uint64_t held = 0, others = 0;
    const bool value = format.is_set(got[failing[0]], bit);
    for (const uint64_t t : places.tokens)
      for (const uint64_t i : places.channels)
        ++(format.is_set(got[t * width + i], bit) == value ? held : others);
    const bool stuck = others == 0 && held >= failing.size() + 3;
    if (!stuck && failing.size() > 1 && bit == format.bits - 1) continue;  // a factor of −1
    offer_bits(the, contest,
               stuck ? Cause{"bit-stuck", "a bit of the result is stuck",
                             fmt::format("bit {} of {} is always {}", bit, format.name, int(value))}
                     : Cause{"bit-flipped",
                             failing.size() == 1 ? "a bit of the result is flipped"
                                                 : "a bit of each of these results is flipped",
                             fmt::format("bit {} of {}", bit, format.name)},
               1,  // of a bit's change only one fits the size that is seen
               [&](uint64_t i) { return format.flipped(got[i], bit); });
    return;
  }
  if (failing.size() < 2 || failing.size() > 16) return;
  // Each element another bit.
  std::string evidence;
  std::map<uint64_t, double> mended;
  for (const uint64_t i : failing) {
    int bit = format.bits - 1;
    while (bit >= 0 && !right_if(the, i, format.flipped(got[i], bit))) --bit;
    if (bit < 0) return;
    mended[i] = format.flipped(got[i], bit);
    evidence += fmt::format("{}bit {} of token {} channel {}", evidence.empty() ? "" : ", ", bit,
                            i / width, i % width);
  }
  offer_bits(the, contest, {"bit-flipped", "single bits of the result are flipped", evidence},
             double(failing.size()), [&](uint64_t i) { return mended.at(i); });
}

void try_bits(const Case& the, Contest& contest, const Places& places) {
  const auto& got = the.got().data;
  for (const uint64_t i : contest.failing())
    if (std::isnan(got[i])) return;  // which NaN it was, no number tells
  try_bits(the, contest, places, {32, "f32", flip_f32, set_f32});
  if (!contest.decided() && std::ranges::all_of(got, [](double x) {
        return !std::isfinite(x) || judge::round_to_f16(x) == x;
      }))
    try_bits(the, contest, places, {16, "f16", flip_f16, set_f16});
}

}  // namespace

void offer_zeros(const Case& the, Contest& contest) {
  // What is carried on has other zeros than what is recorded.
  const auto is_zero = [&](uint64_t i) { return the.got().data[i] == 0; };
  if (!contest.is_carried() && std::ranges::all_of(contest.failing(), is_zero))
    contest.offer({"rows-not-written", "results that nobody wrote", "they are zero"},
                  Table(the.got().rows, the.got().width));
}

void offer_part_of_heads(const Case& the, Contest& contest, std::string evidence, Table instead) {
  const uint64_t heads = diff::heads_of(the.program, the.operation), width = the.got().width;
  if (heads < 2 || width % heads != 0) return;
  std::set<uint64_t> failing;
  for (const uint64_t i : contest.failing()) failing.insert(i % width / (width / heads));
  if (failing.size() == heads) return;
  const std::vector<uint64_t> which(failing.begin(), failing.end());
  contest.offer({"head-part", "part of the heads is left out",
                 diff::in_words("head", which, heads) + ": " + evidence},
                std::move(instead));
}

void try_patterns(const Case& the, Contest& contest) {
  const auto& failing = contest.failing();
  if (failing.empty()) return;
  const Places places = places_of(the, contest);
  try_bits(the, contest, places);
  if (failing.size() < enough) return;
  try_unwritten(the, contest);
  try_scaled(the, contest, places);
  if (the.seen.not_finite > 0) return;
  if (!contest.decided()) try_tile_transposed(the, contest, places);
  if (!contest.decided()) try_repeated(the, contest, places);
  if (!contest.decided()) try_columns(the, contest, places);
  if (!contest.decided()) try_vector(the, contest, places);
}

}  // namespace assay::diagnose
