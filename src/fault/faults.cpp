#include "fault/faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <random>
#include <span>

#include "fault/list.h"
#include "quant/formats.h"

namespace assay::fault {

namespace {

const Entry* find(std::string_view name) {
  for (const Entry& entry : list())
    if (entry.name == name) return &entry;
  return nullptr;
}

const Entry& entry_of(const Fault& fault) {
  return *find(fault.name);
}

Error unknown(std::string_view name) {
  std::string all;
  for (const Entry& entry : list()) all += fmt::format("{}{}", all.empty() ? "" : ", ", entry.name);
  return Error{fmt::format("unknown fault '{}'; known: {}", name, all)};
}

Result<double> number(std::string_view text) {
  double value = 0;
  const auto end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value))
    return Error{fmt::format("'{}' is not a number", text)};
  return value;
}

Status set(Fault& fault, const Entry& entry, std::string_view key, std::string_view text) {
  if (key == "at") {
    fault.at = text;
    return ok();
  }
  if (key != "layer" && (key.empty() || key != entry.parameter))
    return Error{
        fmt::format("fault '{}' has no parameter '{}'; it has: {}layer, at", entry.name, key,
                    entry.parameter.empty() ? std::string() : std::string(entry.parameter) + ", ")};
  const Result<double> value = number(text);
  if (!value) return value.error();
  if (key == "layer") {
    if (!(*value >= 0 && *value < 1e6)) return Error{fmt::format("'{}' is not a layer", text)};
    fault.layer = uint32_t(*value);
  } else {
    if (!(*value > 0 && *value <= 1e9))
      return Error{fmt::format("'{}' is not above zero, or beyond 1e9", text)};
    if (entry.whole && (*value != std::floor(*value) || *value > 65536))
      return Error{fmt::format("'{}' is not a whole number up to 65536", text)};
    fault.value = *value;
  }
  return ok();
}

/// RoPE's base as the frequencies tell it: frequency[1] = base^(−2/d).
double model_base(const op::RopeTable& rope) {
  const auto& frequency = rope.frequency;
  return frequency.size() < 2 ? 0 : std::pow(frequency[1], -double(frequency.size()));
}

/// Values at which the fault changes something at this place.
std::vector<double> choices(const Entry& entry, const op::Program& program,
                            const op::Operation& operation) {
  std::vector<double> values = entry.choices;
  if (entry.bug == Bug::k_tail) {
    const uint64_t columns = program.weights[operation.weight].columns;
    for (uint64_t tail = 32; tail < columns && tail <= 128; tail += 32)
      values.push_back(double(tail));
  }
  if (entry.bug == Bug::weight_block_shift) {
    const op::Weight& weight = program.weights[operation.weight];
    const uint64_t row = weight.columns / quant::info(weight.type).block_size;
    std::erase_if(values, [&](double blocks) { return uint64_t(blocks) % row == 0; });
  }
  if (entry.bug == Bug::rope_base)
    std::erase_if(values, [&](double base) {
      return std::fabs(base / model_base(program.rope_of(operation)) - 1) < 0.01;
    });
  // 1e-6 for 1e-5 shows only where the residual is small: in a model's first norm.
  if (entry.bug == Bug::norm_eps && operation.layer == 0 && operation.name == "blk.0.attn_norm")
    values.push_back(1e-6);
  if (entry.bug == Bug::norm_eps)
    std::erase_if(values, [&](double eps) { return float(eps) == eps_of(operation); });
  if (entry.bug == Bug::split_columns)
    std::erase_if(values, [&](double parts) {
      return split_tail(program.weights[operation.weight].columns, uint64_t(parts)) == 0;
    });
  if (entry.bug == Bug::row_wraps)
    std::erase_if(values, [&](double rows) {
      return uint64_t(rows) >= program.weights[operation.weight].rows;
    });
  return values;
}

}  // namespace

bool Fault::applies(const op::Program& program, const op::Operation& operation) const {
  if (bug == Bug::none || (layer != op::none && operation.layer != layer)) return false;
  return (at.empty() || operation.name == at) && entry_of(*this).fits(program, operation);
}

std::string Fault::expected_operation(const op::Program& program) const {
  for (const op::Operation& operation : program.operations) {
    // What a wrong slot holds shows where it is read.
    if (bug == Bug::kv_slot && operation.is<op::KvStore>()) continue;
    if (applies(program, operation)) return operation.name;
  }
  return {};
}

std::string Fault::expected_cause() const {
  const Entry& entry = entry_of(*this);
  return std::string(entry.cause.empty() ? entry.name : entry.cause);
}

