// Operations are found in a graph by what its nodes read.
#include "trace/graph.h"

#include <gtest/gtest.h>

#include <deque>

namespace assay::trace {
namespace {

/// A parallel block: norm, q and k of one matrix, their sum with x in two steps.
struct Block {
  op::Program program;
  uint32_t x, n, q, k, half, out;

  Block() {
    program.vocabulary = 8, program.width = 4;
    const auto weight = [&](const char* name, uint64_t rows, uint64_t columns) {
      data.emplace_back(rows * columns * 4);
      return program.add_weight({name, 0, rows, columns, data.back()});
    };
    const auto add = [&](const char* name, op::Parameters of, std::vector<uint32_t> inputs,
                         uint32_t of_weight = op::none) {
      return program.append({.name = name, .of = of, .inputs = inputs, .weight = of_weight});
    };
    x = add("embd", op::Embed{}, {}, weight("token_embd.weight", 8, 4));
    n = add("n", op::RmsNorm{1e-5f}, {x}, weight("norm.weight", 1, 4));
    q = add("q", op::Matmul{}, {n}, weight("qkv.weight[q]", 4, 4));
    k = add("k", op::Matmul{}, {n}, weight("qkv.weight[k]", 4, 4));
    half = add("half", op::Add{}, {x, q});
    out = add("out", op::Add{}, {half, k});
  }

  std::deque<std::vector<uint8_t>> data;
};

Places find(const op::Program& program, const std::vector<GraphNode>& nodes) {
  return find_operations(program, nodes, [](const op::Operation&) { return std::nullopt; });
}

/// The graph of the block, called by nothing that says what it is.
std::vector<GraphNode> graph() {
  return {{"a", "GET_ROWS", {}, {"token_embd.weight", "ids"}, 4},
          {"b", "RMS_NORM", {{0}}, {}, 4},
          {"c", "MUL", {{1}}, {"norm.weight"}, 4},
          {"d", "MUL_MAT", {{2}}, {"qkv.weight"}, 8},
          {"e", "ADD", {{3, 0}, {3, 4}}, {}, 4},
          {"f", "ADD", {{4}, {0}}, {}, 4}};
}

TEST(Graph, OperationsAreFoundByWhatTheyRead) {
  const Block block;
  const Places found = find(block.program, graph());
  const size_t nodes[] = {0, 2, 3, 3};
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(found.places[i]) << i;
    EXPECT_EQ(found.places[i]->node, nodes[i]);
  }
  EXPECT_EQ(found.places[2]->first, 0u);
  EXPECT_EQ(found.places[3]->first, 4u);
  EXPECT_TRUE(found.inner[1]);
}

TEST(Graph, ASumInAnotherOrderIsOne) {
  const Block block;
  const Places found = find(block.program, graph());
  EXPECT_FALSE(found.places[4]);
  EXPECT_TRUE(found.merged[4]);
  ASSERT_TRUE(found.places[5]);
  EXPECT_EQ(found.places[5]->node, 5u);
  EXPECT_TRUE(found.inner[4]);
}

TEST(Graph, ASumOfOtherTermsIsNone) {
  const Block block;
  std::vector<GraphNode> nodes = graph();
  nodes[4].sources[1].first = 0;  // q twice
  const Places found = find(block.program, nodes);
  EXPECT_FALSE(found.places[5]);
  EXPECT_FALSE(found.merged[4]);
}

TEST(Graph, AStepThatTheModelHasNotLeavesTheRestUnknown) {
  const Block block;
  std::vector<GraphNode> nodes = graph();
  nodes[1].operation = "SQR";
  const Places found = find(block.program, nodes);
  EXPECT_FALSE(found.places[1]);
  EXPECT_FALSE(found.places[2]);
}

TEST(Graph, ViewsAreWhatTheyShow) {
  const Block block;
  std::vector<GraphNode> nodes = graph();
  nodes.insert(nodes.begin() + 4, {"view", "VIEW", {{3, 4}}, {}, 4});
  nodes[5].sources = {{3, 0}, {4, 0}};
  nodes[6].sources = {{5}, {0}};
  const Places found = find(block.program, nodes);
  ASSERT_TRUE(found.places[5]);
  EXPECT_EQ(found.places[5]->node, 6u);
}

}  // namespace
}  // namespace assay::trace
