#include "diff/experts.h"

#include <algorithm>
#include <set>

namespace assay::diff {

ChosenExperts chosen_experts(const judge::Table& routing, uint64_t experts) {
  const uint64_t used = routing.width / 2;
  const auto is_expert = [&](double id) { return id >= 0 && id < double(experts); };
  std::set<uint64_t> chosen;
  for (uint64_t t = 0; t < routing.rows; ++t)
    for (const double id : routing.row(t).first(used))
      if (is_expert(id)) chosen.insert(uint64_t(id));
  if (chosen.empty()) chosen.insert(0);
  ChosenExperts out{{chosen.begin(), chosen.end()}, routing};
  for (uint64_t t = 0; t < routing.rows; ++t)
    for (double& id : out.routing.row(t).first(used))
      id = is_expert(id)
               ? double(std::ranges::lower_bound(out.experts, uint64_t(id)) - out.experts.begin())
               : -1.0;
  return out;
}

std::vector<uint64_t> rows_of_experts(const std::vector<uint64_t>& experts, uint64_t rows,
                                      const std::vector<uint64_t>& kept) {
  std::vector<uint64_t> out;
  for (const uint64_t expert : experts)
    for (const uint64_t row : kept) out.push_back(expert * rows + row);
  return out;
}

}  // namespace assay::diff
