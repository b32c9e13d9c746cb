#include "diff/propose.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "diff/lanes.h"
#include "diff/names.h"
#include "judge/judge.h"
#include "op/kinds.h"

namespace assay::diff {

using judge::Table;
using trace::Trace;
using trace::TraceTensor;

std::string_view name_of(Evidence evidence) {
  constexpr std::array<std::string_view, 4> names = {"values", "follows", "layers", "name"};
  return names[size_t(evidence)];
}

namespace {

/// A correct engine in bf16 is off by some 0.5 % after one operation, one that quantises its
/// activations by 2 %; tensors of other operations by half and more, the residual's own neighbours by
/// some percent.
constexpr double near = 0.03;
/// The best is sure where the next one is so much further off.
constexpr double clearly = 4;
constexpr size_t sampled = 2048;      // elements of the first look
constexpr size_t followed_rows = 2;   // of what is computed to see what follows
constexpr size_t followed_most = 16;  // tensors that are tried so

/// What the trace holds of one tensor in the first step.
struct Seen {
  std::string name;
  const TraceTensor* tensor = nullptr;
  std::vector<float> values;      // as stored
  std::vector<uint64_t> shape;    // without dimensions of 1
  std::optional<size_t> same_as;  // an earlier one with the same bits
  std::string placed;             // the operation it is
};

/// How a stored tensor is read as (rows, width).
struct Reading {
  bool heads_first = false, channels_first = false;
  uint32_t head = 0, turned = 0;                  // lanes in halves
  const std::vector<uint32_t>* chosen = nullptr;  // rows of all tokens: these are meant

  uint64_t index(uint64_t t, uint64_t c, const Seen& seen, uint64_t rows, uint64_t width) const {
    if (chosen) t = (*chosen)[t];
    if (head && c % head < turned) {
      const uint64_t lane = c % head;
      c += lane / 2 + lane % 2 * (turned / 2) - lane;
    }
    if (channels_first) return c * rows + t;
    if (!heads_first) return t * width + c;
    const uint64_t dim = seen.shape[2];
    return (c / dim * rows + t) * dim + c % dim;
  }
};

struct Match {
  size_t seen = 0;
  Reading reading;
  double error = INFINITY, next = -1;
};

/// "model.layers.{n}.norm" and 3 of "model.layers.3.norm".
std::pair<std::string, std::string> generalised(const std::string& name) {
  const auto digit = [&](size_t i) { return i < name.size() && name[i] >= '0' && name[i] <= '9'; };
  const auto letter = [&](size_t i) { return i < name.size() && std::isalnum(uint8_t(name[i])); };
  for (size_t begin = 0; begin < name.size(); ++begin) {
    if (!digit(begin) || (begin > 0 && letter(begin - 1))) continue;
    size_t end = begin;
    while (digit(end)) ++end;
    if (letter(end)) continue;
    return {name.substr(0, begin) + "{n}" + name.substr(end), name.substr(begin, end - begin)};
  }
  return {name, ""};
}

/// Products that engines make as one: the parts in their order, and what a trace calls the whole.
struct Fusion {
  std::vector<std::string_view> parts;
  std::string_view whole;
};
const std::array<Fusion, 2> fusions = {Fusion{{"q", "k", "v"}, "qkv"},
                                       Fusion{{"gate", "up"}, "up"}};

class Proposer {
 public:
  Proposer(const op::Program& program, const Trace& trace)
      : program_(program),
        trace_(trace),
        step_(trace.steps()[0]),
        known_(known_names(program)),
        values_(program.values.size()),
        caches_(program.caches.size()) {}

  Status read() {
    std::map<std::pair<uint64_t, size_t>, std::vector<size_t>> by_bits;
    for (const TraceTensor& tensor : trace_.tensors()) {
      if (tensor.step > 0) continue;
      const auto table = trace_.values(tensor);
      if (!table) return table.error();
      Seen seen;
      seen.name = tensor.name;
      seen.tensor = &tensor;
      seen.values.assign(table->data.begin(), table->data.end());
      for (const uint64_t extent : trace_.shape(tensor))
        if (extent != 1) seen.shape.push_back(extent);
      uint64_t hash = 14695981039346656037u;
      for (const float value : seen.values)
        hash = (hash ^ std::bit_cast<uint32_t>(value)) * 1099511628211u;
      for (const size_t other : by_bits[{hash, seen.values.size()}])
        if (all_[other].values == seen.values) seen.same_as = other;
      by_bits[{hash, seen.values.size()}].push_back(all_.size());
      all_.push_back(std::move(seen));
    }
    return ok();
  }

