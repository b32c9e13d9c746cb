// How llama.cpp's CPU codes the activations that meet each format.
#include "judge/coding.h"
#include "judge/contract.h"

#include <gtest/gtest.h>

#include "quant/formats.h"

namespace assay::judge {
namespace {

constexpr uint32_t super_blocks[] = {
    quant::Q2_K::id,    quant::Q3_K::id,  quant::Q4_K::id,    quant::Q5_K::id,  quant::Q6_K::id,
    quant::IQ4_XS::id,  quant::IQ3_S::id, quant::IQ3_XXS::id, quant::IQ2_S::id, quant::IQ2_XS::id,
    quant::IQ2_XXS::id, quant::IQ1_M::id, quant::IQ1_S::id,   quant::TQ1_0::id, quant::TQ2_0::id};
constexpr uint32_t without_minimum[] = {quant::Q4_0::id,   quant::Q5_0::id,  quant::Q8_0::id,
                                        quant::IQ4_NL::id, quant::MXFP4::id, quant::NVFP4::id};
constexpr uint32_t with_minimum[] = {quant::Q4_1::id, quant::Q5_1::id};

// Source: vec_dot_type in ggml-cpu's table of types. Measured on llama.cpp's ternary kernels: 21.6
// u of Σ|w·x̂|, over the limit of 19.3, as their lanes hold Σ q·x̂ and Σ x̂ apart.
TEST(Coding, OfLlamaCppsCpuFollowsTheFormat) {
  size_t formats = 0;
  for (const uint32_t type : super_blocks)
    for (const Coding& coding : codings("ggml-cpu", type)) {
      ++formats;
      EXPECT_EQ(coding.block, 256u) << quant::info(type).name;
      EXPECT_EQ(coding.rounding, Coding::Rounding::signed_maximum);
      EXPECT_FALSE(coding.scale_is_f16);
      EXPECT_EQ(coding.offset_meets_sums, type == quant::TQ1_0::id || type == quant::TQ2_0::id);
    }
  for (const uint32_t type : without_minimum) {
    ++formats;
    for (const Coding& coding : codings("ggml-cpu", type)) {
      EXPECT_EQ(coding.block, 32u) << quant::info(type).name;
      EXPECT_TRUE(coding.scale_is_f16);
      EXPECT_EQ(coding.sums, Coding::Sums::codes);
    }
  }
  for (const uint32_t type : with_minimum) {
    ++formats;
    for (const Coding& coding : codings("ggml-cpu", type)) {
      EXPECT_EQ(coding.block, 32u) << quant::info(type).name;
      EXPECT_EQ(coding.sums, Coding::Sums::codes_f16);
    }
  }
  size_t blocks = 0;
  quant::visit_all([&]<class F>() { blocks += !quant::is_float_format<F>; });
  EXPECT_EQ(formats, blocks) << "a new format must be named here";
}

}  // namespace
}  // namespace assay::judge
