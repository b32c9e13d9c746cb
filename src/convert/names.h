// Which tensors of a folder become which tensor of the GGUF file.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/architecture.h"
#include "trace/safetensors_file.h"

namespace assay::convert {

/// How heads lie in the rows of q, of k and of the three together.
struct Heads {
  uint64_t queries = 1, keys = 1, width = 1, rotated = 1;
};

/// Errors are the Config's.
Heads heads_of(model::Config& config);

/// A tensor to be written.
struct Target {
  std::string name;  ///< GGUF's
  model::Change change = model::unchanged;
  bool stacked = false;                             ///< `sources` are the slices of a new dimension
  std::vector<const trace::StoredTensor*> sources;  ///< one, or one an expert
  std::vector<uint64_t> shape;                      ///< slowest first, after the change
  std::vector<std::span<const uint8_t>> scales = {};  ///< of each source in MXFP4
};

/// A name that fits a pattern with "{}", and the numbers that stand there; false otherwise.
bool fits(std::string_view pattern, std::string_view name, std::vector<uint64_t>& numbers);

using Tensors = std::map<std::string, trace::StoredTensor>;

/// Sets the keys of the architecture's numbers. Errors: a block's tensor is missing, is no number.
Status read_numbers(const Tensors& tensors, const model::Architecture& architecture,
                    model::Config& config, model::Keys& keys);

/// In the order of the file: embedding, blocks, norm and head. Errors, with the tensor's name: it
/// has no place in this architecture; a block beyond the last; an expert that is missing or has
/// another shape; two tensors for one place; a shape that the change cannot have.
Result<std::vector<Target>> find_targets(const Tensors& tensors,
                                         const model::Architecture& architecture,
                                         model::Config& config, const Heads& heads);

}  // namespace assay::convert
