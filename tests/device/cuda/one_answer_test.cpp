// The executor over CUDA's queue gives the cpu's bits: every format, recorded steps and others.
#include <set>

#include "../../cpu/tiny_program.h"
#include "../../gpu/mixture.h"
#include "gpu/executor.h"
#include "support.h"

namespace assay::tests {
namespace {

std::vector<uint32_t> bits_of(const std::vector<float>& values) {
  std::vector<uint32_t> bits;
  for (float value : values) bits.push_back(k_bits(value));
  return bits;
}

class CudaExecutor : public OnCuda {
 protected:
  std::unique_ptr<op::Executor> on_cuda(const op::Program& program,
                                        const op::ExecutorOptions& options) {
    auto executor = gpu::make_executor("cuda", std::move(queue), program, options);
    if (!executor) throw std::runtime_error(executor.error().message);
    return std::move(*executor);
  }
  /// Of every kind of operation, as the emulated grid runs them.
  void equal_bits(const MixtureShape& shape, const std::vector<uint32_t>& pieces,
                  uint32_t context = 160) {
    const Mixture mixture(shape);
    auto options = options_with(1);
    options.context = options.batch = context;
    const auto want = bits_of(run_cut(*emulated_executor(mixture.program, options), pieces));
    EXPECT_EQ(bits_of(run_cut(*on_cuda(mixture.program, options), pieces)), want);
  }
  void equal_bits(uint32_t type, uint32_t count, const std::vector<uint32_t>& pieces,
                  const TinyShape& shape = {}) {
    const TinyProgram tiny(type, 1, shape);
    auto options = options_with(1);
    options.context = options.batch = count;
    auto plain = options;
    plain.isa = "portable";
    const auto want = bits_of(run_cut(*made(tiny.program, plain), {count}));
    EXPECT_EQ(bits_of(run_cut(*on_cuda(tiny.program, options), pieces)), want);
  }
};

class CudaFormat : public CudaExecutor, public testing::WithParamInterface<uint32_t> {};

// Steps of up to eight tokens are recorded, and those of 1 come again.
TEST_P(CudaFormat, HasTheBitsOfTheCpu) {
  equal_bits(GetParam(), 58, {1, 1, 1, 9, 2, 2, 33, 8, 1});
}
INSTANTIATE_TEST_SUITE_P(Cuda, CudaFormat, testing::ValuesIn(formats_and_mixed()));

TEST_F(CudaExecutor, ALongContextHasTheBitsOfTheCpu) {
  equal_bits(quant::Q4_1::id, 550, {33, 1, 2, 9, 20, 64, 417, 1, 2, 1});
}

// An attention tile of its own, and scales; what tests/gpu.sh runs under racecheck, too.
TEST_F(CudaExecutor, WideHeadsAndScaledRowsHaveTheBitsOfTheCpu) {
  equal_bits(quant::Q4_K::id, 14, {10, 2, 1, 1}, {.head_dim = 128, .scaled = true});
}
TEST_F(CudaExecutor, WideHeadsOfFloatsHaveTheBitsOfTheCpu) {
  equal_bits(quant::F16::id, 14, {10, 2, 1, 1}, {.head_dim = 128, .scaled = true});
}

// Groups of 768.
TEST_F(CudaExecutor, LongRowsHaveTheBitsOfTheCpu) {
  equal_bits(quant::Q4_0::id, 2, {1, 1}, {.width = 3072, .head_dim = 16, .ffn = 64});
}
TEST_F(CudaExecutor, LongRowsOfFloatsHaveTheBitsOfTheCpu) {
  equal_bits(quant::F16::id, 2, {1, 1}, {.ffn = 6144});
}

// Few places of experts and many, tiles of attention, recorded steps that come again.
TEST_F(CudaExecutor, AMixtureHasTheBitsOfTheEmulatedGrid) {
  equal_bits(MixtureShape{}, {1, 1, 40, 9, 2, 2, 1});
}
TEST_F(CudaExecutor, AMixtureOfFloatsHasTheBitsOfTheEmulatedGrid) {
  equal_bits({.type = quant::F16::id, .head_dim = 128}, {1, 40, 9, 1});
}
TEST_F(CudaExecutor, AMixtureOfManyExpertsHasTheBitsOfTheEmulatedGrid) {
  equal_bits({.type = quant::Q5_1::id, .experts = 64, .used = 8}, {1, 40, 100, 1});
}
TEST_F(CudaExecutor, AMixtureOfWideHeadsHasTheBitsOfTheEmulatedGrid) {
  equal_bits({.type = quant::Q8_0::id, .head_dim = 320, .window = 64}, {70, 1, 9});
}
TEST_F(CudaExecutor, AMixtureOfManyKeysHasTheBitsOfTheEmulatedGrid) {
  equal_bits({.window = 600}, {512, 1, 2}, 576);
}

// Two sequences, eight tokens ahead: those of one at a time, whose logits are compared above.
TEST_F(CudaExecutor, ALongDrawIsThatOfSingleSteps) {
  const TinyProgram tiny(quant::Q4_K::id);
  const auto executor = on_cuda(tiny.program, options_with(1));
  const op::Drawing drawings[] = {{0.8f, 0.95f, 0.05f, 40, 1}, {2.0f, 0.9f, 0.0f, 67, 2}};
  std::vector<int32_t> drawn[2];
  for (const uint32_t count : {8u, 1u}) {
    std::vector<int32_t> tokens{5, 6};
    for (uint32_t position = 0; position < 16; position += count) {
      const uint32_t positions[] = {position, position}, numbers[] = {0, 1};
      const auto got = executor->run_ahead({tokens, positions, numbers, numbers}, drawings, count);
      tokens.assign(got.end() - 2, got.end());
      auto& all = drawn[count == 1];
      all.insert(all.end(), got.begin(), got.end());
    }
  }
  EXPECT_EQ(drawn[0], drawn[1]);
  EXPECT_GT(std::set<int32_t>(drawn[0].begin(), drawn[0].end()).size(), 4u);
}

TEST_F(CudaExecutor, OffersToATraceWhatTheCpuOffers) {
  const TinyProgram tiny(mixed);
  Tokens tokens;
  for (uint32_t i = 0; i < 6; ++i) tokens.add(token(i), i, 0, i % 2 == 0);
  std::map<std::string, std::vector<uint32_t>> want, got;
  const auto keep = [](auto& map) {
    return [&map](const op::Operation& operation, std::span<const float> output) {
      map[operation.name] = bits_of({output.begin(), output.end()});
    };
  };
  made(tiny.program, options_with(1, "portable"))->run(tokens.step(), keep(want));
  on_cuda(tiny.program, options_with(1))->run(tokens.step(), keep(got));
  EXPECT_EQ(want.size(), tiny.program.operations.size());
  EXPECT_EQ(want, got);
}

}  // namespace
}  // namespace assay::tests
