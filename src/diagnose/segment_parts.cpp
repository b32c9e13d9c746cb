// What a segment's operation gave, with a part of it scaled, zero, moved, or with a number added. Each
// is fitted by what follows from it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "diagnose/segment_parts.h"
#include "diff/where.h"

namespace assay::diagnose {

using diff::Segment;
using judge::Judged;
using judge::Table;

namespace {

/// Below this cosine between what a number changes and what is wrong, it is another number.
constexpr double alike = 0.5;

/// Some elements of an output.
struct Part {
  std::string name;  ///< "head 2 of 4"; empty: all
  std::function<bool(uint64_t token, uint64_t channel)> has;
  double price = 0;
  bool of_tokens = false;
};

Table changed(const Table& output, const Part& part, const std::function<double(double)>& change) {
  Table out = output;
  for (uint64_t t = 0; t < out.rows; ++t)
    for (uint64_t i = 0; i < out.width; ++i)
      if (part.has(t, i)) out.row(t)[i] = change(out.row(t)[i]);
  return out;
}

/// An operation of a segment, of which `few` has the first tokens.
class Parts {
 public:
  Parts(const Segment& few, const Case& the, Contest& contest)
      : few_(few),
        the_(the),
        contest_(contest),
        output_(the.got()),
        price_(price::of(double(few.operations().size()))) {
    output_.rows = std::min<uint64_t>(output_.rows, few.closing().tokens.tokens.size());
    output_.data.resize(output_.rows * output_.width);
  }

  void try_whole() { try_factor(all_); }
  void try_all() {
    try_factor(all_, nearest_factor());
    try_number(all_);
    for (const Part& part : tokens()) try_part(part);
    for (const Part& part : channels()) try_part(part);
    for (const Part& part : heads()) try_part(part);
    try_shifts();
  }

 private:
  /// The recorded output of the first tokens that follows from another output of the operation.
  Table led_to(Table output) const {
    Judged altered;
    altered.want = std::move(output);
    return few_.carried({{&the_.scene.operation, 1}, &altered}).want;
  }
  Judged with(const Part& part, const std::function<double(double)>& change) const {
    return with_limits(the_, changed(the_.usual.want, part, change));
  }

  /// The number by which `change` brings the recorded output nearest: by secants, as what follows is
  /// not linear. The first are long, a part of `size`: what follows may be coded in few bits.
  std::optional<double> fitted(const Part& part, double number, double size,
                               const std::function<double(double x, double number)>& change) const {
    const Table& got = few_.closing().output;
    const auto altered = [&](double n) {
      return led_to(changed(output_, part, [&](double x) { return change(x, n); }));
    };
    double least = INFINITY, best = number, step = size / 16;
    for (int round = 0; round < 8; ++round) {
      const Table here = altered(number), beside = altered(number + step);
      double along = 0, square = 0, distant = 0;
      for (size_t i = 0; i < here.data.size(); ++i) {
        const double slope = (beside.data[i] - here.data[i]) / step;
        const double off = got.data[i] - here.data[i];
        along += slope * off;
        square += slope * slope;
        distant += off * off;
      }
      if (!(distant < least)) break;
      least = distant;
      best = number;
      if (!(square > 0) || (round == 0 && std::fabs(along) < alike * std::sqrt(square * distant)))
        return std::nullopt;
      number += along / square;
      step = std::clamp(std::fabs(along / square), 1e-3 * size, step);
    }
    return best;
  }

  /// The usual factor that comes nearest: what follows may nearly undo one, so that a fit from 1 fails.
  double nearest_factor() const {
    double nearest = 1, least = INFINITY;
    for (const double by : {0.5, 2.0, 0.1, 10.0, -1.0}) {
      const Table led = led_to(mapped(output_, [by](double x) { return by * x; }));
      const double distant = distance(led, few_.closing().output);
      if (distant < least) least = distant, nearest = by;
    }
    return nearest;
  }

  void try_factor(const Part& part, double start = 1) {
    if (contest_.decided()) return;
    const auto factor = fitted(part, start, 1, [](double x, double by) { return x * by; });
    if (!factor || !(std::fabs(*factor - 1) > 1e-6)) return;
    const bool token = part.of_tokens;
    const auto scaled = [&](double by) {
      return std::pair(
          Cause{token ? "token-scale" : "scaled",
                token ? "a token's results are scaled" : "the result is scaled",
                fmt::format("{}{}by {:.4g}", part.name, part.name.empty() ? "" : " ", by)},
          with(part, [by](double x) { return by * x; }));
    };
    if (contest_.offer_rounded(*factor, scaled, price_ + part.price)) return;
    // Through codes of few bits it is known to a percent or two: the usual ones beside it.
    for (const double by : {std::floor(*factor * 20) / 20, std::ceil(*factor * 20) / 20}) {
      if (std::fabs(by / *factor - 1) > 0.02 || by == 1) continue;
      auto [cause, judged] = scaled(by);
      contest_.offer(std::move(cause), judged, price_ + part.price + price::number(3));
    }
  }

