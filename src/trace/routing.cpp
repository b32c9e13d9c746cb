// A routing in a trace: ids and weights of the chosen experts, in two tensors.
#include <fmt/format.h>

#include <algorithm>

#include "trace/trace_file.h"

namespace assay::trace {

/// The last weights and the last ids of a layer: nodes before them are steps on the way.
void Trace::join_routings() {
  constexpr std::string_view weights = "routing_weights", ids = "routing_ids";
  std::vector<TraceTensor> all;
  for (const TraceTensor& tensor : tensors_) {
    const bool is_weights = tensor.name.ends_with(weights);
    if (!is_weights && !tensor.name.ends_with(ids)) {
      all.push_back(tensor);
      continue;
    }
    const std::string blk =
        tensor.name.substr(0, tensor.name.size() - (is_weights ? weights : ids).size());
    const TraceTensor* chosen = find(tensor.step, blk + std::string(ids));
    const bool last = &tensor == find(tensor.step, blk + std::string(weights));
    // The ids have a row for each row of weights, and no fewer columns.
    if (!is_weights || !last || !chosen || chosen->rows != tensor.rows ||
        chosen->width < tensor.width || find(tensor.step, blk + "routing")) {
      ++parts_;
      continue;
    }
    TraceTensor joined = tensor;
    joined.name = blk + "routing";
    joined.width = 2 * tensor.width;
    joined.ids = chosen->stored;
    all.push_back(std::move(joined));
  }
  tensors_ = std::move(all);
  index_names();
}

void Trace::fit_routings(const op::Program& program) {
  std::set<std::pair<uint32_t, std::string>> dropped;
  for (const op::Operation& operation : program.operations) {
    const auto* router = operation.as<op::Route>();
    for (uint32_t step = 0; router && step < steps_.size(); ++step) {
      const auto* found = all_of(step, operation.name);
      if (!found) continue;
      TraceTensor& routing = tensors_[found->back()];
      const uint64_t used = routing.width / 2, places = router->used;
      if (!routing.ids || used == 0 || used >= places) continue;
      routing.width = 2 * places;
      routing.fewer = places - used;
      for (const op::Operation& other : program.operations) {
        const TraceTensor* tensor = find(step, other.name);
        if (!tensor || other.layer != operation.layer || other.output == op::none) continue;
        const uint64_t wanted = steps_[step].tokens.size() * program.values[other.output].width;
        if (tensor->rows * tensor->width * places == wanted * used)
          dropped.insert({step, other.name});
      }
    }
  }
  std::erase_if(tensors_, [&](const TraceTensor& tensor) {
    return dropped.contains({tensor.step, tensor.name});
  });
  index_names();
}

/// A row of ids, then of weights.
Result<judge::Table> Trace::joined(const TraceTensor& tensor) const {
  const auto weights = to_f32(file_.tensors[tensor.stored]);
  const auto ids = to_f32(file_.tensors[*tensor.ids]);
  for (const auto* part : {&weights, &ids})
    if (!*part) return Error{fmt::format("{}: {}", path_, part->error().message)};
  const uint64_t places = tensor.width / 2, used = places - tensor.fewer,
                 listed = ids->size() / tensor.rows;
  judge::Table table(tensor.rows, tensor.width);
  for (uint64_t r = 0; r < tensor.rows; ++r) {
    const auto row = table.row(r);
    const auto chosen = std::span(*ids).subspan(r * listed, used);
    std::ranges::copy(chosen, row.begin());
    std::ranges::copy(std::span(*weights).subspan(r * used, used), row.begin() + ptrdiff_t(places));
    // Experts that are not chosen, with weights of 0.
    for (uint64_t u = used, expert = 0; u < places; ++expert)
      if (std::ranges::find(chosen, float(expert)) == chosen.end()) row[u++] = double(expert);
  }
  return table;
}

}  // namespace assay::trace
