// Llama 1 to 3.x, Mistral, TinyLlama, SmolLM2: pre-norm blocks of grouped-query attention with RoPE
// and SwiGLU.
#pragma once

#include "model/model.h"

namespace assay::model {

Result<op::Program> build_llama(const gguf::File& file);

}  // namespace assay::model
