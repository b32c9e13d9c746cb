// F16: IEEE binary16, little-endian.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct F16 {
  K_TABLE uint32_t id = 1;
  K_TABLE uint32_t block_size = 1;
  K_TABLE uint32_t block_bytes = 2;
  K_FN float value(K_DEV const uint8_t* block) { return k_f16_to_f32(k_load_u16(block)); }
};

}  // namespace quant
}  // namespace assay
