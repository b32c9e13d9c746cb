// What to say where a model's logits are NaN or infinite.
#pragma once

#include <span>
#include <string>

#include "base/result.h"
#include "run/engine.h"

/// True if NaN or an infinity is among them.
bool has_not_finite(std::span<const float> logits);

/// Why: the weight that is NaN or infinite, else the cache's range, else that of f32.
std::string why_not_finite(const assay::run::Engine& engine);

/// Says on stderr that some logits are NaN or infinite, and why. Error: no logit is finite.
assay::Status check_logits(const assay::run::Engine& engine, std::span<const float> logits);
