// A GGUF file from a Hugging Face folder: docs/convert.md.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace assay::convert {

struct Options {
  std::optional<uint32_t>
      type;  ///< GGUF id of the matrices' format; none: each as the folder has it
  /// Told how many bytes are written, of how many; false stops.
  std::function<bool(uint64_t done, uint64_t total)> progress;
  /// A tokenizer that can't be converted is a note, and the file has none: for what needs weights alone.
  bool weights_alone = false;
};

struct Converted {
  std::string architecture;
  std::string types;      ///< "BF16, F32": of the tensors, the most bytes first
  std::string tokenizer;  ///< "gpt2 (llama-bpe), 128256 tokens"; empty: none
  uint64_t tensors = 0, bytes = 0;
  std::vector<std::string> notes;  ///< sentences for people
};

/// "q8_0" is Q8_0. Errors: there is no such format, or none that can be written; lists those.
Result<uint32_t> type_of_name(std::string_view name);

/// The folder's own name, also of "." and "models/x/".
std::string name_of_folder(const std::string& folder);

/// Writes `output` when the whole file is there and assay can run it: otherwise it stays as it was.
/// Errors: whatever is wrong with the folder, in one sentence; a class, tensor, number, tokenizer or
/// type that is not supported; what the model's reader says of the file.
Result<Converted> convert(const std::string& folder, const std::string& output,
                          const Options& options);

}  // namespace assay::convert