  Proposal run() {
    for (const op::Operation& operation : program_.operations) place(operation);
    return proposal();
  }

 private:
  uint64_t rows_of(const op::Operation& operation) const {
    return program_.values[operation.output].selected ? step_.selected.size() : step_.tokens.size();
  }

  judge::Inputs inputs_of(const op::Operation& operation) const {
    judge::Inputs inputs{{}, step_.view(), {&caches_, 1}};
    for (const uint32_t value : operation.inputs) inputs.values.push_back(&values_[value]);
    return inputs;
  }

  void place(const op::Operation& operation) {
    Table want = judge::formula(program_, operation, inputs_of(operation));
    if (const auto* store = operation.as<op::KvStore>()) {
      const uint64_t keys = program_.values[operation.inputs[0]].width;
      for (size_t t = 0; t < step_.tokens.size(); ++t) {
        const auto row = want.row(t);
        caches_[store->cache].store(step_.positions[t], row.first(keys), row.subspan(keys));
      }
      return;
    }
    Table& value = values_[operation.output];
    value = std::move(want);
    if (op::row_of(operation).moves) return;
    if (const auto match = by_values(value, readings_of(operation));
        match && match->error <= near) {
      accept(operation, *match, Evidence::values);
    } else if (const auto follows = by_what_follows(operation)) {
      accept(operation, *follows, Evidence::follows);
    } else if (const auto named = by_name(operation)) {
      accept(operation, named->first, named->second);
    } else {
      by_fusion(operation);
    }
  }

  /// How this operation's output may be stored.
  std::vector<Reading> readings_of(const op::Operation& operation) const {
    std::vector<Reading> out = {{}, {.heads_first = true}, {.channels_first = true}};
    if (program_.values[operation.output].selected && step_.selected.size() < step_.tokens.size())
      out.push_back({.chosen = &step_.selected});
    const op::Operation* rope = rope_of(program_, operation);
    if (!rope || !program_.rope_of(*rope).adjacent) return out;
    for (size_t i = 0; i < 3; ++i) {
      out.push_back(out[i]);
      out.back().head = head_of(program_, *rope);
      out.back().turned = program_.rope_of(*rope).dimensions;
    }
    return out;
  }

  bool can_be(const Seen& seen, const Reading& reading, uint64_t rows, uint64_t width) const {
    if (reading.chosen) return seen.values.size() == step_.tokens.size() * width;
    if (seen.values.size() != rows * width) return false;
    if (reading.heads_first)
      return seen.shape.size() == 3 && seen.shape[1] == rows && seen.shape[0] > 1;
    if (reading.channels_first)
      return seen.shape.size() == 2 && seen.shape[1] == rows && seen.shape[0] == width && rows > 1;
    return true;
  }

  /// √(Σ(got − want)²/Σ want²), of every n-th element.
  static double error_of(const Seen& seen, const Reading& reading, const Table& want,
                         uint64_t every) {
    double error = 0, size = 0;
    for (uint64_t i = 0; i < want.data.size(); i += every) {
      const double got = double(
          seen.values[reading.index(i / want.width, i % want.width, seen, want.rows, want.width)]);
      error += (got - want.data[i]) * (got - want.data[i]);
      size += want.data[i] * want.data[i];
    }
    const double result = std::sqrt(error / size);
    return std::isfinite(result) ? result : INFINITY;
  }

  bool is_free(const Seen& seen) const { return seen.placed.empty() && !seen.same_as; }

  /// The free tensor that comes nearest to these values.
  std::optional<Match> by_values(const Table& want, const std::vector<Reading>& readings) {
    // An odd distance, so that the sample has all channels.
    const uint64_t every = std::max<uint64_t>(1, want.data.size() / sampled) | 1;
    Match best;
    for (size_t i = 0; i < all_.size(); ++i) {
      if (!is_free(all_[i])) continue;
      double own = INFINITY;
      for (const Reading& reading : readings) {
        if (!can_be(all_[i], reading, want.rows, want.width)) continue;
        const double error = error_of(all_[i], reading, want, every);
        if (error < own) own = error;
        if (!(error < best.error)) continue;
        if (best.seen != i) best.next = std::isfinite(best.error) ? best.error : best.next;
        best.error = error;
        best.seen = i;
        best.reading = reading;
      }
      // The same error is that of the same rows, stored twice.
      if (best.seen != i && std::isfinite(own) && own != best.error &&
          (best.next < 0 || own < best.next))
        best.next = own;
    }
    if (!std::isfinite(best.error)) return std::nullopt;
    best.error = error_of(all_[best.seen], best.reading, want, 1);
    return best;
  }

