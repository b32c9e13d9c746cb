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

/// A program whose operations are given in another order, with buffers for that order.
class Reordered {
 public:
  explicit Reordered(uint32_t type = quant::Q4_0::id) : tiny_(type) {}
  op::Program& program() { return tiny_.program; }
  uint32_t index(const std::string& name) const {
    const auto& operations = tiny_.program.operations;
    const auto found = std::ranges::find(operations, name, &op::Operation::name);
    EXPECT_NE(found, operations.end()) << name;
    return uint32_t(found - operations.begin());
  }
  /// Puts an operation before another one.
  void move(const std::string& name, const std::string& before) {
    const op::Operation moved = program().operations[index(name)];
    program().operations.erase(program().operations.begin() + index(name));
    program().operations.insert(program().operations.begin() + index(before), moved);
    assign();
  }
  /// Adds y = x·0.75 before an operation, and gives y to `reader`.
  void add_scale(const std::string& name, uint32_t x, const std::string& before,
                 const std::string& reader) {
    op::Operation scale{.name = name, .of = op::Scale{0.75f}, .inputs = {x}};
    scale.output = program().add_value(name, program().values[x].width);
    program().operations.insert(program().operations.begin() + index(before), scale);
    std::ranges::replace(program().operations[index(reader)].inputs, x, scale.output);
    assign();
  }
  /// Gives an operation's output a buffer that no other value has.
  void part_buffer(const std::string& name) {
    program().values[output(name)].buffer = program().buffers++;
    program().buffer_width.push_back(program().values[output(name)].width);
  }
  uint32_t output(const std::string& name) { return program().operations[index(name)].output; }
  /// The node that computes an operation, and its place in the plan.
  Node node_of(const std::string& name) {
    for (const Node& node : make_plan(program(), true)) {
      if (node.add == index(name)) return node;
      for (uint32_t i : node.operations)
        if (i == index(name)) return node;
    }
    ADD_FAILURE() << name;
    return {};
  }
  std::vector<std::string> names_of(const Node& node) {
    std::vector<std::string> names;
    for (uint32_t i : node.operations) names.push_back(program().operations[i].name);
    return names;
  }

 private:
  void assign() {
    program().buffer_width.clear();
    program().assign_buffers();
  }
  tests::TinyProgram tiny_;
};

using Names = std::vector<std::string>;

TEST(PlanByDataflow, AnUnrelatedOperationMayStandBetweenGateAndUp) {
  Reordered model;
  // The attention's residual, scaled for the second add, does not touch what gate and up do.
  model.add_scale("between", model.output("blk.0.attn_residual"), "blk.0.up", "blk.0.out");
  const Node node = model.node_of("blk.0.up");
  EXPECT_EQ(node.form, Form::gate_up);
  EXPECT_EQ(model.names_of(node), (Names{"blk.0.gate", "blk.0.up", "blk.0.act"}));
  EXPECT_EQ(model.node_of("between").form, Form::plain);
}

TEST(PlanByDataflow, TheValuesMayBeMadeBetweenTheRopes) {
  Reordered model;
  model.move("blk.0.v", "blk.0.k_rope");
  // q is read for the last time before v is made, so v lies where q lay: then neither may pass the
  // other, and nothing is fused.
  const auto& values = model.program().values;
  ASSERT_EQ(values[model.output("blk.0.v")].buffer, values[model.output("blk.0.q")].buffer);
  EXPECT_EQ(model.node_of("blk.0.kv").form, Form::plain);
  EXPECT_EQ(model.names_of(model.node_of("blk.0.v")), Names{"blk.0.v"});
  model.part_buffer("blk.0.v");
  const Node node = model.node_of("blk.0.q_rope");
  EXPECT_EQ(node.form, Form::rope_store);
  EXPECT_EQ(model.names_of(node), (Names{"blk.0.q_rope", "blk.0.k_rope", "blk.0.kv"}));
  EXPECT_EQ(model.names_of(model.node_of("blk.0.v")), (Names{"blk.0.q", "blk.0.k", "blk.0.v"}));
}

TEST(PlanByDataflow, TheRopesMayStandInEitherOrder) {
  Reordered model;
  model.move("blk.1.k_rope", "blk.1.q_rope");
  // Now the rotated queries may take the buffer of the keys, which other groups of one launch
  // still read: then, and only then, the form is not taken.
  const auto& values = model.program().values;
  const bool shared =
      values[model.output("blk.1.q_rope")].buffer == values[model.output("blk.1.k")].buffer;
  EXPECT_EQ(model.node_of("blk.1.kv").form, shared ? Form::plain : Form::rope_store);
}

