// What Granite's architectures share.
#pragma once

#include "model/architecture.h"

namespace assay::model {

// Where images enter; -1 everywhere in files of text models.
inline constexpr KeyRow granite_keys[] = {{"deepstack_mapping", Use::neutral, "-1"}};

inline constexpr ConfigRow granite_config[] = {
    {"attention.scale", "attention_multiplier", FieldType::real, true},
    {"embedding_scale", "embedding_multiplier", FieldType::real, true},
    {"residual_scale", "residual_multiplier", FieldType::real, true},
    {"logit_scale", "logits_scaling", FieldType::real, true}};

}  // namespace assay::model
