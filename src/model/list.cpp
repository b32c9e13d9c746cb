// The supported architectures.
#include <string>

#include "gguf/reader.h"
#include "model/architecture.h"
#include "model/decoder.h"
#include "model/model.h"

namespace assay::model {

extern const Architecture llama, qwen2, qwen3, phi3;  // each stands in the file of its name
static constexpr const Architecture* list[] = {&llama, &qwen2, &qwen3, &phi3};

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const Architecture* architecture : list) names.emplace_back(architecture->name);
  return names;
}

Result<op::Program> build(const gguf::File& file, uint32_t context) {
  const auto name = file.string_value("general.architecture");
  if (!name) return name.error();
  if (!*name)
    return Error{"'" + file.path() + "' does not name its architecture (general.architecture)"};
  std::string supported;
  for (const Architecture* architecture : list) {
    if (architecture->name == **name) return build_decoder(file, *architecture, context);
    supported += (supported.empty() ? "" : ", ") + std::string(architecture->name);
  }
  return Error{"architecture '" + gguf::printable(**name) +
               "' is not supported; supported: " + supported};
}

}  // namespace assay::model
