// The kinds without a cache or experts have the bits of plain loops, alone and fused.
#include <gtest/gtest.h>

#include "loops.h"

namespace assay {
namespace {

using tests::Sketch;

const std::vector<tests::Counts> cuts = {{1}, {5}, {9, 3}, {2, 1}};

class Kinds : public testing::TestWithParam<uint32_t> {};

/// y = y + x, so that the last value is made of all.
void sum_up(Sketch& sketch, uint32_t& total, uint32_t x) {
  total = sketch.add(op::Add{}, {total, x});
}

TEST_P(Kinds, HaveTheBitsOfLoops) {
  const uint32_t width = GetParam(), half = width / 2;
  Sketch sketch(width);
  op::RopeParameters turns;
  turns.dimensions = half / 2 * 2;
  sketch.program.rope_tables = {op::make_rope(turns, true), op::make_growth({0.3, 4, 1}),
                                op::make_rope(turns, false)};
  const uint32_t places = sketch.add(op::Embed{true}, {}, sketch.spread(40, width, 0, 1));
  const uint32_t quantised_places =
      width % 32 == 0
          ? sketch.add(op::Embed{true}, {}, sketch.matrix(quant::Q8_0::id, 40, width, 1))
          : places;
  uint32_t x = sketch.add(op::Add{}, {sketch.embed(width, 3), places});
  x = sketch.add(op::Add{}, {x, quantised_places});
  uint32_t total = x;
  for (const uint32_t parts : {1u, 2u})
    for (const uint32_t columns : {width / parts, width}) {
      const auto weight = [&] { return sketch.spread(1, columns, 1, 0.3f); };
      sum_up(sketch, total, sketch.add(op::RmsNorm{1e-5f, parts}, {x}, weight()));
      sum_up(sketch, total, sketch.add(op::LayerNorm{1e-5f, parts}, {x}, weight()));
      sum_up(sketch, total, sketch.add(op::LayerNorm{1e-5f, parts}, {x}, weight(), weight()));
    }
  const uint32_t two = sketch.add(op::Slice{1, 2, 1}, {x}), other = sketch.embed(width, 9);
  for (const op::ActivationRow& row : op::activations) {
    sum_up(sketch, total, sketch.add(op::Activate{row.activation}, {other}));
    sum_up(sketch, total, sketch.add(op::Gate{row.activation}, {other, x}));
    sum_up(sketch, total, sketch.add(op::Gate{row.activation}, {two, other}));
  }
  sum_up(sketch, total, sketch.add(op::Xielu{0.8f, 1.3f, 0.5f, -1e-6f}, {x}));
  sum_up(sketch, total, sketch.add(op::SoftCap{2}, {x}));
  sum_up(sketch, total, sketch.add(op::Clamp{-0.8f, 0.7f}, {x}));
  sum_up(sketch, total, sketch.add(op::PositionScale{1}, {x}));
  sum_up(sketch, total, sketch.add(op::Rope{2, 2}, {x}));
  sum_up(sketch, total, sketch.add(op::Rope{0, 2}, {x}));
  for (const op::Slice& slice : {op::Slice{0, half, 2}, op::Slice{0, width, 1}})
    sum_up(sketch, total, sketch.add(slice, {total}));
  sum_up(sketch, total,
         sketch.add(op::Scale{0.7f}, {total}, op::none, sketch.spread(1, width, 0, 1)));
  sketch.add(op::Slice{1, half - 1, 2}, {total});
  tests::expect_loops(sketch.finish(), cuts);
}
INSTANTIATE_TEST_SUITE_P(Width, Kinds, testing::Values(6, 34, 64, 256, 1030));

// A LayerNorm gives its quantised form, as an RMSNorm does; a gate's activations and the operations
// that the planner does not know stand between products.
TEST(FusedKinds, HaveTheBitsOfEachAlone) {
  for (const uint32_t type : {uint32_t(quant::Q4_0::id), uint32_t(quant::F16::id)})
    for (const bool broadcast : {false, true}) {
      Sketch sketch(type);
      const uint32_t x = sketch.embed(64);
      const uint32_t normed = sketch.add(op::LayerNorm{1e-5f}, {x}, sketch.spread(1, 64, 1, 0.3f),
                                         sketch.spread(1, 64, 0, 0.3f));
      const uint32_t gate = sketch.matmul(normed, type, broadcast ? 32 : 96);
      const uint32_t up = sketch.matmul(normed, type, 96);
      uint32_t y = sketch.add(op::Gate{op::Activation::silu_clamped}, {gate, up});
      y = sketch.add(op::Add{}, {x, sketch.matmul(y, type, 64)});
      y = sketch.add(op::RmsNorm{1e-5f}, {y}, sketch.spread(1, 64, 1, 0.3f));
      y = sketch.add(op::Activate{op::Activation::gelu_tanh}, {sketch.matmul(y, type, 96, true)});
      y = sketch.matmul(y, type, 40);
      sketch.add(op::SoftCap{3}, {y});
      const op::Program& program = sketch.finish();
      for (const emulated::QueueOptions& queue : tests::all_schedules())
        tests::expect_loops(program, cuts, queue);
    }
}

}  // namespace
}  // namespace assay
