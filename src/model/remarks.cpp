#include <fmt/format.h>

#include <utility>

#include "gguf/tokenizer_rules.h"
#include "model/departures.h"
#include "model/model.h"

namespace assay::model {

namespace {

/// ARCHITECTURE.name, 0 where absent.
uint64_t number(const gguf::File& file, std::string_view architecture, std::string_view name) {
  const auto value = file.unsigned_value(std::string(architecture) + "." + std::string(name));
  return value ? value->value_or(0) : 0;
}

}  // namespace

std::vector<std::string> remarks(const gguf::File& file) {
  std::vector<std::string> sentences;
  if (std::string outside = gguf::ids_outside(file); !outside.empty())
    sentences.push_back(std::move(outside));
  const auto name = file.string_value("general.architecture");
  if (!name || !*name) return sentences;
  const uint64_t trained = number(file, **name, "context_length");
  const uint64_t original = number(file, **name, "rope.scaling.original_context_length");
  const auto program = build(file);
  if (!program) return sentences;
  for (std::string& sentence : departures_of(file, 0, program->context))
    sentences.push_back(std::move(sentence));
  if (!program->rope_factors.empty())
    sentences.push_back(
        fmt::format("RoPE factors: {} for a context limit of {}; short up to -c {}, long beyond",
                    program->rope_factors, program->context, original ? original : trained));
  return sentences;
}

}  // namespace assay::model
