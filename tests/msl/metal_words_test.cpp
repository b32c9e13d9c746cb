// The kernels' Metal form gives the cpu's bits: the words of lang_metal.h, its
// tiles and its order of k are right if the GPU does what the specification says, and if a lane
// holds of a matrix what it is seen to hold (docs/metal.md).
#include <gtest/gtest.h>

#include "../cpu/tiny_program.h"
#include "../gpu/mixture.h"
#include "device/arithmetic.h"
#include "device/emulated/group.h"
#include "device/emulated/kernels.h"
#include "device/emulated/queue.h"
#include "gpu/executor.h"

struct LaneWords {
  const uint32_t* of;
  uint32_t own;
};
LaneWords exchange_lanes(const uint32_t* words) {
  auto& group = *assay::emulated::current_group();
  return {group.exchange(words, 4, {"simdgroup_multiply_accumulate", __FILE__, __LINE__}),
          group.own_lane()};
}

namespace assay {
namespace {

using tests::run_cut;
using tests::TinyProgram;

constexpr std::string_view prefix = "metal:";

/// Launches "metal:NAME" for NAME.
class MetalQueue final : public device::Queue {
 public:
  explicit MetalQueue(std::unique_ptr<device::Queue> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  Memory memory() const override { return inner_->memory(); }
  Result<device::Address> allocate(uint64_t bytes) override { return inner_->allocate(bytes); }
  Status upload(device::Address to, std::span<const uint8_t> bytes) override {
    return inner_->upload(to, bytes);
  }
  Status download(device::Address from, std::span<uint8_t> bytes) override {
    return inner_->download(from, bytes);
  }
  Status launch(const device::Launch& launch) override {
    const std::string metal_name = std::string(prefix) + std::string(launch.kernel);
    device::Launch metal = launch;
    metal.kernel = metal_name;
    return inner_->launch(metal);
  }
  Status wait() override { return inner_->wait(); }
  Status begin_recording() override { return inner_->begin_recording(); }
  Result<uint32_t> end_recording() override { return inner_->end_recording(); }
  Status replay(uint32_t recording) override { return inner_->replay(recording); }

 private:
  std::unique_ptr<device::Queue> inner_;
};

std::unique_ptr<op::Executor> metal_executor(
    const op::Program& program, const op::ExecutorOptions& options = tests::options_with(1)) {
  emulated::QueueOptions queue;
  queue.grid.schedule = {emulated::Schedule::Order::shuffled, 5};
  auto executor = gpu::make_executor(
      "emulated", std::make_unique<MetalQueue>(emulated::make_queue(queue)), program, options);
  if (!executor) throw std::runtime_error(executor.error().message);
  return std::move(*executor);
}
std::unique_ptr<op::Executor> cpu_executor(const op::Program& program) {
  return tests::made(program, tests::options_with(1, "portable"));
}

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float value : values) bits.push_back(k_bits(value));
  return bits;
}

TEST(MetalWords, EveryKernelHasBothForms) {
  uint32_t count = 0;
  for (const KernelEntry* kernel : emulated::all_kernels()) {
    const std::string_view name = kernel->name;
    if (name.starts_with(prefix)) continue;
    const KernelEntry* metal = emulated::find_kernel(std::string(prefix) + std::string(name));
    ASSERT_NE(metal, nullptr) << name;
    EXPECT_EQ(metal->args_bytes, kernel->args_bytes) << name;
    EXPECT_EQ(metal->shared_bytes, kernel->shared_bytes) << name;
    ++count;
  }
  EXPECT_EQ(2 * count, emulated::all_kernels().size());
  EXPECT_GE(count, 48u);
}

// What the formats below do not launch: wide heads, scaled rows, many keys, tokens drawn.
TEST(MetalWords, WideHeadsAndScaledRowsHaveTheBitsOfTheCpu) {
  const TinyProgram tiny(quant::Q4_K::id, 1, {.head_dim = 128, .scaled = true});
  EXPECT_EQ(bits_of(run_cut(*metal_executor(tiny.program), {10, 2, 1})),
            bits_of(run_cut(*cpu_executor(tiny.program), {13})));
}

TEST(MetalWords, ManyKeysHaveTheBitsOfTheCpu) {
  const TinyProgram tiny(quant::Q4_0::id);
  auto options = tests::options_with(1, "portable");
  options.context = options.batch = 576;
  const auto want = bits_of(run_cut(*tests::made(tiny.program, options), {514}));
  options.isa = "";
  const auto got = bits_of(run_cut(*metal_executor(tiny.program, options), {512, 2}));
  EXPECT_EQ(got, want);
}

TEST(MetalWords, DrawsAsTheEmulatedForm) {
  const TinyProgram tiny(tests::mixed);
  auto made = gpu::make_executor("emulated", emulated::make_queue({}), tiny.program,
                                 tests::options_with(1));
  ASSERT_TRUE(made);
  const auto emulated = std::move(*made);
  const auto metal = metal_executor(tiny.program);
  tests::Tokens tokens;
  tokens.add(1, 0, 0);
  for (const op::Drawing& how : {op::Drawing{0.8f, 0.95f, 0.05f, 40, 1}, op::Drawing{},
                                 op::Drawing{3.0f, 0.99f, 0.0f, 67, 9}})
    EXPECT_EQ(metal->run_ahead(tokens.step(), {&how, 1}, 8),
              emulated->run_ahead(tokens.step(), {&how, 1}, 8));
}

// Every kernel of the second family, for few tokens and for many, and for more than 512 keys.
TEST(MetalWords, AMixtureHasTheBitsOfTheEmulatedForm) {
  for (const tests::MixtureShape& shape :
       {tests::MixtureShape{}, tests::MixtureShape{.type = quant::F16::id, .head_dim = 128}}) {
    const tests::Mixture mixture(shape);
    const auto emulated = tests::emulated_executor(mixture.program, tests::options_with(1));
    EXPECT_EQ(bits_of(run_cut(*metal_executor(mixture.program), {40, 9, 2, 1})),
              bits_of(run_cut(*emulated, {52})));
  }
  const tests::Mixture far({.window = 600});
  auto options = tests::options_with(1);
  options.context = options.batch = 576;
  const auto emulated = tests::emulated_executor(far.program, options);
  EXPECT_EQ(bits_of(run_cut(*metal_executor(far.program, options), {512, 1})),
            bits_of(run_cut(*emulated, {513})));
}

TEST(MetalWords, TheProbeRuns) {
  MetalQueue queue(emulated::make_queue({}));
  EXPECT_TRUE(device::prove_arithmetic(queue));
}

class EveryFormat : public testing::TestWithParam<uint32_t> {};

TEST_P(EveryFormat, HasTheBitsOfTheCpu) {
  const TinyProgram tiny(GetParam());
  EXPECT_EQ(bits_of(run_cut(*metal_executor(tiny.program), {1, 9, 2, 1, 1})),
            bits_of(run_cut(*cpu_executor(tiny.program), {14})));
}
INSTANTIATE_TEST_SUITE_P(Metal, EveryFormat, testing::ValuesIn(tests::formats_and_mixed()));

TEST(MetalWords, AnUnfusedStepOffersWhatTheCpuOffers) {
  const TinyProgram tiny(tests::mixed);
  tests::Tokens tokens;
  for (uint32_t i = 0; i < 40; ++i) tokens.add(tests::token(i), i, 0, i % 2 == 0);
  std::map<std::string, std::vector<uint32_t>> want, got;
  const auto keep = [](auto& map) {
    return [&map](const op::Operation& operation, std::span<const float> output) {
      map[operation.name] = bits_of({output.begin(), output.end()});
    };
  };
  cpu_executor(tiny.program)->run(tokens.step(), keep(want));
  metal_executor(tiny.program)->run(tokens.step(), keep(got));
  EXPECT_FALSE(want.empty());
  EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace assay
