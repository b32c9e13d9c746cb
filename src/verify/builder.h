// Builds small programs in memory, with random weights of any format and activations that are hard
// for kernels.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "verify/case.h"

namespace assay::verify {

/// SplitMix64: the same programs on every machine.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t bits();
  uint32_t below(uint32_t n) { return uint32_t(bits() % n); }
  /// In (-1, 1).
  float uniform();

 private:
  uint64_t state_;
};

/// Valid blocks of any format: any codes, scales and minima finite, of magnitude 2^-9 … 2^-2, one
/// block in sixteen with a scale of 0.
std::vector<uint8_t> random_weights(uint32_t type, uint64_t rows, uint64_t columns, Random& random);

/// The rows of activations, by token: uniform; one 1e4 beside ±1e-3; groups of 32 whose sizes
/// differ by up to 2^8 with zeros among them; one element that is not 0; all ±1e4.
std::vector<float> activations(uint64_t token, uint64_t width, Random& random);

/// Appends operations to a program whose inputs come from tables of f32 with one row per token.
class Builder {
 public:
  explicit Builder(uint32_t tokens);

  /// A value of activations (tokens, width) times `factor`, or the given ones.
  uint32_t input(uint32_t width, float factor = 1);
  uint32_t given(uint32_t width, const std::vector<float>& rows);
  /// A weight of random blocks, or of the given bytes.
  uint32_t weight(uint32_t type, uint64_t rows, uint64_t columns);
  uint32_t weight(uint32_t type, uint64_t rows, uint64_t columns, std::vector<uint8_t> bytes);
  uint32_t weight(const std::vector<float>& row) { return floats(1, row); }
  /// Rows of F32, one after another.
  uint32_t weight_rows(uint64_t rows, const std::vector<float>& values) {
    return floats(rows, values);
  }
  /// A routing of each token: `used` distinct experts, of every fifth token the first ones, and
  /// weights in (0, 1).
  uint32_t routing(uint32_t experts, uint32_t used);
  /// Appends an operation. It is named kind.N, where it has no name.
  uint32_t add(op::Operation operation);
  uint32_t add(op::Parameters of, std::vector<uint32_t> inputs, uint32_t weight = op::none,
               uint32_t bias = op::none) {
    return add({.name = "", .of = of, .inputs = std::move(inputs), .weight = weight, .bias = bias});
  }

  op::Program& program() { return built_->program; }
  Random& random() { return random_; }
  /// Runs tokens 0, 1, … of the tables. The builder is empty afterwards.
  Case finish(std::string name);

 private:
  uint32_t floats(uint64_t rows, const std::vector<float>& values);
  std::shared_ptr<Built> built_ = std::make_shared<Built>();
  uint32_t tokens_;
  Random random_{1};
};

}  // namespace assay::verify
