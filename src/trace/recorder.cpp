#include "trace/recorder.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>

#include "trace/safetensors.h"
#include "trace/statistics.h"

namespace assay::trace {

std::vector<double> row_statistics(std::span<const float> row) {
  const Statistics s = statistics(row);
  return {double(s.min),      double(s.max),     s.mean, s.rms, double(s.max_abs), double(s.nan),
          double(s.infinite), double(row.size())};
}

void Recorder::begin_step(const op::Step& step) {
  steps_.push_back({{step.tokens.begin(), step.tokens.end()},
                    {step.positions.begin(), step.positions.end()},
                    {step.selected.begin(), step.selected.end()}});
}

void Recorder::operator()(const op::Operation& operation, std::span<const float> output) {
  if (!operation.is<op::KvStore>()) {
    keep(operation.name, output, program_.values[operation.output].width);
    return;
  }
  const uint64_t key_width = program_.values[operation.inputs[0]].width;
  const uint64_t value_width = program_.values[operation.inputs[1]].width;
  const uint64_t keys = steps_.back().tokens.size() * key_width;
  keep(operation.name + "_k", output.first(keys), key_width);
  keep(operation.name + "_v", output.subspan(keys), value_width);
}

void Recorder::keep(const std::string& name, std::span<const float> values, uint64_t width) {
  if (options_.wanted && !options_.wanted(name)) return;
  const uint64_t rows = values.size() / width;
  Kept kept{name, rows, width, {}};
  if (options_.statistics) {
    kept.width = statistics_width;
    kept.bytes.resize(rows * statistics_width * sizeof(double));
    for (uint64_t r = 0; r < rows; ++r) {
      const std::vector<double> line = row_statistics(values.subspan(r * width, width));
      std::memcpy(kept.bytes.data() + r * statistics_width * sizeof(double), line.data(),
                  statistics_width * sizeof(double));
    }
  } else {
    kept.bytes.resize(values.size_bytes());
    std::memcpy(kept.bytes.data(), values.data(), values.size_bytes());
  }
  bytes_ += kept.bytes.size();
  ++steps_.back().kept;
  kept_.push_back(std::move(kept));
}

Status Recorder::write(const std::string& path, std::map<std::string, std::string> metadata) const {
  auto steps = nlohmann::ordered_json::array(), order = nlohmann::ordered_json::array();
  for (const Step& step : steps_) {
    steps.push_back(
        {{"tokens", step.tokens}, {"positions", step.positions}, {"selected", step.selected}});
    order.push_back(step.kept);
  }
  metadata["format"] = "assay.trace/1";
  metadata["content"] = options_.statistics ? "statistics" : "values";
  metadata["steps"] = steps.dump();
  metadata["order"] = order.dump();
  std::vector<SafeTensor> tensors;
  for (size_t i = 0; i < kept_.size(); ++i)
    tensors.push_back({fmt::format("{:06}.{}", i, kept_[i].name),
                       options_.statistics ? "F64" : "F32",
                       {kept_[i].rows, kept_[i].width},
                       kept_[i].bytes});
  return write_safetensors(path, tensors, metadata);
}

}  // namespace assay::trace
