// How many bytes of weights a step's matrix products read, of experts only the chosen: the same on
// every device.
#pragma once

#include <cstdint>
#include <map>
#include <span>

#include "op/program.h"

namespace assay::op {

class WeightBytes {
 public:
  /// The program must outlive this.
  explicit WeightBytes(const Program& program) : program_(program) {}

  /// Whether the bytes depend on what routers choose: then see() must see a step.
  bool by_routing() const;
  /// Sees an operation's output (op::Sink) and remembers which experts a routing names.
  void see(const Operation& operation, std::span<const float> output);
  /// The bytes, as the file holds them, of the weights that the step seen last reads. A weight that
  /// two operations read counts twice.
  uint64_t of_step() const;

 private:
  const Program& program_;
  std::map<uint32_t, uint64_t> chosen_;  // by index of value: distinct experts of a routing
};

}  // namespace assay::op
