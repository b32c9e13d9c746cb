// A model whose values pass f16's greatest number, for the fault that needs them.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "op/program.h"

namespace assay::fault {

/// A model of which one layer's feed-forward values pass 65504: its norm's weights times `factor`.
class Loud {
 public:
  Loud(const op::Program& program, uint32_t layer, float factor) : program_(program) {
    for (const op::Operation& o : program.operations) {
      if (o.name != "blk." + std::to_string(layer) + ".ffn_norm") continue;
      op::Weight& weight = program_.weights[o.weight];
      bytes_.assign(weight.data.begin(), weight.data.end());
      for (size_t i = 0; i < bytes_.size(); i += 4) {
        float value;
        std::memcpy(&value, &bytes_[i], 4);
        value *= factor;
        std::memcpy(&bytes_[i], &value, 4);
      }
      weight.data = bytes_;
    }
  }
  Loud(const Loud&) = delete;
  const op::Program& program() const { return program_; }

 private:
  op::Program program_;
  std::vector<uint8_t> bytes_;
};

/// What is loud where layer 2 is.
inline const char* loud_place(uint64_t seed) {
  constexpr const char* places[] = {"blk.2.gate", "blk.2.up", "blk.2.act"};
  return places[seed % 3];
}

}  // namespace assay::fault
