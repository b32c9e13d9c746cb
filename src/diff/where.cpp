#include "diff/where.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

namespace assay::diff {

namespace {

std::string ordinal(uint64_t n) {
  const bool teen = n % 100 >= 11 && n % 100 <= 13;
  const char* ending = teen || n % 10 > 3 || n % 10 == 0 ? "th"
                       : n % 10 == 1                     ? "st"
                       : n % 10 == 2                     ? "nd"
                                                         : "rd";
  return fmt::format("{}{}", n, ending);
}

/// The distance of neighbours, if it is the same for all; 0 otherwise.
uint64_t common_step(const std::vector<uint64_t>& numbers) {
  const uint64_t step = numbers.size() > 1 ? numbers[1] - numbers[0] : 0;
  for (size_t i = 1; i < numbers.size(); ++i)
    if (numbers[i] - numbers[i - 1] != step) return 0;
  return step;
}

/// Neighbours without a gap: first and last.
using Run = std::pair<uint64_t, uint64_t>;
std::vector<Run> runs_of(const std::vector<uint64_t>& numbers) {
  std::vector<Run> runs;
  for (const uint64_t n : numbers)
    if (!runs.empty() && n == runs.back().second + 1)
      runs.back().second = n;
    else
      runs.emplace_back(n, n);
  return runs;
}

/// "blocks of 16 channels, every 64th from 32 to 479": runs of one length at one distance.
std::string blocks_in_words(std::string_view thing, const std::vector<Run>& runs) {
  const uint64_t length = runs[0].second - runs[0].first + 1, step = runs[1].first - runs[0].first;
  for (size_t i = 0; i < runs.size(); ++i)
    if (runs[i].second - runs[i].first + 1 != length || runs[i].first != runs[0].first + i * step)
      return "";
  return fmt::format("blocks of {} {}s, every {} from {} to {}", length, thing, ordinal(step),
                     runs.front().first, runs.back().second);
}

/// A run that lacks some elements, which are right by chance, is whole.
std::set<uint64_t> filled(const std::set<uint64_t>& numbers) {
  if (numbers.empty()) return numbers;
  const uint64_t first = *numbers.begin(), last = *numbers.rbegin(), span = last - first + 1;
  if (span < 16 || numbers.size() * 20 < span * 19) return numbers;
  std::set<uint64_t> whole;
  for (uint64_t n = first; n <= last; ++n) whole.insert(n);
  return whole;
}

std::vector<uint64_t> listed(const std::set<uint64_t>& numbers) {
  return {numbers.begin(), numbers.end()};
}

/// Channels in words: by heads where the row has several and they tell more.
std::string channels_in_words(const std::set<uint64_t>& channels, uint64_t width, uint64_t heads) {
  const std::string plain = in_words("channel", listed(channels), width);
  if (heads < 2 || width % heads != 0 || channels.size() == width || channels.size() == 1)
    return plain;
  const uint64_t dim = width / heads;
  std::set<uint64_t> of_heads, lanes;
  for (const uint64_t channel : channels) {
    of_heads.insert(channel / dim);
    lanes.insert(channel % dim);
  }
  const std::string which = in_words("head", listed(of_heads), heads);
  const std::string of_all = heads == of_heads.size() ? "each head"
                             : of_heads.size() == 1   ? which + fmt::format(" of {}", heads)
                                                      : which;
  // Single elements of a wrong head may be right by chance.
  if (channels.size() * 2 >= of_heads.size() * dim) {
    if (of_heads.size() == heads) {
      if (lanes.size() == dim) return plain;
    } else if (lanes.size() == dim) {
      return of_heads.size() == 1 ? of_all : fmt::format("{} of {}", which, heads);
    }
  }
  const bool same_lanes = channels.size() == of_heads.size() * lanes.size();
  if (!same_lanes) return plain;
  return fmt::format("{} of {}", in_words("channel", listed(lanes), dim), of_all);
}

}  // namespace

std::string in_words(std::string_view thing, const std::vector<uint64_t>& numbers, uint64_t count) {
  if (numbers.empty()) return fmt::format("no {}", thing);
  const uint64_t first = numbers.front(), last = numbers.back(), step = common_step(numbers);
  if (numbers.size() == 1) return fmt::format("{} {}", thing, first);
  if (numbers.size() == count) return fmt::format("all {}s", thing);
  if (step == 1) return fmt::format("{}s {} to {}", thing, first, last);
  if (step > 1 && numbers.size() > 2)
    return fmt::format("every {} {} from {} to {}", ordinal(step), thing, first, last);
  if (numbers.size() == 2) return fmt::format("{}s {} and {}", thing, first, last);
  const std::vector<Run> runs = runs_of(numbers);
  if (runs.size() <= 3 && numbers.size() >= 3 * runs.size()) {
    std::string text = fmt::format("{}s", thing);
    for (size_t i = 0; i < runs.size(); ++i)
      text += fmt::format("{} {} to {}",
                          i == 0                 ? ""
                          : i + 1 == runs.size() ? " and"
                                                 : ",",
                          runs[i].first, runs[i].second);
    return text;
  }
  if (runs.size() > 2)
    if (const std::string blocks = blocks_in_words(thing, runs); !blocks.empty()) return blocks;
  return fmt::format("{} of {} {}s, from {} to {}", numbers.size(), count, thing, first, last);
}

std::string how_wrong(const judge::Table& got, const judge::Judged& judged,
                      judge::NumberType type) {
  struct Element {
    double got, want, allowed;
  };
  std::vector<Element> failing;
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t i = 0; i < got.width; ++i)
      if (judge::compare_element(got, judged, t, i).failures > 0)
        failing.push_back({got.row(t)[i], judged.want.row(t)[i],
                           judged.limit_at(t, i) * judge::unit * judged.scale.row(t)[i] +
                               judged.slack_at(t, i) + judge::absolute_floor +
                               judge::rounding_error(std::fabs(got.row(t)[i]), type)});
  if (failing.size() < 4) return "";
  const auto all = [&](const auto& test) { return std::ranges::all_of(failing, test); };
  const double first = failing[0].got;
  if (all([](const Element& e) { return std::isnan(e.got); })) return ", NaN";
  if (all([](const Element& e) { return !std::isfinite(e.got); })) return ", not finite";
  if (all([](const Element& e) { return e.got == 0; })) return ", zero";
  if (all([&](const Element& e) { return e.got == first; }))
    return fmt::format(", all {:.7g}", first);
  double along = 0, size = 0, sum = 0;
  for (const Element& e : failing) {
    along += e.got * e.want;
    size += e.want * e.want;
    sum += e.got - e.want;
  }
  // The factor and the sum are only as well known as the elements are; what they explain must be
  // more than the digits that are named.
  const double factor = along / size, more = sum / double(failing.size());
  const auto explain = [&](double each, const auto& left) {
    double bits = 0;
    for (const Element& e : failing) {
      const double allowed = each * e.allowed + 0x1p-22 * std::fabs(e.got);
      if (!(std::fabs(left(e)) <= allowed)) return false;
      bits += std::log2(std::max(1.0, std::fabs(e.got - e.want) / allowed));
    }
    return bits > 28;
  };
  if (explain(1 + std::fabs(factor), [&](const Element& e) { return e.got - factor * e.want; }))
    return fmt::format(", × {:.4g}", factor);
  if (explain(2, [&](const Element& e) { return e.got - e.want - more; }))
    return fmt::format(", {} {:.4g}", more < 0 ? "−" : "+", std::fabs(more));
  return "";
}