  Table table_of(const Match& match, uint64_t rows, uint64_t width) const {
    Table table(rows, width);
    for (uint64_t i = 0; i < table.data.size(); ++i)
      table.data[i] = double(all_[match.seen].values[match.reading.index(
          i / width, i % width, all_[match.seen], rows, width)]);
    return table;
  }

  static Table beginning(const Table& table, uint64_t rows) {
    Table out(rows, table.width);
    std::copy_n(table.data.begin(), out.data.size(), out.data.begin());
    return out;
  }

  /// Its values are not the formula's; but the next operation's formula of them is in the trace.
  std::optional<Match> by_what_follows(const op::Operation& operation) {
    const Table& own = values_[operation.output];
    const uint64_t rows = std::min<uint64_t>(followed_rows, own.rows);
    const op::Operation* next = next_of(operation);
    if (!next) return std::nullopt;
    const uint64_t width = program_.values[next->output].width;
    // What could be the next one: tensors of its size.
    if (std::ranges::none_of(all_, [&](const Seen& seen) {
          return is_free(seen) && seen.values.size() == own.rows * width;
        }))
      return std::nullopt;
    const trace::TraceStep step{
        {step_.tokens.begin(), step_.tokens.begin() + ptrdiff_t(rows)},
        {step_.positions.begin(), step_.positions.begin() + ptrdiff_t(rows)},
        {}};
    Match best;
    size_t tried = 0;
    for (size_t i = last_; i < all_.size() && tried < followed_most; ++i) {
      if (!is_free(all_[i])) continue;
      for (const Reading& reading : readings_of(operation)) {
        if (!can_be(all_[i], reading, own.rows, own.width)) continue;
        ++tried;
        const Table candidate = beginning(table_of({i, reading, 0, -1}, own.rows, own.width), rows);
        std::vector<Table> cut;
        for (const uint32_t value : next->inputs)
          cut.push_back(value == operation.output ? candidate : beginning(values_[value], rows));
        judge::Inputs inputs{{}, step.view(), {}};
        for (const Table& table : cut) inputs.values.push_back(&table);
        const Table want = judge::formula(program_, *next, inputs);
        const double error = error_of_next(i, want, own.rows, readings_of(*next));
        if (error < best.error) {
          best.next = std::isfinite(best.error) ? best.error : -1;
          best.error = error;
          best.seen = i;
          best.reading = reading;
        } else if (best.next < 0 || error < best.next) {
          best.next = std::isfinite(error) ? error : best.next;
        }
      }
    }
    if (best.error <= near) return best;
    return std::nullopt;
  }

  /// How near the first rows of a tensor after this one come to `want`.
  double error_of_next(size_t after, const Table& want, uint64_t rows,
                       const std::vector<Reading>& readings) const {
    double least = INFINITY;
    for (size_t i = after + 1; i < all_.size(); ++i) {
      if (!is_free(all_[i])) continue;
      for (const Reading& reading : readings) {
        if (!can_be(all_[i], reading, rows, want.width)) continue;
        double error = 0, size = 0;
        for (uint64_t at = 0; at < want.data.size(); ++at) {
          const double got = double(all_[i].values[reading.index(at / want.width, at % want.width,
                                                                 all_[i], rows, want.width)]);
          error += (got - want.data[at]) * (got - want.data[at]);
          size += want.data[at] * want.data[at];
        }
        if (const double result = std::sqrt(error / size); result < least) least = result;
      }
    }
    return least;
  }

  /// The first operation that computes its rows from those of this one and of what is known.
  const op::Operation* next_of(const op::Operation& operation) const {
    for (const op::Operation& one : program_.operations) {
      if (std::ranges::find(one.inputs, operation.output) == one.inputs.end()) continue;
      if (one.output == op::none || one.is<op::Attend>() || op::row_of(one).moves ||
          program_.values[one.output].selected != program_.values[operation.output].selected)
        continue;
      if (std::ranges::all_of(one.inputs,
                              [&](uint32_t value) { return !values_[value].data.empty(); }))
        return &one;
    }
    return nullptr;
  }

