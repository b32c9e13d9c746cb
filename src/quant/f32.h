// F32: IEEE binary32, little-endian.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct F32 {
  K_TABLE uint32_t id = 0;
  K_TABLE uint32_t block_size = 1;
  K_TABLE uint32_t block_bytes = 4;
  K_FN float value(K_DEV const uint8_t* block) {
    return k_float(k_load_u16(block) | (uint32_t(k_load_u16(block + 2)) << 16));
  }
};

}  // namespace quant
}  // namespace assay
