#include "not_finite.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "gguf/not_finite.h"

using assay::Error;

bool has_not_finite(std::span<const float> logits) {
  return !std::ranges::all_of(logits, [](float x) { return std::isfinite(x); });
}

std::string why_not_finite(const assay::run::Engine& engine) {
  if (const auto found = assay::gguf::find_not_finite(engine.file()))
    return text_of(*found) + ": the file is damaged or was converted wrongly";
  const std::string contract = engine.executor().contract();
  if (contract.find("kv=f32") == contract.npos && contract != "exact")
    return "every weight is finite; keys or values beyond 65504 are infinite in an f16 cache: try "
           "--kv f32 (if that does not help, values leave the range of f32)";
  return "every weight is finite; the model's values leave the range of f32";
}

assay::Status check_logits(const assay::run::Engine& engine, std::span<const float> logits) {
  const auto finite = std::ranges::count_if(logits, [](float x) { return std::isfinite(x); });
  const auto strange = ptrdiff_t(logits.size()) - finite;
  if (strange == 0) return assay::ok();
  const std::string sentence = fmt::format("{} of {} logits are NaN or infinite; {}", strange,
                                           logits.size(), why_not_finite(engine));
  if (finite == 0) return Error{sentence};
  fmt::print(stderr, "assay: {}\n", sentence);
  return assay::ok();
}