  /// The tensor whose name is this operation's in other layers, or is like the operation's.
  std::optional<std::pair<Match, Evidence>> by_name(const op::Operation& operation) {
    const auto [pattern, layer] = generalised(operation.name);
    const auto learnt = learnt_.find(pattern);
    std::optional<std::pair<Match, Evidence>> found;
    for (size_t i = 0; i < all_.size(); ++i) {
      if (!is_free(all_[i])) continue;
      const auto [own_pattern, own_layer] = generalised(all_[i].name);
      const bool learned =
          learnt != learnt_.end() && learnt->second.name == own_pattern && own_layer == layer;
      if (!learned && (found || nearest_name(known_, all_[i].name) != operation.name)) continue;
      const Table& want = values_[operation.output];
      Match best;
      for (const Reading& reading : readings_of(operation)) {
        if (!can_be(all_[i], reading, want.rows, want.width)) continue;
        if (learned && (reading.head != 0) != learnt->second.halves) continue;
        const double error = error_of(all_[i], reading, want, 1);
        if (best.error <= error && std::isfinite(best.error)) continue;
        best = {i, reading, error, -1};
        found = {best, learned ? Evidence::layers : Evidence::name};
      }
      if (learned && found) break;
    }
    return found;
  }

  /// Engines that make several products as one.
  void by_fusion(const op::Operation& operation) {
    const size_t dot = operation.name.rfind('.');
    if (dot == operation.name.npos) return;
    const std::string block = operation.name.substr(0, dot + 1);
    for (const Fusion& fusion : fusions) {
      if (operation.name != block + std::string(fusion.parts.back())) continue;
      std::vector<const op::Operation*> parts;
      Table whole(values_[operation.output].rows, 0);
      for (const std::string_view part : fusion.parts) {
        const auto found =
            std::ranges::find(program_.operations, block + std::string(part), &op::Operation::name);
        if (found == program_.operations.end() || values_[found->output].data.empty() ||
            placed_.contains(found->name))
          return;
        parts.push_back(&*found);
        whole.width += values_[found->output].width;
      }
      whole.data.reserve(whole.rows * whole.width);
      for (uint64_t t = 0; t < whole.rows; ++t)
        for (const op::Operation* part : parts)
          whole.data.insert(whole.data.end(), values_[part->output].row(t).begin(),
                            values_[part->output].row(t).end());
      const auto match = by_values(whole, {Reading{}});
      if (!match || match->error > near) return;
      note(block + std::string(fusion.whole), *match, Evidence::values);
      for (const op::Operation* part : parts) placed_.insert(part->name);
    }
  }

  void accept(const op::Operation& operation, const Match& match, Evidence evidence) {
    note(operation.name, match, evidence);
    placed_.insert(operation.name);
    const Table& want = values_[operation.output];
    values_[operation.output] = table_of(match, want.rows, want.width);
  }

  void note(const std::string& operation, const Match& match, Evidence evidence) {
    Seen& seen = all_[match.seen];
    seen.placed = operation;
    last_ = match.seen;
    out_.placed.push_back(
        {seen.name, operation, evidence, match.error, match.next, match.reading.head != 0});
    if (evidence <= Evidence::follows)
      learnt_[generalised(operation).first] = {generalised(seen.name).first,
                                               match.reading.head != 0};
  }

  Proposal proposal() {
    for (const op::Operation& operation : program_.operations)
      if (operation.output != op::none && !op::row_of(operation).moves &&
          !placed_.contains(operation.name))
        out_.missing.push_back(operation.name);
    for (const Seen& seen : all_) {
      if (!seen.placed.empty()) continue;
      std::string why;
      if (seen.same_as) {
        why = fmt::format("the values of {}", all_[*seen.same_as].name);
      } else if (std::ranges::none_of(program_.operations, [&](const op::Operation& operation) {
                   return operation.output != op::none &&
                          rows_of(operation) * program_.values[operation.output].width ==
                              seen.values.size();
                 })) {
        why = fmt::format("no operation has its shape ({})",
                          fmt::join(trace_.shape(*seen.tensor), ", "));
      } else {
        why = "no operation's formula gives its values";
      }
      out_.left.push_back({seen.name, why, seen.same_as.has_value()});
    }
    return std::move(out_);
  }

  struct Learnt {
    std::string name;
    bool halves = false;
  };

