// The supported architectures, and what others would need.
#include <functional>
#include <string>

#include "gguf/reader.h"
#include "model/architecture.h"
#include "model/decoder.h"
#include "model/departures.h"
#include "model/missing.h"
#include "model/model.h"

namespace assay::model {

// list.inc has a line for each.
extern const Architecture
#include "model/list.inc"
    after_the_last;  // a declaration must not end with a comma

static constexpr std::reference_wrapper<const Architecture> list[] = {
#include "model/list.inc"
};

std::vector<std::string> architectures() {
  std::vector<std::string> names;
  for (const Architecture& architecture : list) names.emplace_back(architecture.name);
  return names;
}

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture& architecture : list)
    if (architecture.name == name) return &architecture;
  return nullptr;
}

Result<const Architecture*> architecture_of(Config& config) {
  const std::vector<std::string> named = config.texts("architectures");
  const std::string type = config.text("model_type").value_or("");
  if (config.failed()) return config.error();
  std::string supported;
  for (const Architecture& architecture : list) {
    for (const SourceClass& one : architecture.conversion.classes) {
      supported += (supported.empty() ? "" : ", ") + std::string(one.name);
      if (named.empty() ? one.type != type : one.name != named[0]) continue;
      config.type = one.type;
      config.base = one.base;
      config.turned_part = architecture.conversion.turned_part;
      return &architecture;
    }
  }
  if (named.empty() && type.empty())
    config.fail("neither 'architectures' nor 'model_type' names the model's class");
  else
    config.fail("the class '" + gguf::printable(named.empty() ? type : named[0]) +
                "' is not supported; supported: " + supported);
  return config.error();
}

Result<op::Program> build(const gguf::File& file, uint32_t context, Reading reading) {
  const auto name = file.string_value("general.architecture");
  if (!name) return name.error();
  if (!*name)
    return Error{"'" + file.path() + "' does not name its architecture (general.architecture)"};
  if (const Architecture* architecture = find_architecture(**name))
    return build_decoder(
        file, reading == Reading::own ? *architecture : as_llama_cpp_reads(*architecture), context);
  const std::string sentence = "architecture '" + gguf::printable(**name) + "' is not supported";
  if (const std::string_view missing = what_is_missing(**name); !missing.empty())
    return Error{sentence + ": " + std::string(missing)};
  std::string supported;
  for (const Architecture& architecture : list)
    supported += (supported.empty() ? "" : ", ") + std::string(architecture.name);
  return Error{sentence + "; supported: " + supported};
}

}  // namespace assay::model
