// Whatever order a program has its operations in, the plan gives the cpu's bits: fused forms move
// operations only where the buffers let them.
#include "gpu/order.h"

#include <gtest/gtest.h>

#include "../cpu/tiny_program.h"
#include "gpu/plan.h"
#include "queues.h"

namespace assay::gpu {
namespace {

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float value : values) bits.push_back(k_bits(value));
  return bits;
}

/// Another order of the operations in which each still comes after all that it reads; buffers anew.
void shuffle(op::Program& program, tests::Random& random) {
  std::vector<op::Operation> left = std::move(program.operations);
  program.operations.clear();
  std::vector<bool> there(program.values.size());
  std::vector<bool> stored(program.caches.size());
  while (!left.empty()) {
    std::vector<size_t> ready;
    for (size_t i = 0; i < left.size(); ++i) {
      const auto* attend = left[i].as<op::Attend>();
      if (std::ranges::all_of(left[i].inputs, [&](uint32_t value) { return there[value]; }) &&
          (!attend || stored[attend->cache]))
        ready.push_back(i);
    }
    const size_t next = ready[random.bits() % ready.size()];
    if (const auto* store = left[next].as<op::KvStore>())
      stored[store->cache] = true;
    else
      there[left[next].output] = true;
    program.operations.push_back(left[next]);
    left.erase(left.begin() + next);
  }
  program.buffer_width.clear();
  program.assign_buffers();
}

TEST(Order, AnyOrderOfAProgramHasTheBitsOfTheCpu) {
  size_t fused = 0, runs = 0;
  for (const uint32_t type : {uint32_t(quant::Q4_0::id), uint32_t(quant::F16::id), tests::mixed}) {
    tests::TinyProgram tiny(type);
    const auto want = bits_of(
        tests::run_cut(*tests::made(tiny.program, tests::options_with(1, "portable")), {13}));
    for (uint32_t seed = 1; seed <= (tests::sanitized ? 2 : 8); ++seed) {
      tests::Random random(seed);
      ++runs;
      shuffle(tiny.program, random);
      for (const Node& node : make_plan(tiny.program, true)) fused += node.operations.size() > 1;
      emulated::QueueOptions queue;
      queue.grid.schedule = {emulated::Schedule::Order::shuffled, seed};
      const auto executor = tests::emulated_executor(tiny.program, tests::options_with(1), queue);
      EXPECT_EQ(bits_of(tests::run_cut(*executor, {1, 9, 2, 1})), want) << type << ", " << seed;
    }
  }
  EXPECT_GT(fused, 4 * runs);  // most shuffles leave several forms to be found
}

TEST(Order, NeighboursAreMadeWhereNothingBetweenForbidsIt) {
  tests::TinyProgram tiny(quant::Q4_0::id);
  Order order(tiny.program);
  // embed, norm, q, k, v: v may pass k, and nothing may pass the norm that q reads.
  const std::vector<uint32_t> q_and_v{2, 4}, embed_and_q{0, 2};
  EXPECT_TRUE(order.may_exchange(3, 4));
  EXPECT_FALSE(order.may_exchange(1, 2));
  EXPECT_TRUE(order.bring_together(q_and_v));
  EXPECT_EQ(std::vector(order.operations().begin(), order.operations().begin() + 6),
            (std::vector<uint32_t>{0, 1, 2, 4, 3, 5}));
  EXPECT_FALSE(order.bring_together(embed_and_q));
  EXPECT_EQ(order.operations()[1], 1u);
}

TEST(Order, AStoreAndTheAttentionThatReadsItKeepTheirOrder) {
  tests::TinyProgram tiny(quant::Q4_0::id);
  const auto index = [&](const std::string& name) {
    return uint32_t(std::ranges::find(tiny.program.operations, name, &op::Operation::name) -
                    tiny.program.operations.begin());
  };
  const Order order(tiny.program);
  EXPECT_FALSE(order.may_exchange(index("blk.0.kv"), index("blk.0.kqv")));
  EXPECT_FALSE(order.may_exchange(index("blk.0.kqv"), index("blk.0.kv")));
}

}  // namespace
}  // namespace assay::gpu
