// Bytes of weights that a step reads: whole matrices, and of experts those that the router named.
#include "op/weight_bytes.h"

#include <gtest/gtest.h>

#include <vector>

namespace assay::op {
namespace {

TEST(WeightBytes, CountChosenExpertsOnceAndOtherMatricesWhole) {
  const std::vector<uint8_t> bytes(4 * 8 * 6 * 4);  // 8 experts of (6, 4), F32
  Program program;
  const auto weight = [&](const char* name, uint64_t rows) {
    return program.add_weight({name, 0, rows, 4, std::span(bytes).first(rows * 16)});
  };
  const uint32_t x = program.append({.name = "x", .of = Embed{}, .weight = weight("table", 8)});
  const uint32_t logits =
      program.append({.name = "router", .of = Matmul{}, .inputs = {x}, .weight = weight("r", 8)});
  const uint32_t routing =
      program.append({.name = "routing", .of = Route{.used = 2}, .inputs = {logits}});
  WeightBytes dense(program);
  EXPECT_FALSE(dense.by_routing());
  EXPECT_EQ(dense.of_step(), 8u * 16);
  program.append({.name = "experts",
                  .of = MatmulExperts{8},
                  .inputs = {x, routing},
                  .weight = weight("e", 48)});
  WeightBytes counted(program);
  EXPECT_TRUE(counted.by_routing());
  const Operation& router = program.operations[2];
  counted.see(router, std::vector<float>{3, 5, 0.5f, 0.5f});
  EXPECT_EQ(counted.of_step(), 8u * 16 + 2 * 6 * 16);
  // two tokens that share an expert; the weights are no ids
  counted.see(router, std::vector<float>{3, 5, 0.5f, 0.5f, 5, 0, 0.25f, 0.75f});
  EXPECT_EQ(counted.of_step(), 8u * 16 + 3 * 6 * 16);
}

}  // namespace
}  // namespace assay::op
