// BF16: the high half of IEEE binary32, little-endian.
#pragma once

#include "lang/lang.h"

namespace assay {
namespace quant {

struct BF16 {
  K_TABLE uint32_t id = 30;
  K_TABLE uint32_t block_size = 1;
  K_TABLE uint32_t block_bytes = 2;
  K_FN float value(K_DEV const uint8_t* block) {
    return k_float(uint32_t(k_load_u16(block)) << 16);
  }
};

}  // namespace quant
}  // namespace assay
