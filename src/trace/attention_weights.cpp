#include "trace/attention_weights.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace assay::trace {

using judge::Table;

std::string_view name_of(HeadState state) {
  constexpr std::array<std::string_view, 4> names = {"usual", "NaN", "one-hot", "uniform"};
  return names[size_t(state)];
}

namespace {

struct Place {
  uint32_t step = 0;
  uint64_t row = 0;
};

Result<Place> place_of(const Trace& trace, uint64_t token) {
  uint64_t before = 0;
  for (uint32_t step = 0; step < trace.steps().size(); ++step) {
    const uint64_t count = trace.steps()[step].tokens.size();
    if (token < before + count) return Place{step, token - before};
    before += count;
  }
  return Error{
      fmt::format("{}: there is no token {}: the trace has {}", trace.path(), token, before)};
}

/// The tensor of a step, (tokens, width). Errors: it is missing, or of another shape.
Result<Table> read(const Trace& trace, uint32_t step, const std::string& name, uint64_t width) {
  const TraceTensor* tensor = trace.find(step, name);
  if (!tensor)
    return Error{fmt::format("{}: step {} has no '{}': the weights of attention are not available",
                             trace.path(), step, name)};
  const uint64_t rows = trace.steps()[step].tokens.size();
  if (tensor->rows != rows || tensor->width != width)
    return Error{
        fmt::format("{}: '{}' has the shape ({}, {}); the model and the tokens make it "
                    "({}, {})",
                    trace.path(), tensor->key, tensor->rows, tensor->width, rows, width)};
  return trace.values(*tensor);
}

/// The layer's keys, the last of them the place's; the values, which the weights don't need, are
/// zero.
Result<judge::Cache> read_keys(const op::Program& program, const Trace& trace,
                               const op::Operation& store, const Place& place) {
  const op::CacheShape& a = program.caches[store.as<op::KvStore>()->cache];
  const std::vector<double> zeros(size_t(a.kv_heads) * a.value_dim, 0.0);
  judge::Cache cache;
  for (uint32_t step = 0; step <= place.step; ++step) {
    const bool cached = trace.find(step, store.name + "_k") != nullptr;
    const auto keys =
        read(trace, step, cached ? store.name + "_k" : program.values[store.inputs[0]].name,
             uint64_t(a.kv_heads) * a.key_dim);
    if (!keys) return keys.error();
    const TraceStep& at = trace.steps()[step];
    const size_t end = step == place.step ? place.row + 1 : at.positions.size();
    for (size_t t = 0; t < end; ++t) {
      if (at.positions[t] > cache.keys.size())
        return Error{
            fmt::format("{}: step {} begins at position {}: the keys before it are "
                        "unknown",
                        trace.path(), step, at.positions[t])};
      cache.store(at.positions[t], keys->row(t), zeros);
    }
  }
  return cache;
}

HeadWeights weigh(const std::vector<double>& weights) {
  HeadWeights out;
  out.keys = weights.size();
  for (size_t j = 0; j < weights.size(); ++j) {
    if (!std::isfinite(weights[j])) out.state = HeadState::not_finite;
    if (weights[j] > 0) out.entropy -= weights[j] * std::log2(weights[j]);
    if (weights[j] > out.largest) {
      out.largest = weights[j];
      out.largest_key = j;
    }
  }
  if (out.state == HeadState::not_finite) {
    out.entropy = out.largest = NAN;
  } else if (out.keys > 1) {
    if (out.largest >= 0.999) out.state = HeadState::one_hot;
    if (out.entropy >= 0.999 * std::log2(double(out.keys))) out.state = HeadState::uniform;
  }
  return out;
}

}  // namespace

Result<std::vector<HeadWeights>> attention_weights(const op::Program& program, const Trace& trace,
                                                   uint64_t token) {
  if (trace.holds_statistics())
    return Error{
        fmt::format("{}: the trace holds statistics, not values: the weights of attention "
                    "are not available",
                    trace.path())};
  const auto place = place_of(trace, token);
  if (!place) return place.error();
  const uint32_t position = trace.steps()[place->step].positions[place->row];
  std::vector<HeadWeights> out;
  std::vector<const op::Operation*> stores(program.caches.size(), nullptr);  // by cache
  for (const op::Operation& operation : program.operations) {
    if (const auto* store = operation.as<op::KvStore>()) stores[store->cache] = &operation;
    const auto* attend = operation.as<op::Attend>();
    if (!attend) continue;
    const op::AttentionShape a = program.attention_of(operation);
    const auto queries = read(trace, place->step, program.values[operation.inputs[0]].name,
                              uint64_t(a.heads) * a.key_dim);
    if (!queries) return queries.error();
    const auto cache = read_keys(program, trace, *stores[attend->cache], *place);
    if (!cache) return cache.error();
    std::vector<double> sinks;
    if (operation.weight != op::none)
      sinks = judge::decode_row(program.weights[operation.weight], 0);
    for (uint32_t head = 0; head < a.heads; ++head) {
      const auto query = queries->row(place->row).subspan(size_t(head) * a.key_dim, a.key_dim);
      const auto sink = sinks.empty() ? std::optional<double>() : std::optional(sinks[head]);
      const judge::Attended seen = judge::attend(query, *cache, position, head, a, sink);
      out.push_back(weigh(seen.probability));
      out.back().largest_key += seen.first;
      out.back().layer = operation.layer;
      out.back().head = head;
    }
  }
  return out;
}

}  // namespace assay::trace