  const op::Program& program_;
  const Trace& trace_;
  const trace::TraceStep& step_;
  const std::set<std::string> known_;
  std::vector<Table> values_;
  judge::Caches caches_;
  std::vector<Seen> all_;
  size_t last_ = 0;  // the tensor that was placed last: what follows stands behind it
  std::set<std::string> placed_;
  std::map<std::string, Learnt> learnt_;  // by the operation's name with {n}
  Proposal out_;
};

/// A name as YAML reads it back.
std::string yaml_text(const std::string& name) {
  const bool plain =
      !name.empty() && std::isalpha(uint8_t(name[0])) && std::ranges::all_of(name, [](char c) {
        return std::isalnum(uint8_t(c)) ||
               std::string_view("_./-{}").find(c) != std::string_view::npos;
      });
  return plain ? name
               : nlohmann::json(name).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace

bool is_sure(const Placed& placed) {
  return placed.evidence <= Evidence::follows &&
         (placed.next < 0 || placed.next >= clearly * placed.error);
}

Result<Proposal> propose_names(const op::Program& program, const trace::Trace& trace) {
  if (trace.holds_statistics())
    return Error{
        fmt::format("{}: the trace holds statistics, not values: names can't be found by "
                    "them",
                    trace.path())};
  for (const int32_t token : trace.steps()[0].tokens)
    if (uint32_t(token) >= program.vocabulary)
      return Error{fmt::format("{}: token {} is beyond the model's vocabulary of {}", trace.path(),
                               token, program.vocabulary)};
  for (size_t i = 0; i < trace.steps()[0].positions.size(); ++i)
    if (trace.steps()[0].positions[i] != i)
      return Error{
          fmt::format("{}: the first step does not begin at position 0: the cache before "
                      "it is unknown",
                      trace.path())};
  Proposer proposer(program, trace);
  if (const Status read = proposer.read(); !read) return read.error();
  return proposer.run();
}

std::string to_yaml(const Proposal& proposal) {
  struct Line {
    std::string name, operation;
    size_t layers = 0;
    Evidence evidence = Evidence::values;
    double error = 0, next = INFINITY;
    bool sure = true;
  };
  // One line for all layers, where the engine's number is the layer's.
  std::vector<Line> lines;
  for (const Placed& placed : proposal.placed) {
    auto [name, number] = generalised(placed.tensor);
    auto [operation, layer] = generalised(placed.operation);
    if (number != layer || number.empty()) {
      name = placed.tensor;
      operation = placed.operation;
    }
    if (placed.halves) operation += " halves";
    auto line = std::ranges::find_if(
        lines, [&](const Line& one) { return one.name == name && one.operation == operation; });
    if (line == lines.end()) line = lines.insert(lines.end(), {name, operation});
    ++line->layers;
    line->evidence = std::max(line->evidence, placed.evidence);
    line->error = std::max(line->error, placed.error);
    if (placed.next >= 0) line->next = std::min(line->next, placed.next);
    line->sure = line->sure && is_sure(placed);
  }
  // A name with {n} that is one thing in some layers and another in others can't be written so.
  std::map<std::string, size_t> times;
  for (const Line& line : lines) ++times[line.name];
  std::string out;
  for (const Line& line : lines) {
    const std::string how =
        line.evidence == Evidence::values || line.evidence == Evidence::follows
            ? fmt::format(
                  "{}: {}off by {:.1e}{}", line.sure ? "sure" : "likely",
                  line.evidence == Evidence::values ? "" : "what follows from it is ", line.error,
                  std::isfinite(line.next) ? fmt::format(", the next one by {:.1e}", line.next)
                                           : "")
        : line.evidence == Evidence::layers
            ? fmt::format("likely: by its name in other layers; off by {:.1e}", line.error)
            : fmt::format("perhaps: by its name alone; off by {:.1e}", line.error);
    if (times[line.name] == 1) {
      out += fmt::format("{}: {}  # {}{}\n", yaml_text(line.name), line.operation,
                         line.layers > 1 ? fmt::format("{} layers, ", line.layers) : "", how);
      continue;
    }
    for (const Placed& placed : proposal.placed)
      if (generalised(placed.tensor).first == line.name &&
          (generalised(placed.operation).first + (placed.halves ? " halves" : "")) ==
              line.operation)
        out += fmt::format("{}: {}{}  # {}\n", yaml_text(placed.tensor), placed.operation,
                           placed.halves ? " halves" : "", how);
  }
  std::map<std::string, std::pair<std::string, size_t>> same, others;
  std::vector<std::string> order;
  for (const NotPlaced& left : proposal.left) {
    const std::string name = generalised(left.tensor).first;
    auto& [why, count] = (left.same ? same : others)[name];
    if (count++ == 0) {
      why = left.why;
      order.push_back(name);
    }
  }
  for (const std::string& name : order)
    if (const auto found = same.find(name);
        found != same.end() && !times[name] && !others.contains(name))
      out += fmt::format("{}: ~  # {}\n", yaml_text(name), found->second.first);
  for (const auto& [name, left] : others)
    out +=
        fmt::format("# not placed: {}{}: {}\n", yaml_text(name),
                    left.second > 1 ? fmt::format(" ({} tensors)", left.second) : "", left.first);
  return out;
}

}  // namespace assay::diff