Needs Fault::needs() const {
  const Entry& entry = entry_of(*this);
  Needs needs = entry.needs;
  if (entry.beyond_value) needs.tokens = std::max(needs.tokens, uint32_t(value) + 1);
  return needs;
}

bool Fault::benign() const {
  return entry_of(*this).benign;
}

std::string Fault::text() const {
  std::string parameters;
  const auto append = [&](std::string_view key, const std::string& given) {
    parameters += fmt::format("{}{}={}", parameters.empty() ? ":" : ",", key, given);
  };
  const Entry& entry = entry_of(*this);
  if (!entry.parameter.empty()) append(entry.parameter, fmt::format("{}", value));
  if (layer != op::none) append("layer", fmt::format("{}", layer));
  if (!at.empty()) append("at", at);
  return name + parameters;
}

std::vector<std::string_view> names() {
  std::vector<std::string_view> all;
  for (const Entry& entry : list()) all.push_back(entry.name);
  return all;
}

Result<Fault> parse_fault(std::string_view text) {
  const size_t colon = std::min(text.find(':'), text.size());
  const Entry* entry = find(text.substr(0, colon));
  if (!entry) return unknown(text.substr(0, colon));
  Fault fault{std::string(entry->name), entry->bug, entry->row, op::none, {}, entry->usual};
  std::string_view rest = text.substr(std::min(colon + 1, text.size()));
  while (!rest.empty()) {
    const size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view pair = rest.substr(0, comma);
    const size_t equals = pair.find('=');
    if (equals == pair.npos)
      return Error{fmt::format("'{}' in fault '{}' is not of the form key=value", pair, text)};
    if (const Status done = set(fault, *entry, pair.substr(0, equals), pair.substr(equals + 1));
        !done)
      return done.error();
    rest.remove_prefix(std::min(comma + 1, rest.size()));
  }
  return fault;
}

namespace {

std::vector<const op::Operation*> places_of(const Entry& entry, const op::Program& program) {
  std::vector<const op::Operation*> places;
  for (const op::Operation& operation : program.operations)
    if (entry.fits(program, operation)) places.push_back(&operation);
  return places;
}

/// Seeds 1, 2, 3 draw other places for other faults.
std::mt19937_64 random_of(uint64_t seed, std::string_view name) {
  for (const char c : name) seed = (seed ^ uint8_t(c)) * 0x100000001b3u;  // FNV-1a
  return std::mt19937_64(seed);
}

/// The fault at one of these places.
Fault drawn(const Entry& entry, const op::Program& program,
            std::span<const op::Operation* const> places, std::mt19937_64& random) {
  const op::Operation& place = *places[random() % places.size()];
  Fault fault{std::string(entry.name), entry.bug, entry.row, op::none, {}, entry.usual};
  if (entry.scope == Scope::layer) fault.layer = place.layer;
  if (entry.scope == Scope::operation) fault.at = place.name;
  const std::vector<double> values = choices(entry, program, place);
  if (!values.empty()) fault.value = values[random() % values.size()];
  return fault;
}

/// "q Q4_K" of blk.3.q
std::string sort_of(const op::Program& program, const op::Operation& operation) {
  const size_t within = operation.layer == op::none ? 0 : operation.name.find('.', 4) + 1;
  std::string sort = operation.name.substr(within);
  if (operation.weight != op::none)
    sort += " " + std::string(quant::info(program.weights[operation.weight].type).name);
  return sort;
}

}  // namespace

Result<Fault> draw(std::string_view name, uint64_t seed, const op::Program& program) {
  const Entry* entry = find(name);
  if (!entry) return unknown(name);
  const auto places = places_of(*entry, program);
  if (places.empty())
    return Error{fmt::format("no operation of this model can have the fault '{}'", name)};
  std::mt19937_64 random = random_of(seed, name);
  return drawn(*entry, program, places, random);
}

std::vector<Fault> everywhere(uint64_t seed, const op::Program& program) {
  std::vector<Fault> all;
  for (const Entry& entry : list()) {
    std::map<std::string, std::vector<const op::Operation*>> sorts;
    for (const op::Operation* place : places_of(entry, program))
      sorts[entry.scope == Scope::operation ? sort_of(program, *place) : ""].push_back(place);
    for (const auto& [sort, places] : sorts) {
      std::mt19937_64 random = random_of(seed, std::string(entry.name) + sort);
      all.push_back(drawn(entry, program, places, random));
    }
  }
  return all;
}

}  // namespace assay::fault