TEST(PlanByDataflow, QueriesThatLieWhereTheKeysLayAreRotatedApart) {
  Reordered model;
  ASSERT_EQ(model.node_of("blk.0.kv").form, Form::rope_store);
  auto& values = model.program().values;
  values[model.output("blk.0.q_rope")].buffer = values[model.output("blk.0.k")].buffer;
  EXPECT_EQ(model.node_of("blk.0.kv").form, Form::plain);
}

TEST(PlanByDataflow, WhatStandsBetweenAProductAndItsAddIsRunFirst) {
  Reordered model;
  // The add reads the scaled residual, so the matmul goes down to the add, where the residual does
  // not lie where the matmul's input lay.
  model.add_scale("between", model.output("blk.0.attn_residual"), "blk.0.out", "blk.0.out");
  EXPECT_EQ(model.node_of("blk.0.down").add, op::none);
  model.part_buffer("between");
  const Node down = model.node_of("blk.0.out");
  EXPECT_EQ(model.names_of(down), Names{"blk.0.down"});
  EXPECT_EQ(down.add, model.index("blk.0.out"));
  const auto nodes = make_plan(model.program(), true);
  const auto place = [&](uint32_t operation) {
    return std::ranges::find_if(nodes,
                                [&](const Node& node) {
                                  return std::ranges::count(node.operations, operation) > 0;
                                }) -
           nodes.begin();
  };
  EXPECT_EQ(place(model.index("between")) + 1, place(model.index("blk.0.down")));
}

// Every order that the buffers forbid: the operation between writes where up reads, or reads or
// writes where the form's output lies.
TEST(PlanByDataflow, AReusedBufferForbidsTheForm) {
  Reordered model;
  model.add_scale("between", model.output("blk.0.attn_residual"), "blk.0.up", "blk.0.out");
  auto& values = model.program().values;
  const uint32_t between = model.output("between");
  ASSERT_EQ(model.node_of("blk.0.up").form, Form::gate_up);
  const uint32_t own = values[between].buffer;
  // It would overwrite gate's input before gate has moved down, and up's after up has moved up:
  // a program that still has gate's input there cannot be made by assign_buffers(), but the
  // planner looks at the buffers alone.
  values[between].buffer = values[model.output("blk.0.ffn_norm")].buffer;
  EXPECT_NE(model.node_of("blk.0.up").form, Form::gate_up);
  // It would be overwritten by what gate_up writes, and gate's output by it.
  values[between].buffer = own;
  values[model.output("blk.0.act")].buffer = own;
  values[model.output("blk.0.gate")].buffer = own;
  EXPECT_NE(model.node_of("blk.0.up").form, Form::gate_up);
}

// Between gate and up another value is quantised, and read after the down product's input was: the
// form may be taken where it stands last, or not at all, but its slot must hold when it is read.
TEST(PlanByDataflow, AQuantisedValueIsReadBeforeAnotherTakesItsPlace) {
  for (const char* before : {"blk.0.down", "blk.0.act", "blk.0.up"}) {
    Reordered model;
    auto& program = model.program();
    op::Operation norm = program.operations[model.index("blk.1.attn_norm")];
    op::Operation product = program.operations[model.index("blk.1.attn_out")];
    ASSERT_EQ(program.weights[product.weight].columns, program.width);
    norm.name = "other_norm", product.name = "other";
    norm.inputs = {model.output("blk.0.attn_residual")};
    norm.output = program.add_value(norm.name, program.width);
    product.inputs = {norm.output};
    product.output = program.add_value(product.name, program.width);
    const auto at = program.operations.begin() + model.index(before);
    program.operations.insert(at, {norm, product});
    std::ranges::replace(program.operations[model.index("blk.0.out")].inputs,
                         model.output("blk.0.attn_residual"), product.output);
    program.buffer_width.clear();
    program.assign_buffers();
    // Each quantised reader finds its input in the slot that it reads.
    uint32_t slots[quantised_slots] = {op::none, op::none};
    for (const Node& node : make_plan(program, true)) {
      if (node.form == Form::quantise) {
        slots[node.to] = node.value;
        continue;
      }
      const op::Operation& first = program.operations[node.operations[0]];
      if (reads_quantised(program, first)) {
        EXPECT_EQ(slots[node.from], first.inputs[0]) << before << ": " << first.name;
      }
      const op::Operation& last = program.operations[node.operations.back()];
      if (node.writes_quantised || node.form == Form::gate_up) slots[node.to] = last.output;
    }
  }
}

}  // namespace
}  // namespace assay::gpu
