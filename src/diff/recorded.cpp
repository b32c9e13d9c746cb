#include "diff/recorded.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

#include "op/kinds.h"

namespace assay::diff {

/// Those that read what an operation gives, or keeps in a cache.
static std::vector<size_t> readers_of(const op::Program& program, size_t index) {
  const op::Operation& operation = program.operations[index];
  const auto* store = operation.as<op::KvStore>();
  std::vector<size_t> out;
  for (size_t i = index + 1; i < program.operations.size(); ++i) {
    const auto* attend = program.operations[i].as<op::Attend>();
    if (store ? attend && attend->cache == store->cache
              : std::ranges::find(program.operations[i].inputs, operation.output) !=
                    program.operations[i].inputs.end())
      out.push_back(i);
  }
  return out;
}

bool was_recorded(const op::Program& program, const Side& side, size_t operation) {
  return side.operations[operation].seen.elements > 0 &&
         !op::row_of(program.operations[operation]).moves;
}

std::vector<size_t> segment_of(const op::Program& program, const Side& side, size_t operation) {
  std::vector<bool> inside(program.operations.size(), false);
  inside[operation] = true;
  std::vector<size_t> out;
  for (size_t i = operation; i-- > 0;) {
    const op::Operation& one = program.operations[i];
    if (was_recorded(program, side, i)) continue;
    inside[i] = std::ranges::any_of(readers_of(program, i), [&](size_t r) { return inside[r]; });
    if (inside[i] && !one.is<op::KvStore>() && !op::row_of(one).moves) out.push_back(i);
  }
  std::ranges::reverse(out);
  return out;
}

std::vector<size_t> opening(const op::Program& program, const Side& side, size_t operation) {
  std::vector<bool> inside(program.operations.size(), false);
  inside[operation] = true;
  std::vector<size_t> out;
  for (size_t i = operation; i-- > 0;) {
    const bool read =
        std::ranges::any_of(readers_of(program, i), [&](size_t r) { return inside[r]; });
    if (was_recorded(program, side, i)) {
      if (read) out.push_back(i);
    } else {
      inside[i] = read;
    }
  }
  std::ranges::reverse(out);
  return out;
}

/// What single experts compute is no module of transformers.
static bool can_give(const Side& side, const op::Operation& operation) {
  return !side.engine.starts_with("transformers") ||
         operation.name.find(".experts_") == std::string::npos;
}

size_t next_to_record(const op::Program& program, const Side& side,
                      const std::vector<size_t>& segment) {
  size_t best = op::none, least = SIZE_MAX;
  for (const size_t middle : segment) {
    if (!can_give(side, program.operations[middle])) continue;
    std::vector<bool> before(program.operations.size(), false);
    before[middle] = true;
    size_t count = 0;
    for (size_t i = middle; i-- > segment.front();) {
      before[i] = std::ranges::any_of(readers_of(program, i), [&](size_t r) { return before[r]; });
      count += before[i] && std::ranges::find(segment, i) != segment.end();
    }
    // With it recorded, those before it close there, and the others close as they do now.
    const size_t larger = std::max(count, segment.size() - count - 1);
    if (larger >= least) continue;
    least = larger;
    best = middle;
  }
  return best;
}

void settle_segments(const op::Program& program, Side& side) {
  std::vector<size_t> closed_by(side.operations.size(), op::none);
  for (size_t i = side.operations.size(); i-- > 0;) {
    if (was_recorded(program, side, i) && !side.operations[i].missing) continue;
    for (const size_t reader : readers_of(program, i))
      closed_by[i] =
          std::min(closed_by[i], was_recorded(program, side, reader) ? reader : closed_by[reader]);
    JudgedOperation& judged = side.operations[i];
    if (judged.verdict != Verdict::unmeasured) continue;
    if (closed_by[i] == op::none) {
      judged.after_record = program.operations[i].layer == op::none;
      continue;
    }
    const std::string& name = program.operations[closed_by[i]].name;
    const Verdict verdict = side.operations[closed_by[i]].verdict;
    if (verdict == Verdict::pass) judged.verdict = Verdict::pass;
    judged.why = verdict == Verdict::pass ? fmt::format("judged with {}", name)
                 : verdict == Verdict::fail
                     ? fmt::format("not recorded; {}, which it leads to, is wrong", name)
                     : judged.why;
  }
}

}  // namespace assay::diff
