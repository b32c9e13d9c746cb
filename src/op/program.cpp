#include "op/program.h"

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "op/kinds.h"
#include "op/trigonometry.h"
#include "quant/formats.h"

namespace assay::op {

AttentionShape Program::attention_of(const Operation& operation) const {
  const auto* p = operation.as<Attend>();
  const CacheShape& c = caches[p ? p->cache : std::get<KvStore>(operation.of).cache];
  if (!p) return {.kv_heads = c.kv_heads, .key_dim = c.key_dim, .value_dim = c.value_dim};
  return {p->heads,  c.kv_heads, c.key_dim,   c.value_dim, p->scale,
          p->window, p->chunked, p->soft_cap, p->alibi};
}

Parameters Program::adopt(const Program& from, Parameters of) {
  const auto adopt_cache = [&](uint32_t& cache) {
    caches.push_back(from.caches[cache]);
    cache = uint32_t(caches.size() - 1);
  };
  const auto adopt_table = [&](uint32_t& table) {
    rope_tables.push_back(from.rope_tables[table]);
    table = uint32_t(rope_tables.size() - 1);
  };
  if (auto* rope = std::get_if<Rope>(&of)) {
    adopt_table(rope->table);
  } else if (auto* scale = std::get_if<PositionScale>(&of)) {
    adopt_table(scale->table);
  } else if (auto* store = std::get_if<KvStore>(&of)) {
    adopt_cache(store->cache);
  } else if (auto* attend = std::get_if<Attend>(&of)) {
    adopt_cache(attend->cache);
  }
  return of;
}

uint32_t Program::head_dim_of(const Operation& operation) const {
  for (const Operation& reader : operations) {
    if (reader.inputs.empty() || reader.inputs[0] != operation.output) continue;
    if (const auto* rope = reader.as<Rope>()) return values[reader.output].width / rope->heads;
    if (const uint32_t parts = parts_of(reader); parts > 1)
      return values[reader.output].width / parts;
  }
  return caches.empty() ? 0 : caches[0].key_dim;
}

uint32_t Program::add_constant(std::string name, std::vector<float> row) {
  const auto held = std::make_shared<const std::vector<float>>(std::move(row));
  const auto* bytes = reinterpret_cast<const uint8_t*>(held->data());
  const uint32_t index = add_weight({.name = std::move(name),
                                     .type = quant::F32::id,
                                     .rows = 1,
                                     .columns = held->size(),
                                     .data = {bytes, held->size() * sizeof(float)}});
  constants.push_back(held);
  return index;
}

float alibi_slope(float alibi, uint32_t head, uint32_t heads) {
  if (alibi == 0) return 0;
  const uint32_t n = std::bit_floor(heads);
  const double step = head < n ? double(head + 1) / n : double(2 * (head - n) + 1) / (2.0 * n);
  return float(power(2.0, -double(alibi) * step));
}

uint32_t Program::add_value(std::string name, uint32_t value_width, bool selected) {
  values.push_back({std::move(name), value_width, selected, none});
  return uint32_t(values.size() - 1);
}

uint32_t Program::add_weight(Weight weight) {
  for (uint32_t i = 0; i < weights.size(); ++i)
    if (weights[i].name == weight.name) return i;  // a tied weight is one weight
  weights.push_back(std::move(weight));
  return uint32_t(weights.size() - 1);
}

uint32_t Program::append(Operation operation) {
  if (const std::string problem = problem_of(*this, operation); !problem.empty())
    throw std::logic_error("operation '" + operation.name + "' does not fit: " + problem);
  if (operation.output == none && !operation.is<KvStore>()) {
    const bool selected = operation.is<SelectRows>() ||
                          (!operation.inputs.empty() && values[operation.inputs[0]].selected);
    operation.output = add_value(operation.name, output_width(*this, operation), selected);
  }
  operations.push_back(std::move(operation));
  return operations.back().output;
}

std::vector<size_t> last_uses(const Program& program) {
  std::vector<size_t> last(program.values.size(), 0);
  for (size_t i = 0; i < program.operations.size(); ++i) {
    for (uint32_t input : program.operations[i].inputs) last[input] = i;
    if (program.operations[i].output != none) last[program.operations[i].output] = i;
  }
  return last;
}

void Program::group_caches() {
  std::vector<uint32_t> reach(caches.size(), none);
  for (const Operation& operation : operations) {
    const auto* attend = operation.as<Attend>();
    if (!attend) continue;
    uint32_t& most = reach[attend->cache];
    most = most == none             ? attend->window
           : most && attend->window ? std::max(most, attend->window)
                                    : 0;
  }
  std::ranges::replace(reach, none, 0u);
  windows = reach.empty() ? std::vector<uint32_t>{0} : reach;
  std::ranges::sort(windows);
  windows.erase(std::ranges::unique(windows).begin(), windows.end());
  groups.clear();
  for (const uint32_t window : reach)
    groups.push_back(uint32_t(std::ranges::lower_bound(windows, window) - windows.begin()));
}

void Program::assign_buffers() {
  group_caches();
  const std::vector<size_t> last_use = last_uses(*this);
  std::vector<size_t> free_after;  // for each buffer, the operation that reads it last
  for (size_t i = 0; i < operations.size(); ++i) {
    if (operations[i].output == none) continue;
    Value& value = values[operations[i].output];
    uint32_t chosen = none;  // the free buffer whose width fits best
    for (uint32_t b = 0; b < free_after.size(); ++b) {
      if (free_after[b] >= i) continue;
      if (chosen == none || buffer_width[b] == value.width) chosen = b;
    }
    if (chosen == none) {
      chosen = uint32_t(free_after.size());
      free_after.push_back(0);
      buffer_width.push_back(0);
    }
    value.buffer = chosen;
    buffer_width[chosen] = std::max(buffer_width[chosen], value.width);
    free_after[chosen] = last_use[operations[i].output];
  }
  buffers = uint32_t(free_after.size());
}

}  // namespace assay::op
