// Where an operation is wrong, in words: "tokens 3 to 7, head 4 of 9".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "judge/judge.h"
#include "op/program.h"

namespace assay::diff {

/// Ascending numbers below `count`, of things that are called `thing`: "token 3", "tokens 3 to 7",
/// "every 32nd channel from 5 to 549", "all channels", "12 of 576 channels, from 3 to 401".
std::string in_words(std::string_view thing, const std::vector<uint64_t>& numbers, uint64_t count);

/// The heads in a row of the operation's output; 1 where it has none.
uint64_t heads_of(const op::Program& program, const op::Operation& operation);

/// What the elements outside their limits have in common: ", zero", ", NaN", ", all 3.5", ", × 1.1",
/// ", + 0.5"; empty where it is nothing, or where there are too few to say. `type` is what results
/// are rounded to.
std::string how_wrong(const judge::Table& got, const judge::Judged& judged, judge::NumberType type);

/// Which elements are outside their limits. `token_of_row` says which token of the prompt a row is of.
/// Where whole heads are wrong, or the same channels of every head, they are named so.
std::string where_wrong(const op::Program& program, const op::Operation& operation,
                        const judge::Table& got, const judge::Judged& judged,
                        const std::vector<uint64_t>& token_of_row);

}  // namespace assay::diff
