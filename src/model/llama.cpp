// Llama 1 to 3.x, Mistral, TinyLlama, SmolLM2. GGUF files of this architecture hold the rows of Q
// and K for adjacent pairs.
#include "model/architecture.h"

namespace assay::model {

namespace {

// With experts (Mixtral) the reader wants other tensors.
constexpr KeyRow keys[] = {{"expert_count", Use::neutral, "0"},
                           {"expert_used_count", Use::neutral, "0"}};

}  // namespace

extern constexpr Architecture llama = {.name = "llama",
                                       .adjacent_pairs = true,
                                       .inner_biases = true,
                                       .factors = RopeFactors::rope_freqs,
                                       .keys = keys};

}  // namespace assay::model
