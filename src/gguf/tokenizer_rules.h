// What every tokenizer's metadata must obey, whichever tokenizer it is. Opening a file does not ask
// for it: a file whose tokenizer is wrong can still be shown, and run from token ids.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "gguf/file.h"

namespace assay::gguf {

/// Tokens, scores and token types are arrays of their kind and of equal length.
Status check_tokenizer(const File& file);

/// The id under tokenizer.ggml.NAME; empty where it is absent or names none of the tokens: files
/// have 4294967295 or -1 for "none". Errors: not an integer.
Result<std::optional<uint32_t>> special_id(const File& file, std::string_view name);

/// Which special ids name none of the tokens: one sentence, or "".
std::string ids_outside(const File& file);

}  // namespace assay::gguf
