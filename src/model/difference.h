// What two model files say differently: when traces of two files are to be compared.
#pragma once

#include <string>

#include "gguf/file.h"

namespace assay::model {

/// One sentence without a full stop: the first key that differs with both values (a tokenizer's
/// lists by their name only), and the tensors: how many, the first of them, and what it is (another
/// type or shape, another tensor's bytes, the same rows in another order, a share of its rows).
/// Empty where keys and tensors are equal.
std::string difference_of(const gguf::File& a, const gguf::File& b);

}  // namespace assay::model
