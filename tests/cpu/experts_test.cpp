// Routers and experts: the choice, the rows of each expert, and products that read the chosen experts
// alone.
#include "cpu/experts.h"

#include "contract_replay.h"
#include "judge/judge.h"

namespace assay::tests {
namespace {

using Row = std::vector<float>;

Row choose(const op::Route& router, const Row& logits, const Row& bias = {}) {
  cpu::Chooser chooser;
  Row p(logits.size()), routing(2 * size_t(router.used));
  const cpu::Kernels& kernels = *cpu::find_kernels("portable");
  (router.sigmoid ? kernels.sigmoid : kernels.softmax)(logits.data(), logits.size(), p.data());
  chooser.choose(router, logits, p.data(), bias.empty() ? nullptr : bias.data(), routing.data());
  return routing;
}

Row ids_of(const Row& routing) {
  return {routing.begin(), routing.begin() + ptrdiff_t(routing.size() / 2)};
}

TEST(Route, ChoosesTheBestFirstAndOfEqualsTheLowerId) {
  EXPECT_EQ(ids_of(choose({.used = 3}, {1, 5, 2, 5, 3})), (Row{1, 3, 4}));
  EXPECT_EQ(ids_of(choose({.used = 4}, {0, 0, 0, 0})), (Row{0, 1, 2, 3}));
  EXPECT_EQ(ids_of(choose({.used = 2}, {-INFINITY, -INFINITY, -INFINITY})), (Row{0, 1}));
}

/// Logits 0, ln 3, ln 4: probabilities 1/8, 3/8, 4/8.
TEST(Route, GivesKnownWeights) {
  const float l3 = float(std::log(3.0)), l4 = float(std::log(4.0));
  const auto near = [](const Row& routing, std::vector<double> want) {
    for (size_t u = 0; u < want.size(); ++u)
      EXPECT_NEAR(routing[want.size() + u], want[u], 16 * 0x1p-24) << u;
  };
  near(choose({.used = 2}, {0, l3, l4}), {0.5, 0.375});
  near(choose({.used = 2, .renormalise = 1}, {0, l3, l4}), {4.0 / 7, 3.0 / 7});
  near(choose({.used = 2, .of_chosen = 1}, {0, l3, l4}), {4.0 / 7, 3.0 / 7});
  near(choose({.used = 2, .scale = 2.0f}, {0, l3, l4}), {1, 0.75});
  near(choose({.used = 2, .sigmoid = 1}, {0, l3, l4}), {0.8, 0.75});
}

/// The bias 0.7 lifts expert 0 above the others, but its weight stays p.
TEST(Route, TheBiasOnlyChooses) {
  const Row routing = choose({.used = 1, .sigmoid = 1}, {0, float(std::log(3.0))}, {0.7f, 0.0f});
  EXPECT_EQ(routing, (Row{0, 0.5f}));
}

/// Groups (9 1) (5 5) (8 0): by the best one group 0 wins, by the best two group 1.
TEST(Route, ChoosesAmongTheBestGroupsAlone) {
  const Row logits = {9, 1, 5, 5, 8, 0};
  op::Route router{.used = 2, .groups = 3, .used_groups = 1};
  EXPECT_EQ(ids_of(choose(router, logits)), (Row{0, 1}));
  router.used_groups = 2;
  EXPECT_EQ(ids_of(choose(router, logits)), (Row{0, 4}));
  router.by_two = 1;
  EXPECT_EQ(ids_of(choose(router, logits)), (Row{0, 2}));  // 10 and 10 before 8
}

TEST(Route, ANanIsChosenAndShowsInTheWeights) {
  Row routing = choose({.used = 2}, {1, 2, NAN, 3});
  EXPECT_EQ(ids_of(routing), (Row{2, 3}));
  for (size_t u = 2; u < 4; ++u) EXPECT_TRUE(std::isnan(routing[u]));
  routing = choose({.used = 2, .sigmoid = 1, .renormalise = 1}, {1, 2, NAN, 3});
  EXPECT_EQ(ids_of(routing), (Row{2, 3}));
  for (size_t u = 2; u < 4; ++u) EXPECT_TRUE(std::isnan(routing[u]));
}

/// Sigmoids that are all 0: the sum is held at 2^-72, so the weights are 0 and not 0/0.
TEST(Route, RenormalisingZerosGivesZeros) {
  const Row routing = choose({.used = 2, .sigmoid = 1, .renormalise = 1}, {-200, -100, -300});
  EXPECT_EQ(routing, (Row{1, 0, 0, 0}));
}

TEST(Route, HasTheContractsBitsForEveryForm) {
  Random random(1);
  for (const uint32_t experts : {1u, 31u, 32u, 33u, 64u, 255u, 257u})
    for (uint32_t form = 0; form < 64; ++form) {
      op::Route router;
      const bool grouped = (form & 1) && experts % 32 == 0;
      router.groups = grouped ? 8 : 1;
      router.used_groups = grouped ? 3 : 1;
      router.by_two = grouped && (form & 2);
      router.sigmoid = (form & 4) ? 1 : 0;
      router.of_chosen = !router.sigmoid && (form & 8);
      router.renormalise = (form & 16) ? 1 : 0;
      router.scale = (form & 2) ? 2.5f : 1.0f;
      router.used = std::min(experts, 1 + form % 9);
      auto logits = random.floats(experts);
      for (float& x : logits) x = std::nearbyintf(4 * x) / 4;  // ties
      const auto bias = (form & 32) ? random.floats(experts) : Row();
      ASSERT_EQ(difference(choose(router, logits, bias), contract::route(logits, bias, router)), "")
          << experts << " experts, form " << form;
    }
}

/// Against the judge's f64, for every number of experts and form: the ids exactly, the weights inside
/// their bound, to which the worst comes within a thousandth.
TEST(Route, IsInsideTheJudgesBounds) {
  Random random(2);
  double nearest = 0;
  for (const uint32_t experts : {1u, 31u, 32u, 33u, 255u, 257u, 509u})
    for (uint32_t form = 0; form < 16; ++form) {
      op::Route router{.used = std::min(experts, 1 + form % 9)};
      router.sigmoid = (form & 1) ? 1 : 0;
      router.of_chosen = !router.sigmoid && (form & 2);
      router.renormalise = (form & 4) ? 1 : 0;
      router.scale = (form & 8) ? 2.5f : 1.0f;
      const auto logits = random.floats(experts);
      const Row routing = choose(router, logits);
      op::Program program;
      const op::Operation operation{.name = "routing", .of = router, .inputs = {0}};
      judge::Table in(1, experts), got(1, routing.size());
      in.data.assign(logits.begin(), logits.end());
      got.data.assign(routing.begin(), routing.end());
      judge::Inputs inputs;
      inputs.values = {&in};
      inputs.got = &got;
      const judge::Seen seen =
          judge::compare(got, judge::expect(program, operation, inputs, {}, {}));
      EXPECT_EQ(seen.failures, 0u) << experts << " experts, form " << form << ": " << seen.max_u
                                   << " u of " << seen.limit_u << " at " << seen.row;
      if (seen.limit_u > 0) nearest = std::max(nearest, seen.max_u / seen.limit_u);
    }
  EXPECT_GE(nearest, 1e-3) << "the bound is a thousand times too loose";
}

TEST(ExpertRows, AreEachExpertsPlacesInOrder) {
  cpu::ExpertRows rows;
  // three tokens, two slots: (2, 0), (0, 2), (5 is none, NaN is none), then the weights
  const Row routings = {2, 0, .5, .5, 0, 2, .5, .5, 5, NAN, .5, .5};
  rows.make(routings, 2, 4, 1);
  const auto list = [](auto span) { return std::vector<uint32_t>(span.begin(), span.end()); };
  EXPECT_EQ(list(rows.of(0)), (std::vector<uint32_t>{1, 2}));
  EXPECT_EQ(list(rows.of(1)), std::vector<uint32_t>{});
  EXPECT_EQ(list(rows.of(2)), (std::vector<uint32_t>{0, 3}));
  EXPECT_EQ(list(rows.of(3)), std::vector<uint32_t>{});
  EXPECT_EQ(list(rows.strays()), (std::vector<uint32_t>{4, 5}));
  EXPECT_EQ(list(rows.chosen()), (std::vector<uint32_t>{0, 2}));
  rows.make(Row{3, 1, .5, .5}, 2, 4, 2);
  EXPECT_EQ(list(rows.chosen()), (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(list(rows.strays()), std::vector<uint32_t>{});
  rows.make(Row{}, 2, 4, 3);
  EXPECT_TRUE(rows.chosen().empty());
}

TEST(Panels, OfExpertsAreThoseOfEachExpertAlone) {
  for (const uint32_t type : all_formats)
    for (const uint64_t rows : {1u, 16u, 33u}) {
      Random random(type);
      const uint64_t columns = 2 * quant::info(type).block_size;
      const Matrix matrix = random_matrix(type, 3 * rows, columns, random);
      cpu::Panels all = cpu::allocate_panels(matrix.weight, 3);
      cpu::pack(matrix.weight, all, 0, all.count());
      for (uint32_t e = 0; e < 3; ++e) {
        op::Weight one = matrix.weight;
        one.rows = rows;
        one.data = one.data.subspan(e * rows * matrix.weight.row_bytes(),
                                    rows * matrix.weight.row_bytes());
        const cpu::Panels alone = packed(one);
        ASSERT_EQ(all.per_expert(), alone.count());
        EXPECT_EQ(std::memcmp(all.expert(e), alone.data.get(), alone.count() * alone.panel_bytes),
                  0)
            << "format " << type << " rows " << rows << " expert " << e;
      }
    }
}

/// Embeddings that are the activations and the routings of a step, then one matrix_experts.
struct ExpertProgram {
  std::vector<uint8_t> rows_bytes, routing_bytes;
  Matrix matrix, bias;
  op::Program program;

  ExpertProgram(uint32_t type, uint32_t experts, uint64_t rows, uint64_t columns, uint32_t used,
                bool row_of_slot, bool biased, const std::vector<Row>& routings, Random random)
      : matrix(random_matrix(type, experts * rows, columns, random)),
        bias(random_matrix(quant::F32::id, experts, rows, random)) {
    const auto count = uint32_t(routings.size());
    const uint64_t width = row_of_slot ? used * columns : columns;
    const auto bytes_of = [](std::span<const float> values) {
      const auto* first = reinterpret_cast<const uint8_t*>(values.data());
      return std::vector<uint8_t>(first, first + values.size_bytes());
    };
    rows_bytes = bytes_of(random.floats(count * width));
    for (const Row& routing : routings) {
      const auto bytes = bytes_of(routing);
      routing_bytes.insert(routing_bytes.end(), bytes.begin(), bytes.end());
    }
    matrix.weight.name = "experts", bias.weight.name = "bias";
    program.vocabulary = count;
    const uint32_t x = program.append(
        {.name = "x",
         .of = op::Embed{},
         .weight = program.add_weight({"rows", quant::F32::id, count, width, rows_bytes})});
    const uint32_t routing =
        program.append({.name = "routing",
                        .of = op::Embed{},
                        .weight = program.add_weight({"routings", quant::F32::id, count,
                                                      2 * uint64_t(used), routing_bytes})});
    program.append({.name = "y",
                    .of = op::MatmulExperts{experts},
                    .inputs = {x, routing},
                    .weight = program.add_weight(matrix.weight),
                    .bias = biased ? program.add_weight(bias.weight) : op::none});
    program.assign_buffers();
  }
  ExpertProgram(const ExpertProgram&) = delete;
};

std::vector<Row> random_routings(uint32_t count, uint32_t experts, uint32_t used, Random& random) {
  std::vector<Row> routings;
  for (uint32_t t = 0; t < count; ++t) {
    Row routing;
    while (routing.size() < used) {
      const auto id = float(random.below(experts));
      if (std::ranges::find(routing, id) == routing.end()) routing.push_back(id);
    }
    for (uint32_t u = 0; u < used; ++u) routing.push_back(random.uniform());
    routings.push_back(routing);
  }
  return routings;
}

Tokens tokens_of(uint32_t count) {
  Tokens tokens;
  for (uint32_t t = 0; t < count; ++t) tokens.add(int32_t(t), t % 100, t / 100);
  return tokens;
}

TEST(MatmulExperts, HasTheContractsBitsForEveryFormatShapeThreadsAndInstructionSet) {
  for (const uint32_t type : all_formats)
    for (const uint64_t rows : {1u, 31u, 33u})
      for (const bool row_of_slot : {false, true}) {
        Random random(type + uint32_t(rows));
        const uint32_t experts = 7, used = 3, count = 11;
        const uint64_t columns = 2 * std::max(32u, quant::info(type).block_size);
        const ExpertProgram one(type, experts, rows, columns, used, row_of_slot, rows == 31,
                                random_routings(count, experts, used, random), random);
        const Tokens tokens = tokens_of(count);
        ContractReplay replay(one.program, tokens);
        for (const cpu::Kernels* kernels : all_kernels())
          for (const uint32_t threads : {1u, 2u, 5u}) {
            auto executor = made(one.program, options_with(threads, kernels->isa));
            logits_of(*executor, tokens, [&](const op::Operation& operation, auto output) {
              ASSERT_EQ(difference(output, replay.want(operation)), "")
                  << operation.name << " format " << type << " rows " << rows << " " << kernels->isa
                  << " threads " << threads;
              replay.keep(operation, output);
            });
          }
      }
}

/// 257 tokens whose experts are uneven: all of one, and some of none.
TEST(MatmulExperts, HasOneAnswerForAnyCutOfALongStep) {
  Random random(9);
  const uint32_t experts = 33, used = 2, count = 257;
  auto routings = random_routings(count, 9, used, random);
  for (uint32_t t = 100; t < 200; ++t) routings[t][0] = 32, routings[t][1] = 31;
  const ExpertProgram one(quant::Q8_0::id, experts, 33, 64, used, false, true, routings, random);
  const Tokens tokens = tokens_of(count);
  const auto want = logits_of(*made(one.program, options_with(1)), tokens);
  for (const uint32_t threads : {2u, 3u, 7u})
    EXPECT_EQ(difference(logits_of(*made(one.program, options_with(threads)), tokens), want), "");
  auto executor = made(one.program, options_with(2));
  for (uint32_t t = 0; t < count; ++t) {
    Tokens single;
    single.add(int32_t(t), t % 100, 0);
    ASSERT_EQ(
        difference(logits_of(*executor, single), std::span(want).subspan(t * used * 33, used * 33)),
        "")
        << t;
  }
}

/// An id that is no expert's gives NaN, there and nowhere else.
TEST(MatmulExperts, AnIdOfNoExpertGivesNan) {
  for (const float bad : {-1.0f, 4.0f, 1e9f, NAN, -INFINITY, INFINITY}) {
    Random random(4);
    std::vector<Row> routings = {{0, 3, .5, .5}, {1, 2, .5, .5}};
    const ExpertProgram sound(quant::Q4_0::id, 4, 17, 64, 2, false, false, routings, random);
    routings[1][0] = bad;
    const ExpertProgram broken(quant::Q4_0::id, 4, 17, 64, 2, false, false, routings, random);
    auto want = logits_of(*made(sound.program, options_with(2)), tokens_of(2));
    for (size_t i = 0; i < 17; ++i) want[34 + i] = NAN;
    EXPECT_EQ(difference(logits_of(*made(broken.program, options_with(2)), tokens_of(2)), want), "")
        << bad;
  }
}

TEST(MatmulExperts, PlansTheMemoryOfEachExpertsPanels) {
  Random random(5);
  // 5 experts of 17 rows: two panels of 16 each; Q8_0's panel of 64 columns: 2·(512 + 32) bytes
  const ExpertProgram one(quant::Q8_0::id, 5, 17, 64, 2, false, false, {{0, 1, .5, .5}}, random);
  EXPECT_EQ(cpu::plan_memory(one.program, options_with(1)).weights, 5u * 2 * 2 * (512 + 32));
}

}  // namespace
}  // namespace assay::tests
