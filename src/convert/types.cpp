#include "convert/types.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "convert/rows.h"
#include "quant/formats.h"

namespace assay::convert {
namespace {

struct FileType {
  uint32_t type, file_type;
};
// Source: llama.cpp's enum llama_ftype.
constexpr std::array file_types = {
    FileType{quant::F32::id, 0},     FileType{quant::F16::id, 1},   FileType{quant::Q4_0::id, 2},
    FileType{quant::Q4_1::id, 3},    FileType{quant::Q8_0::id, 7},  FileType{quant::Q5_0::id, 8},
    FileType{quant::Q5_1::id, 9},    FileType{quant::Q2_K::id, 10}, FileType{quant::Q3_K::id, 11},
    FileType{quant::Q4_K::id, 14},   FileType{quant::Q5_K::id, 16}, FileType{quant::Q6_K::id, 18},
    FileType{quant::IQ4_NL::id, 25}, FileType{quant::BF16::id, 32}, FileType{quant::MXFP4::id, 38}};

/// Its reader wants F32.
bool is_always_f32(const Target& target) {
  return target.shape.size() < 2 || !target.name.ends_with(".weight") ||
         target.name.ends_with("_norm.weight") ||
         target.name.find(".ffn_gate_inp") != std::string::npos;
}

bool is_quantised(uint32_t type) {
  return quant::info(type).block_size > 1;
}

}  // namespace

Result<Types> choose_types(const std::vector<Target>& targets, std::optional<uint32_t> asked,
                           std::vector<std::string>& notes) {
  const bool tied = std::ranges::none_of(
      targets, [](const Target& target) { return target.name == "output.weight"; });
  const std::string_view head = tied ? "token_embd.weight" : "output.weight";
  Types types;
  std::map<uint32_t, uint64_t> elements;
  std::string first;
  uint64_t fallen = 0;
  for (const Target& target : targets) {
    const auto own = own_type(*target.sources[0]);
    if (!own) return own.error();
    uint32_t type = is_always_f32(target) ? quant::F32::id : asked.value_or(*own);
    if (is_quantised(*own)) type = *own;  // its bits stay
    if (target.name == head && is_quantised(type)) type = quant::Q8_0::id;
    if (!target.shape.empty() && target.shape.back() % quant::info(type).block_size) {
      if (fallen++ == 0)
        first = fmt::format("{} has rows of {}, which blocks of {} do not divide", target.name,
                            target.shape.back(), quant::info(type).block_size);
      type = quant::F16::id;
    }
    types.of_targets.push_back(type);
    uint64_t count = 1;
    for (const uint64_t dimension : target.shape) count *= dimension;
    elements[type] += count;
  }
  if (fallen)
    notes.push_back(fmt::format(
        "{}{}: written as F16", first,
        fallen > 1 ? fmt::format(" (and {} more tensors)", fallen - 1) : std::string()));
  const auto most =
      std::ranges::max_element(elements, {}, [](const auto& entry) { return entry.second; });
  if (most != elements.end()) {
    const auto known = std::ranges::find(file_types, most->first, &FileType::type);
    if (known != file_types.end()) types.file_type = known->file_type;
  }
  return types;
}

}  // namespace assay::convert
