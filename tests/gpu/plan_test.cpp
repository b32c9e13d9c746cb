#include "gpu/plan.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "../cpu/tiny_program.h"

namespace assay::gpu {
namespace {

using Form = Node::Form;

std::vector<Form> forms_of(const std::vector<Node>& nodes) {
  std::vector<Form> forms;
  for (const Node& node : nodes) forms.push_back(node.form);
  return forms;
}

TEST(Plan, ALayerOfQuantisedWeightsIsSevenNodes) {
  const tests::TinyProgram tiny(quant::Q4_0::id);
  const auto nodes = make_plan(tiny.program, true);
  const std::vector<Form> layer = {
      Form::plain,       // norm, quantised
      Form::multiply,    // q, k, v
      Form::rope_store,  //
      Form::plain,       // attention, quantised
      Form::multiply,    // output and residual
      Form::plain,       // norm
      Form::gate_up,     //
      Form::multiply,    // down and residual
  };
  std::vector<Form> want = {Form::plain};  // embed
  for (int i = 0; i < 2; ++i) want.insert(want.end(), layer.begin(), layer.end());
  want.insert(want.end(), {Form::plain, Form::plain, Form::multiply});  // select, norm, head
  // A head of 16 is no block of 32: there attention's output is quantised by a node of its own.
  auto got = forms_of(nodes);
  std::erase(got, Form::quantise);
  EXPECT_EQ(got, want);
  EXPECT_EQ(nodes[2].operations.size(), 3u);
  EXPECT_EQ(nodes.size(), want.size() + 2);
}

TEST(Plan, EveryOperationIsComputedOnce) {
  for (uint32_t type : {uint32_t(quant::Q4_K::id), uint32_t(quant::F16::id), tests::mixed})
    for (const bool fused : {false, true}) {
      const tests::TinyProgram tiny(type);
      std::vector<uint32_t> seen;
      for (const Node& node : make_plan(tiny.program, fused)) {
        seen.insert(seen.end(), node.operations.begin(), node.operations.end());
        if (node.add != op::none) seen.push_back(node.add);
      }
      ASSERT_EQ(seen.size(), tiny.program.operations.size());
      for (uint32_t i = 0; i < seen.size(); ++i) EXPECT_EQ(seen[i], i);
    }
}

// Its output's buffer may be the one that the matmul still reads.
TEST(Plan, TheResidualOfAFloatMatmulIsAddedApart) {
  const tests::TinyProgram tiny(quant::F16::id);
  for (const Node& node : make_plan(tiny.program, true)) EXPECT_EQ(node.add, op::none);
}

// The groups of one launch come in any order: of two that write one place, either could be last.
TEST(Plan, PartsOfOneLaunchNeverShareABuffer) {
  tests::TinyProgram tiny(quant::Q4_K::id);
  const std::vector<uint32_t> parts = make_plan(tiny.program, true)[2].operations;
  ASSERT_EQ(parts.size(), 3u);
  const auto value = [&](uint32_t part) -> op::Value& {
    return tiny.program.values[tiny.program.operations[parts[part]].output];
  };
  value(2).buffer = value(0).buffer;
  const auto nodes = make_plan(tiny.program, true);
  EXPECT_EQ(nodes[2].operations, (std::vector<uint32_t>{parts[0], parts[1]}));
  EXPECT_EQ(nodes[3].operations, std::vector<uint32_t>{parts[2]});
}

// The groups of one launch come in any order: none may wait for a sum's other half.
TEST(Plan, TwoProductsOfOneLaunchAreAddedApart) {
  tests::TinyProgram tiny(quant::Q4_0::id);
  auto& operations = tiny.program.operations;
  const auto nodes = make_plan(tiny.program, true);
  const auto down = std::ranges::find_if(nodes, [&](const Node& node) {
    return !node.operations.empty() && operations[node.operations[0]].name == "blk.1.down";
  });
  ASSERT_EQ(down->add, down->operations[0] + 1);
  // y = A·x + B·x: the residual becomes a matmul of the same input, before this one.
  const uint32_t at = down->operations[0];
  op::Operation other = operations[at];
  other.name = "other", other.output = tiny.program.add_value("other", tiny.program.width, false);
  operations[at + 1].inputs = {other.output, operations[at].output};
  operations.insert(operations.begin() + at, other);
  tiny.program.assign_buffers();
  for (const Node& node : make_plan(tiny.program, true))
    if (!node.operations.empty() && node.operations[0] == at) {
      EXPECT_EQ(node.operations, (std::vector<uint32_t>{at, at + 1}));
      EXPECT_EQ(node.add, op::none);
    }
}

TEST(Plan, WhatIsOnlyReadQuantisedIsNotWritten) {
  const tests::TinyProgram tiny(quant::Q4_K::id);
  for (const Node& node : make_plan(tiny.program, true)) {
    if (node.form != Form::plain) continue;
    const op::Operation& operation = tiny.program.operations[node.operations[0]];
    const bool norm = operation.is<op::RmsNorm>();
    const bool attention = operation.is<op::Attend>();
    EXPECT_EQ(node.writes_quantised, norm || attention) << operation.name;
    EXPECT_EQ(node.writes_value, !(norm || attention)) << operation.name;
  }
  for (const Node& node : make_plan(tiny.program, false)) EXPECT_TRUE(node.writes_value);
}

}  // namespace
}  // namespace assay::gpu
