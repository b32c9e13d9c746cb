// What is found by trying: where scales stand, which weights share a byte.
#include "quant/fields.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

namespace assay::quant {
namespace {

TEST(Fields, ScalesArePutWhereTheyAreRead) {
  visit_all([]<class F>() {
    if constexpr (!is_float_format<F>) {
      std::vector<uint8_t> block(F::block_bytes, 0xa5);
      const std::vector<uint8_t> before = block;
      for (uint32_t group = 0; group < own_scales<F>; ++group)
        put_scale<F>(block.data(), group, std::ldexp(1.0f, -int(group) - 2));
      for (uint32_t group = 0; group < own_scales<F>; ++group) {
        const uint16_t bits = F::scale_bits(block.data(), group);
        EXPECT_EQ(F::scale_is_bf16 ? k_bf16_to_f32(bits) : k_f16_to_f32(bits),
                  std::ldexp(1.0f, -int(group) - 2))
            << name_of<F>;
      }
      uint32_t changed = 0;
      for (uint32_t i = 0; i < F::block_bytes; ++i) changed += block[i] != before[i];
      EXPECT_LE(changed, F::id == IQ1_M::id || F::id == NVFP4::id ? 4u : 2u) << name_of<F>;
      if constexpr (F::has_minimum) {
        put_minimum<F>(block.data(), 5.0f);
        EXPECT_EQ(F::minimum_bits(block.data()), 0x4500u) << name_of<F>;
        EXPECT_EQ(F::scale_bits(block.data(), 0), 0x3400u) << name_of<F>;
      }
    }
  });
}

TEST(Fields, AByteScaleIsTheNearestThatThereIs) {
  std::vector<uint8_t> block(MXFP4::block_bytes, 0);
  for (const auto& [wanted, found] : std::map<float, float>{{0.0f, 0.0f},
                                                            {1.4f, 1.0f},
                                                            {1.6f, 2.0f},
                                                            {-3.2f, 4.0f},
                                                            {0x1p-101f, 0x1p-101f},
                                                            {0x1p-103f, 0.0f}}) {
    put_scale<MXFP4>(block.data(), 0, wanted);
    EXPECT_EQ(MXFP4::scale(block.data(), 0), found) << wanted;
  }
}

TEST(Fields, NibblesAreFoundWhereTheyAre) {
  std::map<std::string, uint32_t> found;
  visit_all([&]<class F>() {
    if constexpr (!is_float_format<F>)
      if (const uint32_t distance = F::code_bits == 4 ? nibble_distance<F>() : 0)
        found[std::string(name_of<F>)] = distance;
  });
  EXPECT_EQ(found, (std::map<std::string, uint32_t>{{"Q4_0", 16},
                                                    {"Q4_1", 16},
                                                    {"Q4_K", 32},
                                                    {"IQ4_NL", 16},
                                                    {"IQ4_XS", 16},
                                                    {"MXFP4", 16},
                                                    {"NVFP4", 8}}));
}

TEST(Fields, ScalesOfTheirOwnAreFound) {
  std::string one_scale;
  visit_all([&]<class F>() {
    if constexpr (!is_float_format<F>)
      if (!has_several_scales<F>()) one_scale += std::string(name_of<F>) + " ";
  });
  EXPECT_EQ(one_scale, "Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 IQ4_NL MXFP4 TQ1_0 TQ2_0 ");
}

}  // namespace
}  // namespace assay::quant
