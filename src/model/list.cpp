// The supported architectures: one line each.
#include <array>
#include <string>

#include "gguf/reader.h"
#include "model/llama.h"
#include "model/model.h"

namespace assay::model {

namespace {

struct Architecture {
  std::string_view name;
  Result<op::Program> (*build)(const gguf::File&);
};

constexpr std::array list = {
    Architecture{"llama", build_llama},
};

}  // namespace

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : list) names.emplace_back(architecture.name);
  return names;
}

Result<op::Program> build(const gguf::File& file) {
  const auto name = file.string_value("general.architecture");
  if (!name) return name.error();
  if (!*name)
    return Error{"'" + file.path() + "' does not name its architecture (general.architecture)"};
  std::string supported;
  for (const Architecture& architecture : list) {
    if (architecture.name == **name) return architecture.build(file);
    supported += (supported.empty() ? "" : ", ") + std::string(architecture.name);
  }
  return Error{"architecture '" + gguf::printable(**name) +
               "' is not supported; supported: " + supported};
}

}  // namespace assay::model
