// Routers and experts have the bits of plain loops, for few tokens and for many, whatever the
// routing; the host knows none.
#include "kernel/experts.h"

#include <gtest/gtest.h>

#include "device/emulated/grid.h"
#include "gpu/plan.h"
#include "mixture.h"

namespace assay {
namespace {

using tests::Counts;
using tests::Mixture;
using tests::Sketch;

std::vector<Counts> routed_cuts(uint32_t experts) {
  // So many places that an expert has up to two, up to eight, and more.
  if (experts < 64) return {{1}, {3}, {5, 2}, {40, 2}};
  return {{1}, {9}, {40}, {145, 5}};
}

// Few distinct values, so that many are equal; what is no number; what is beyond f32's exp.
std::vector<float> random_logits(uint64_t count, tests::Random& random, bool odd) {
  std::vector<float> values(count);
  for (float& value : values) {
    value = std::round(3 * random.uniform() * 4) / 4;
    if (random.below(2) == 0) value = 5 * random.uniform();
    if (value == 0 && random.below(2) == 0) value = -0.0f;
    if (odd && random.below(500) == 0)
      value = std::array{NAN, INFINITY, 200.0f, -200.0f}[random.below(4)];
  }
  return values;
}

TEST(Route, HasTheBitsOfLoops) {
  uint32_t i = 0;
  for (const uint32_t experts : {1u, 2u, 4u, 31u, 64u, 128u, 512u}) {
    Sketch sketch(experts);
    const auto logits = [&](bool odd) {
      return sketch.add(
          op::Embed{}, {},
          sketch.floats(tests::vocabulary, experts,
                        random_logits(uint64_t(tests::vocabulary) * experts, sketch.random, odd)));
    };
    const uint32_t x = logits(false), odd = logits(true);
    for (const uint32_t used : {1u, 2u, 4u, 8u, 40u}) {
      if (used > experts) continue;
      for (const uint32_t bias : {op::none, sketch.spread(1, experts, 0, 0.5f)}) {
        sketch.add(op::Route{.used = used}, {x}, op::none, bias);
        sketch.add(op::Route{.used = used, .sigmoid = 1}, {odd}, op::none, bias);
        sketch.add(op::Route{.used = used, .renormalise = 1}, {odd}, op::none, bias);
        sketch.add(op::Route{.used = used, .of_chosen = 1, .scale = 2.5f}, {odd}, op::none, bias);
        sketch.add(op::Route{.used = used, .sigmoid = 1, .renormalise = 1, .scale = 0.3f}, {x},
                   op::none, bias);
        for (const uint32_t groups : {2u, 4u, 8u, 64u})
          for (const uint32_t used_groups : {1u, 2u, 3u, 64u}) {
            op::Route router{.used = used, .groups = groups, .used_groups = used_groups};
            router.by_two = experts / groups > 1 ? groups % 8 == 0 : 0;
            if (experts % groups || used_groups > groups || used > experts / groups * used_groups)
              continue;
            sketch.add(router, {x}, op::none, bias);
          }
      }
    }
    const auto schedules = tests::all_schedules();
    tests::expect_loops(sketch.finish(), {{1}, {20}}, schedules[i++ % schedules.size()]);
    if (HasFailure()) return;
  }
}

/// Each token's routing from a table: any experts, one for nearly all, ids that are none.
enum class Spread { even, one, none };
uint32_t routing_of(Sketch& sketch, uint32_t experts, uint32_t used, Spread spread) {
  std::vector<float> values;
  for (uint32_t t = 0; t < tests::vocabulary; ++t) {
    for (uint32_t u = 0; u < used; ++u) {
      float id = float(sketch.random.below(experts));
      if (spread == Spread::one && sketch.random.below(9)) id = float(experts / 2);
      if (spread == Spread::none && sketch.random.below(4) == 0)
        id = std::array{NAN, -1.0f, float(experts), 1e30f}[sketch.random.below(4)];
      values.push_back(id);
    }
    for (uint32_t u = 0; u < used; ++u) values.push_back(sketch.random.uniform());
  }
  return sketch.add(op::Embed{}, {}, sketch.floats(tests::vocabulary, 2 * used, values));
}

/// Products of one row a token and of one a slot, scaled, spread and mixed.
class Experts {
 public:
  Sketch sketch;

