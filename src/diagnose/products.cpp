// Products of which a small part is wrong: a group's scale, a bit of the weights, the order of the
// columns, a scale of activations that overflows. What a part adds is known without the rest.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

#include "diagnose/case.h"
#include "judge/product.h"
#include "quant/formats.h"

namespace assay::diagnose {

using judge::Coding, judge::Judged, judge::Table;

namespace {

const op::Weight& weight_of(const Case& the) {
  return the.program.weights[the.operation.weight];
}

/// The activations as the product sees them.
Table represented(const Case& the) {
  return judge::decoded(the.input(0), the.scene.coding).values;
}

std::set<uint64_t> channels_of(const Case& the, const Contest& contest) {
  std::set<uint64_t> channels;
  for (const uint64_t i : contest.failing()) channels.insert(i % the.got().width);
  return channels;
}

/// The usual result and what is added to some rows of it.
Table with_more(const Case& the, const std::set<uint64_t>& channels,
                std::function<double(uint64_t token, uint64_t channel)> more) {
  Table want = the.usual.want;
  for (const uint64_t r : channels)
    for (uint64_t t = 0; t < want.rows; ++t) want.row(t)[r] += more(t, r);
  return want;
}

// --- one group's scale ---

/// A weight row's parts: what the scales alone make, what the minimums alone make.
struct Parts {
  std::vector<double> whole, scale;
};

Parts parts_of(const Case& the, uint64_t r) {
  const op::Weight& weight = weight_of(the);
  Parts parts{judge::decode_row(weight, r), {}};
  parts.scale = parts.whole;
  if (quant::info(weight.type).block_size == 1) return parts;
  judge::WeightRow row;
  judge::read_weight_row(weight, r, {}, row);
  const uint64_t group = weight.columns / row.scale.size();
  for (uint64_t c = 0; c < weight.columns; ++c) parts.scale[c] -= row.minimum[c / group];
  return parts;
}

/// The same group of columns times one factor, in all that fails: of a row of weights, of all rows, of
/// a token's activations.
void try_groups(const Case& the, Contest& contest, const Table& x) {
  const op::Weight& weight = weight_of(the);
  const auto& failing = contest.failing();
  const auto channels = channels_of(the, contest);
  if (failing.size() < 3 || channels.size() * weight.columns * x.rows > (1u << 28)) return;
  std::map<uint64_t, Parts> parts;
  for (const uint64_t r : channels) parts.emplace(r, parts_of(the, r));
  std::set<uint64_t> sizes = {32, 256};
  const auto info = quant::info(weight.type);
  if (info.block_size > 1) sizes = {info.block_size};
  if (info.block_size == 256) sizes.insert({16, 32});
  for (const bool whole : {true, false})
    for (const uint64_t size : sizes) {
      if (weight.columns <= size || contest.decided()) continue;
      const uint64_t groups = weight.columns / size;
      const auto adds = [&](uint64_t t, uint64_t r, uint64_t g) {
        const std::vector<double>& w = whole ? parts.at(r).whole : parts.at(r).scale;
        double sum = 0;
        for (uint64_t c = g * size; c < (g + 1) * size; ++c) sum += w[c] * x.row(t)[c];
        return sum;
      };
      uint64_t best = groups;
      double least = 0.01, factor = 0;
      for (uint64_t g = 0; g < groups; ++g) {
        double along = 0, norm = 0, all = 0;
        for (const uint64_t i : failing) {
          const uint64_t t = i / the.got().width, r = i % the.got().width;
          const double p = adds(t, r, g), d = the.got().data[i] - the.usual.want.data[i];
          along += p * d;
          norm += p * p;
          all += d * d;
        }
        const double left = 1 - along * along / (norm * all);
        if (!(left < least)) continue;
        least = left;
        best = g;
        factor = along / norm;
      }
      if (best == groups) continue;
      contest.offer_rounded(
          1 + factor,
          [&](double by) {
            return std::pair(Cause{"group-scale", "the scale of a group of columns is another",
                                   fmt::format("columns {} to {}{} by {:.7g}", best * size,
                                               (best + 1) * size - 1,
                                               whole ? "" : " without their minimum", by)},
                             with_limits(the, with_more(the, channels, [&](uint64_t t, uint64_t r) {
                                           return (by - 1) * adds(t, r, best);
                                         })));
          },
          price::of(double(groups)) + 1);
    }
}

// --- a bit of the weights ---

void try_weight_bits(const Case& the, Contest& contest, const Table& x) {
  const op::Weight& weight = weight_of(the);
  const auto channels = channels_of(the, contest);
  if (channels.size() != 1) return;
  const uint64_t r = *channels.begin(), rows = the.got().rows;
  const auto info = quant::info(weight.type);
  const auto bytes = weight.row(r);
  double size = 0;
  std::vector<double> off(rows);
  for (uint64_t t = 0; t < rows; ++t) {
    off[t] = the.got().row(t)[r] - the.usual.want.row(t)[r];
    size += off[t] * off[t];
  }
  std::vector<float> before(info.block_size), after(info.block_size);
  std::vector<uint8_t> block(info.block_bytes);
  double least = 1e-3;
  std::string evidence;
  std::vector<double> best;
  for (uint64_t b = 0; b * info.block_bytes < bytes.size(); ++b) {
    const auto own = bytes.subspan(b * info.block_bytes, info.block_bytes);
    quant::decode_row(weight.type, own, before);
    for (uint32_t bit = 0; bit < info.block_bytes * 8; ++bit) {
      std::ranges::copy(own, block.begin());
      block[bit / 8] ^= uint8_t(1u << bit % 8);
      quant::decode_row(weight.type, block, after);
      double left = 0;
      std::vector<double> more(rows, 0.0);
      for (uint64_t t = 0; t < rows; ++t) {
        for (uint64_t c = 0; c < info.block_size; ++c)
          if (after[c] != before[c])
            more[t] += (double(after[c]) - double(before[c])) * x.row(t)[b * info.block_size + c];
        left += (off[t] - more[t]) * (off[t] - more[t]);
      }
      if (!(left < least * size)) continue;
      least = left / size;
      best = more;
      evidence = fmt::format("bit {} of byte {} of row {} of {}", bit % 8,
                             b * info.block_bytes + bit / 8, r, weight.name);
    }
  }
  if (!best.empty())
    contest.offer({"bit-flipped", "a bit of the weights is flipped", evidence},
                  with_more(the, channels, [&](uint64_t t, uint64_t) { return best[t]; }),
                  price::of(double(bytes.size()) * 8));
}

// --- the order of the columns ---

struct Order {
  std::string words;
  std::function<uint64_t(uint64_t column)> of;
};

std::vector<Order> orders_of(const Case& the) {
  const uint64_t n = weight_of(the).columns, half = n / 2;
  std::vector<Order> orders = {
      {"neighbours exchanged", [](uint64_t c) { return c ^ 1; }},
      {"backwards", [n](uint64_t c) { return n - 1 - c; }},
      {"halves exchanged", [half](uint64_t c) { return c < half ? c + half : c - half; }},
      {"halves read as neighbours", [half](uint64_t c) { return c / 2 + c % 2 * half; }},
      {"neighbours read as halves",
       [half](uint64_t c) { return c < half ? 2 * c : 2 * (c - half) + 1; }},
      {"one late", [n](uint64_t c) { return (c + 1) % n; }},
      {"one early", [n](uint64_t c) { return (c + n - 1) % n; }}};
  for (const uint64_t block : {16u, 32u, 64u, 128u})
    if (n % (2 * block) == 0)
      orders.push_back({fmt::format("neighbouring blocks of {} exchanged", block),
                        [block](uint64_t c) { return c ^ block; }});
  // The heads of attention's output.
  for (const op::Operation& made : the.program.operations)
    if (made.is<op::Attend>() && made.output == the.operation.inputs[0]) {
      const op::AttentionShape a = the.program.attention_of(made);
      const uint64_t dim = a.value_dim, heads = a.heads, kv = a.kv_heads, group = heads / kv;
      const auto by_head = [&](const char* words, auto head_of) {
        orders.push_back(
            {words, [dim, head_of](uint64_t c) { return head_of(c / dim) * dim + c % dim; }});
      };
      by_head("heads backwards", [heads](uint64_t h) { return heads - 1 - h; });
      by_head("heads by group", [kv, group](uint64_t h) { return h % kv * group + h / kv; });
      by_head("heads by KV head", [kv, group](uint64_t h) { return h % group * kv + h / group; });
      orders.push_back(
          {"lanes before heads", [dim, heads](uint64_t c) { return c % heads * dim + c / heads; }});
    }
  return orders;
}

void try_orders(const Case& the, Contest& contest) {
  const auto orders = orders_of(the);
  for (const Order& order : orders) {
    if (contest.decided()) return;
    Table x = the.input(0);
    for (uint64_t t = 0; t < x.rows; ++t)
      for (uint64_t c = 0; c < x.width; ++c) x.row(t)[c] = the.input(0).row(t)[order.of(c)];
    contest.offer({"columns-permuted", "the columns are in another order", order.words},
                  judged(the, judge::multiply(weight_of(the), the.program.bias_of(the.operation), x,
                                              the.scene.coding)),
                  price::of(double(orders.size())));
  }
}

/// Two columns exchanged: what it adds is (x[b] − x[a])·(w[a] − w[b]).
void try_two_columns(const Case& the, Contest& contest, const Table& x) {
  const op::Weight& weight = weight_of(the);
  const uint64_t rows = the.got().rows, n = weight.columns;
  if (rows < 3 || n > 4096) return;
  // The channel that is furthest off tells what the tokens have in common.
  const uint64_t furthest = *std::ranges::max_element(contest.failing(), {}, [&](uint64_t i) {
    return std::fabs(the.got().data[i] - the.usual.want.data[i]);
  }) % the.got().width;
  std::vector<double> off(rows);
  double size = 0;
  for (uint64_t t = 0; t < rows; ++t) {
    off[t] = the.got().row(t)[furthest] - the.usual.want.row(t)[furthest];
    size += off[t] * off[t];
  }
  std::pair<uint64_t, uint64_t> best;
  double least = 1e-4;
  for (uint64_t a = 0; a < n; ++a)
    for (uint64_t b = a + 1; b < n; ++b) {
      double along = 0, norm = 0;
      for (uint64_t t = 0; t < rows; ++t) {
        const double d = x.row(t)[b] - x.row(t)[a];
        along += d * off[t];
        norm += d * d;
      }
      const double left = 1 - along * along / (norm * size);
      if (left < least) {
        least = left;
        best = {a, b};
      }
    }
  if (best.first == best.second) return;
  const auto [a, b] = best;
  std::set<uint64_t> all;
  for (uint64_t r = 0; r < weight.rows; ++r) all.insert(r);
  contest.offer(
      {"columns-permuted", "two columns are exchanged", fmt::format("{} and {}", a, b)},
      with_more(the, all,
                [&, w = std::vector<double>(), of = weight.rows](uint64_t t, uint64_t r) mutable {
                  if (of != r) w = judge::decode_row(weight, r);
                  of = r;
                  return (x.row(t)[b] - x.row(t)[a]) * (w[a] - w[b]);
                }),
      2 * price::of(double(n)));
}

// --- f16 ---

/// The scale of a block of activations, or the sum of its codes that a minimum meets, is beyond f16.
void try_scale_overflow(const Case& the, Contest& contest) {
  const Coding own = the.scene.coding;
  if (!own.meets_codes()) return;
  double most = 0;
  for (const double x : the.input(0).data) most = std::max(most, std::fabs(x));
  for (const bool scale : {true, false})
    for (const bool sums : {false, true}) {
      Coding halves = own;
      halves.scale_is_f16 = scale;
      if (sums) halves.sums = Coding::Sums::codes_f16;
      contest.offer_overflow(
          {"f16-scale-overflow", "the scale of the activations overflows f16",
           fmt::format("the largest |x| is {:.4g}; {} beyond 65504", most,
                       scale ? "its 127th part is" : "a block's sum is")},
          judged(the, judge::multiply(weight_of(the), the.program.bias_of(the.operation),
                                      the.input(0), halves)),
          2);
    }
}

}  // namespace

void try_products(const Case& the, Contest& contest) {
  if (the.seen.not_finite > 0) return try_scale_overflow(the, contest);
  if (contest.decided() || contest.failing().empty() || contest.is_carried()) return;
  const Table x = represented(the);
  try_weight_bits(the, contest, x);
  if (!contest.decided()) try_groups(the, contest, x);
  if (!contest.decided()) try_patterns(the, contest);
  if (!contest.decided()) try_orders(the, contest);
  if (!contest.decided()) try_two_columns(the, contest, x);
}

}  // namespace assay::diagnose
