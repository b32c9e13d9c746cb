// The part of an experts' matrix that a step uses: what files of one operation keep of it.
#pragma once

#include <cstdint>
#include <vector>

#include "judge/table.h"

namespace assay::diff {

/// The experts that a routing names, ascending (expert 0 where it names none), and the same routing
/// with their places in this list in the ids' place. What is no expert's id becomes −1, which is
/// none either.
struct ChosenExperts {
  std::vector<uint64_t> experts;
  judge::Table routing;
};
ChosenExperts chosen_experts(const judge::Table& routing, uint64_t experts);

/// Which rows of the whole matrix, of `rows` rows an expert, are the rows `kept` of each of
/// `experts`.
std::vector<uint64_t> rows_of_experts(const std::vector<uint64_t>& experts, uint64_t rows,
                                      const std::vector<uint64_t>& kept);

}  // namespace assay::diff
