// tokenizer.json and its companions as the tokenizer.ggml.* keys of a GGUF file.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "convert/folder.h"
#include "gguf/writer.h"
#include "model/config.h"

namespace assay::convert {

/// Returns what it is, "gpt2 (llama-bpe), 128256 tokens"; empty where the folder has no
/// tokenizer.json, which is a note. Errors: a model, normaliser, pre-tokenizer or post-processor
/// that the keys cannot say or assay does not have; a vocabulary that contradicts itself.
Result<std::string> add_tokenizer(gguf::Writer& file, const Folder& folder, model::Config& config,
                                  std::vector<std::string>& notes);

}  // namespace assay::convert
