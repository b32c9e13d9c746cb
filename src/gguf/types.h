// Every tensor type that ggml has had: its name and how many bytes its blocks take. A reader needs
// these to check where tensors end, also for types that assay can't compute with (quant/formats.h
// lists those it can).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace assay::gguf {

struct TypeInfo {
  uint32_t id = 0;
  std::string_view name;
  uint32_t block_size = 0;  ///< weights a block; the row length is a multiple
  uint32_t block_bytes = 0;
};

/// The facts of a tensor type; empty where ggml has never had this id.
std::optional<TypeInfo> type_info(uint32_t id);

/// The name of any tensor type ggml has had, "type 97" for others.
std::string type_name(uint32_t id);

}  // namespace assay::gguf
