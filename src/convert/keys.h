// What config.json says, as keys of a GGUF file and as tensors that follow from it.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "model/architecture.h"

namespace assay::convert {

/// A tensor that is made of the configuration: factors that divide RoPE's frequencies.
struct Constant {
  std::string name;
  std::vector<float> values;
};

struct Settings {
  model::Keys keys;  ///< without "ARCHITECTURE."
  std::vector<Constant> constants;
};

/// Errors: a field that is missing, of another type, or has a value that the architecture does not
/// implement; a kind of RoPE scaling that a GGUF file cannot say.
Result<Settings> read_settings(model::Config& config, const model::Architecture& architecture);

/// The part of it that RoPE has. Errors are the config's.
void read_rope(model::Config& config, const model::Architecture& architecture, Settings& out);

}  // namespace assay::convert