uint64_t heads_of(const op::Program& program, const op::Operation& operation) {
  if (const auto* rope = operation.as<op::Rope>()) return rope->heads;
  if (const auto* attend = operation.as<op::Attend>()) return attend->heads;
  if (const uint32_t parts = op::parts_of(operation); parts > 1) return parts;
  for (const op::Operation& reader : program.operations) {
    if (std::find(reader.inputs.begin(), reader.inputs.end(), operation.output) ==
        reader.inputs.end())
      continue;
    if (const auto* rope = reader.as<op::Rope>()) return rope->heads;
    if (const uint32_t parts = op::parts_of(reader); parts > 1) return parts;
    if (const auto* store = reader.as<op::KvStore>()) return program.caches[store->cache].kv_heads;
  }
  return 1;
}

std::string where_wrong(const op::Program& program, const op::Operation& operation,
                        const judge::Table& got, const judge::Judged& judged,
                        const std::vector<uint64_t>& token_of_row) {
  std::set<uint64_t> tokens, channels;
  uint64_t failures = 0;
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t i = 0; i < got.width; ++i) {
      if (judge::compare_element(got, judged, t, i).failures == 0) continue;
      ++failures;
      tokens.insert(t < token_of_row.size() ? token_of_row[t] : t);
      channels.insert(i);
    }
  if (failures == 0) return "";
  channels = filled(channels);
  const std::string which = got.rows == 1 ? fmt::format("token {}", *tokens.begin())
                                          : in_words("token", listed(tokens), got.rows);
  std::string where;
  if (const auto* store = operation.as<op::KvStore>()) {
    // Keys and values side by side.
    const op::CacheShape& shape = program.caches[store->cache];
    const uint64_t keys = uint64_t(shape.kv_heads) * shape.key_dim;
    std::set<uint64_t> of_keys, of_values;
    for (const uint64_t channel : channels)
      channel < keys ? of_keys.insert(channel) : of_values.insert(channel - keys);
    const auto part = [&](const char* name, const std::set<uint64_t>& some, uint64_t width) {
      if (some.empty()) return;
      where += fmt::format("{}{} of the {}", where.empty() ? "" : " and ",
                           channels_in_words(some, width, shape.kv_heads), name);
    };
    part("keys", of_keys, keys);
    part("values", of_values, got.width - keys);
  } else {
    where = channels_in_words(channels, got.width, heads_of(program, operation));
  }
  std::string text = fmt::format("{}, {}", which, where);
  if (failures < tokens.size() * channels.size())
    text += fmt::format(" ({} of these {} elements)", failures, tokens.size() * channels.size());
  return text;
}

}  // namespace assay::diff