  Experts(uint32_t type, uint32_t experts, uint32_t used, Spread spread) : sketch(experts + used) {
    const bool blocks = quant::info(type).block_size > 1, wide = quant::info(type).block_size > 32;
    const uint32_t columns = wide ? 256 : blocks ? 64 : 37, rows = wide ? 256 : blocks ? 96 : 41;
    const uint32_t x = sketch.embed(columns), routing = routing_of(sketch, experts, used, spread);
    uint32_t y = product(type, experts, x, routing, rows, columns, true);
    y = sketch.add(op::ScaleExperts{}, {y, routing}, sketch.spread(1, experts, 1, 0.5f),
                   sketch.spread(experts, rows, 0, 0.5f));
    y = product(type, experts, y, routing, 33, rows, false);
    y = sketch.add(op::ScaleExperts{}, {y, routing}, sketch.spread(1, experts, 1, 0.5f));
    const uint32_t mixed = sketch.add(op::MixExperts{1}, {y, routing});
    y = sketch.add(op::SpreadExperts{}, {x, routing});
    y = product(type, experts, y, routing, 33, columns, true);
    y = sketch.add(op::MixExperts{0}, {y, routing});
    sketch.add(op::Add{}, {mixed, y});
    sketch.finish();
  }

 private:
  uint32_t product(uint32_t type, uint32_t experts, uint32_t x, uint32_t routing, uint32_t rows,
                   uint32_t columns, bool bias) {
    return sketch.add(op::MatmulExperts{experts}, {x, routing},
                      sketch.matrix(type, uint64_t(experts) * rows, columns),
                      bias ? sketch.spread(experts, rows, 0, 0.5f) : op::none);
  }
};

TEST(Experts, HaveTheBitsOfLoops) {
  uint32_t i = 0;
  for (const uint32_t experts : {1u, 2u, 4u, 64u, 128u})
    for (const uint32_t used : {1u, 2u, 4u, 8u})
      for (const uint32_t type : {uint32_t(quant::Q4_0::id), uint32_t(quant::F16::id)}) {
        if (used > experts) continue;
        const auto schedules = tests::all_schedules();
        const Experts model(type, experts, used, i % 2 ? Spread::one : Spread::even);
        tests::expect_loops(model.sketch.program, routed_cuts(experts),
                            schedules[i++ % schedules.size()]);
        if (HasFailure()) {
          ADD_FAILURE() << experts << " experts, " << used << " used";
          return;
        }
      }
}

TEST(Experts, OfEveryFormatHaveTheBitsOfLoops) {
  for (const uint32_t type : tests::all_formats) {
    const Experts model(type, 3, 2, Spread::even);
    tests::WatchedQueue::Seen seen;
    tests::expect_loops(model.sketch.program, {{1}, {6}, {30}}, {}, &seen);
    const bool blocks = quant::info(type).block_size > 1;
    EXPECT_GT(seen.launches[blocks ? "matvec_experts" : "matvec_float_experts"], 0u);
    EXPECT_GT(seen.launches[blocks ? "matmul_8_experts" : "matmul_float_experts"], 0u);
    EXPECT_EQ(seen.launches["matmul_experts"] > 0, blocks);
    if (HasFailure()) return;
  }
}

TEST(Experts, AnIdThatIsNoExpertsGivesNaN) {
  for (const uint32_t type : {uint32_t(quant::Q8_0::id), uint32_t(quant::F32::id)}) {
    const Experts model(type, 4, 2, Spread::none);
    tests::expect_loops(model.sketch.program, {{1}, {3}, {7}, {40}});
  }
}

// Rows of more than 256 columns, which a group's simds share, and an expert's rows that end within
// a tile.
TEST(Experts, OfLongRowsHaveTheBitsOfLoops) {
  for (const uint32_t type : {uint32_t(quant::Q5_1::id), uint32_t(quant::BF16::id)}) {
    Sketch sketch;
    const uint32_t x = sketch.embed(864), routing = routing_of(sketch, 5, 3, Spread::even);
    sketch.add(op::MatmulExperts{5}, {x, routing}, sketch.matrix(type, 5 * 70, 864),
               sketch.spread(5, 70, 0, 1));
    tests::expect_loops(sketch.finish(), {{1}, {3}, {9}, {40}});
  }
}

// The places of a routing by expert, ascending, and tiles that cover each expert's places once.
TEST(Experts, AreGroupedInAFixedOrder) {
  for (const uint32_t experts : {1u, 4u, 33u, 512u})
    for (const uint32_t tokens : {1u, 31u, 257u, 1000u})
      for (const emulated::QueueOptions& options : tests::all_schedules()) {
        const uint32_t used = 3, count = tokens * used, tile = 8;
        tests::Random random(experts + tokens);
        std::vector<float> routing;
        std::vector<std::vector<uint32_t>> want(experts + 1);
        for (uint32_t t = 0; t < tokens; ++t)
          for (uint32_t u = 0; u < 2 * used; ++u) {
            const uint32_t id = random.below(random.below(2) ? experts : (experts + 1) / 2 + 1);
            routing.push_back(float(id));
            if (u < used) want[id].push_back(t * used + u);
          }
        std::vector<uint32_t> places(count);
        std::vector<ExpertTile> tiles(most_expert_tiles(count, experts, tile));
        const GroupExpertsArgs args{
            routing.data(), places.data(), tiles.data(),           tokens, used,
            experts,        tile,          uint32_t(tiles.size()), 0};
        const auto queue = emulated::make_queue(options);
        ASSERT_TRUE(queue->launch(device::launch_of(kernels::group_experts, 1, 1, args)));
        uint32_t at = 0, next = 0;
        for (uint32_t e = 0; e <= experts; ++e) {
          EXPECT_TRUE(std::ranges::equal(want[e], std::span(places).subspan(at, want[e].size())));
          for (uint32_t first = 0; first < want[e].size(); first += tile, ++next) {
            EXPECT_EQ(tiles[next].expert, e);
            EXPECT_EQ(tiles[next].first, at + first);
            EXPECT_EQ(tiles[next].end, at + std::min<uint32_t>(first + tile, want[e].size()));
          }
          at += uint32_t(want[e].size());
        }
        for (; next < tiles.size(); ++next) EXPECT_EQ(tiles[next].expert, no_expert);
        if (HasFailure()) return;
      }
}

class Mixtures : public testing::TestWithParam<uint32_t> {};

// Fused, recorded, in any cut and batch.
TEST_P(Mixtures, HaveTheBitsOfLoops) {
  const Mixture model({.type = GetParam()});
  for (const emulated::QueueOptions& queue : tests::all_schedules())
    tests::expect_loops(model.program, {{1}, {13}, {2}, {1, 9}, {1, 1}, {40, 3}, {1, 1}}, queue);
  const auto options = tests::options_with(1);
  const auto whole = tests::run_cut(*tests::emulated_executor(model.program, options), {40});
  const auto cut =
      tests::run_cut(*tests::emulated_executor(model.program, options), {1, 17, 2, 1, 9, 10});
  EXPECT_EQ(tests::difference(cut, whole), "");
}
INSTANTIATE_TEST_SUITE_P(Format, Mixtures, testing::Values(8, 2, 0, 1));

// What a device draws by itself chooses its experts without the host.
TEST(Mixture, DrawsAheadWhatStepsDraw) {
  const Mixture model;
  const auto options = tests::options_with(1);
  const auto ahead = tests::emulated_executor(model.program, options);
  const auto steps = tests::emulated_executor(model.program, options);
  const std::vector<op::Drawing> drawings(2);
  std::vector<int32_t> last = {3, 44};
  for (uint32_t position = 0; position < 12; position += 4) {
    tests::Tokens tokens;
    for (uint32_t s = 0; s < 2; ++s) tokens.add(last[s], position, s);
    const auto drawn = ahead->run_ahead(tokens.step(), drawings, 4);
    for (uint32_t i = 0; i < 4; ++i) {
      tests::Tokens one;
      for (uint32_t s = 0; s < 2; ++s) one.add(last[s], position + i, s);
      const auto logits = tests::logits_of(*steps, one);
      for (uint32_t s = 0; s < 2; ++s) {
        const auto row = std::span(logits).subspan(s * tests::vocabulary, tests::vocabulary);
        last[s] = op::best_of(row, 1)[0].id;
        EXPECT_EQ(drawn[2 * i + s], last[s]) << position + i;
      }
    }
  }
}

// The plan of a mixture: its experts' places are listed once a layer.
TEST(Mixture, ListsItsPlacesOnceForEachRouting) {
  const Mixture model;
  for (const bool fused : {false, true}) {
    uint32_t listed = 0;
    for (const gpu::Node& node : gpu::make_plan(model.program, fused))
      listed += node.form == gpu::Node::Form::group_experts;
    EXPECT_EQ(listed, 2u);
  }
}

TEST(Mixture, OfTooManyExpertsIsRefusedByName) {
  Sketch sketch;
  sketch.add(op::Route{.used = 2}, {sketch.embed(513)});
  auto executor = gpu::make_executor("emulated", emulated::make_queue({}), sketch.finish(),
                                     tests::options_with(1));
  ASSERT_FALSE(executor);
  EXPECT_EQ(executor.error().message,
            "'op1' chooses from 513 experts; the device 'emulated' takes at most 512");
}

}  // namespace
}  // namespace assay