  void try_number(const Part& part) {
    if (contest_.decided()) return;
    const double size = std::sqrt(distance(output_, Table(output_.rows, output_.width)) /
                                  double(output_.data.size()));
    const auto number = fitted(part, 0, size, [](double x, double more) { return x + more; });
    if (!number || *number == 0) return;
    contest_.offer_rounded(
        *number,
        [&](double more) {
          return std::pair(Cause{"bias", "the same vector is added to every token",
                                 fmt::format("{:.4g} in every channel", more)},
                           with(part, [more](double x) { return x + more; }));
        },
        price_);
  }

  void try_part(const Part& part) {
    if (contest_.decided()) return;
    contest_.offer({"rows-not-written", "results that nobody wrote", "zeros in " + part.name},
                   with(part, [](double) { return 0.0; }), price_ + part.price);
    try_factor(part);
  }

  /// What fails of the recorded output: its tokens, its channels.
  std::set<uint64_t> failing(bool of_tokens) const {
    std::set<uint64_t> out;
    const uint64_t width = few_.closing().output.width;
    for (const uint64_t i : contest_.failing()) out.insert(of_tokens ? i / width : i % width);
    return out;
  }

  Part part_of(bool of_tokens, const std::set<uint64_t>& which, uint64_t count) const {
    const std::vector<uint64_t> listed(which.begin(), which.end());
    return {
        diff::in_words(of_tokens ? "token" : "channel", listed, count),
        [which, of_tokens](uint64_t t, uint64_t i) { return which.contains(of_tokens ? t : i); },
        price::of(double(count)) * (which.size() > 1 ? 2 : 1), of_tokens};
  }

  /// The tokens that fail, and the first of them: others may fail as they attend to it.
  std::vector<Part> tokens() const {
    const std::set<uint64_t> which = failing(true);
    const uint64_t rows = the_.got().rows;
    std::vector<Part> out;
    if (which.empty() || few_.closing().output.rows <= *which.begin()) return out;
    if (rows > 1) out.push_back(part_of(true, {*which.begin()}, rows));
    if (which.size() > 1 && which.size() < rows) out.push_back(part_of(true, which, rows));
    return out;
  }

  /// The channels that fail, where the operation's result is added to what was recorded.
  std::vector<Part> channels() const {
    const std::set<uint64_t> which = failing(false);
    if (the_.got().width != few_.closing().output.width || which.size() == the_.got().width)
      return {};
    return {part_of(false, which, the_.got().width)};
  }

  std::vector<Part> heads() const {
    const uint64_t count = diff::heads_of(the_.program, the_.operation), width = the_.got().width;
    std::vector<Part> out;
    if (count < 2 || width % count != 0) return out;
    for (uint64_t head = 0; head < count; ++head)
      out.push_back({fmt::format("head {} of {}", head, count),
                     [head, dim = width / count](uint64_t, uint64_t i) { return i / dim == head; },
                     price::of(double(count))});
    return out;
  }

  /// Rows of a product's matrix that are another's, all as far away.
  void try_shifts() {
    const uint64_t width = the_.got().width;
    const uint64_t heads = diff::heads_of(the_.program, the_.operation);
    if (!the_.operation.is<op::Matmul>()) return;
    std::set<uint64_t> distances;
    for (const uint64_t by : {uint64_t(1), uint64_t(2), width / heads, width / 2})
      distances.insert({by % width, (width - by % width) % width});
    distances.erase(0);
    for (const uint64_t by : distances) {
      if (contest_.decided()) return;
      Judged moved = the_.usual;
      for (Table* table : {&moved.want, &moved.scale, &moved.limit, &moved.slack})
        if (table->data.size() > 1)
          for (uint64_t t = 0; t < table->rows; ++t)
            std::ranges::rotate(table->row(t), table->row(t).end() - std::ptrdiff_t(by));
      contest_.offer(
          {"weight-rows-shifted", "the rows are shifted", fmt::format("by {} of {}", by, width)},
          moved, price_ + price::of(double(width)));
    }
  }

  const Part all_{"", [](uint64_t, uint64_t) { return true; }};
  const Segment& few_;
  const Case& the_;
  Contest& contest_;
  Table output_;  // of the first tokens
  double price_;
};

}  // namespace

void try_scaled(const Segment& few, const Case& the, Contest& contest) {
  Parts(few, the, contest).try_whole();
}

void try_parts(const Segment& few, const Case& the, Contest& contest) {
  Parts(few, the, contest).try_all();
}

}  // namespace assay::diagnose
