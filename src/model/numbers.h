// The numbers of a decoder, read from a file's keys and checked.
#pragma once

#include <cstdint>
#include <string>

#include "gguf/file.h"
#include "model/architecture.h"
#include "model/reader.h"
#include "op/program.h"

namespace assay::model {

struct Numbers {
  uint32_t layers = 0, width = 0, ffn_width = 0, heads = 0, kv_heads = 0, key_dim = 0;
  uint32_t value_dim = 0, vocabulary = 0;
  uint32_t trained_context = 0;
  uint32_t context = 0;  ///< most positions of a sequence
  float eps = 0;
  op::RopeTable rope;
  std::string rope_factors;  ///< "long", "short" or empty
};

/// Errors are the reader's.
Numbers read_numbers(Reader& read, const gguf::File& file, const Architecture& architecture,
                     uint32_t context);

}  // namespace assay::model
