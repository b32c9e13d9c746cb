// Early kernels read nothing that a launch before them writes until they await it, and write
// nothing: their inputs arrive, and their outputs are looked at, when the last thread comes there.
#include <gtest/gtest.h>

#include "../cpu/data.h"
#include "device/emulated/grid.h"
#include "device/emulated/kernels.h"
#include "gpu/pack.h"
#include "kernel/experts.h"

namespace assay {
namespace {

constexpr uint32_t rows = 32, columns = 768;  // three chunks, for two simds

std::vector<uint8_t> packed(uint32_t type, tests::Random& random) {
  const tests::Matrix matrix = tests::random_matrix(type, rows, columns, random);
  std::vector<uint8_t> bytes(gpu::tile_bytes(matrix.weight));
  gpu::pack_tiles(matrix.weight, 0, 1, bytes);
  return bytes;
}

/// A row of quantised activations, or of what is made.
struct Row {
  std::vector<uint32_t> codes, scale, sums;
  explicit Row(uint32_t width) : codes(width / 4), scale(width / 32), sums(width / 32) { forget(); }
  void forget() {
    for (auto* part : {&codes, &scale, &sums}) std::ranges::fill(*part, 0xffffffffu);
  }
  Quantised view() { return {codes.data(), reinterpret_cast<float*>(scale.data()), sums.data()}; }
  bool operator==(const Row&) const = default;
};

Row random_row(tests::Random& random) {
  Row row(columns);
  for (uint32_t& word : row.codes) word = random.bits() & 0x7f7f7f7fu;
  for (uint32_t& bits : row.scale) bits = k_bits(random.uniform());
  for (uint32_t& word : row.sums) word = random.bits() & 0x07ff07ffu;
  return row;
}

/// Runs a kernel on the inputs as they are, and again where they arrive late: x, and the routing
/// where there is one.
template <class Kernel, class Output>
void expect_late_inputs_to_do(const Kernel& handle, const typename Kernel::Args& args, Row& x,
                              Output& y, std::vector<float>* routing = nullptr) {
  const KernelEntry* kernel = emulated::find_kernel(handle.name);
  ASSERT_TRUE(kernel && kernel->early) << handle.name;
  const emulated::Grid grid{1, 1, 64};
  const Output empty = y;
  ASSERT_TRUE(emulated::run_grid(*kernel, grid, &args, {}));
  const Output want = y;
  EXPECT_FALSE(want == empty);
  const Row given = x;
  y = empty;
  x.forget();
  const std::vector<float> given_routing = routing ? *routing : std::vector<float>();
  if (routing) std::ranges::fill(*routing, NAN);
  uint32_t arrivals = 0;
  emulated::GridOptions options;
  options.inputs_arrive = [&] {
    if (arrivals++ == 0) {
      EXPECT_TRUE(y == empty) << "written before the inputs were there";
    }
    x = given;
    if (routing) std::ranges::copy(given_routing, routing->begin());
  };
  ASSERT_TRUE(emulated::run_grid(*kernel, grid, &args, options));
  EXPECT_GT(arrivals, 0u);
  EXPECT_TRUE(y == want) << handle.name;
}

class Early : public testing::TestWithParam<uint32_t> {};

TEST_P(Early, MatvecAwaitsItsActivations) {
  tests::Random random(1);
  const auto weights = packed(GetParam(), random);
  Row x = random_row(random);
  std::vector<uint32_t> y(rows, 0xffffffffu);
  MatmulArgs args{};
  args.x = x.view();
  args.parts[0].data = weights.data();
  args.parts[0].y = reinterpret_cast<float*>(y.data());
  args.parts[0].format = GetParam();
  args.parts[0].rows = rows;
  args.part_count = 1, args.columns = columns, args.tokens = 1;
  expect_late_inputs_to_do(kernels::matvec, args, x, y);
}

TEST_P(Early, GateUpAwaitsItsActivations) {
  tests::Random random(2);
  for (const uint32_t up_format : {GetParam(), quant::Q8_0::id}) {
    const auto gate = packed(GetParam(), random), up = packed(up_format, random);
    Row x = random_row(random), y(rows);
    GateUpArgs args{};
    args.x = x.view(), args.y = y.view();
    args.gate = gate.data(), args.up = up.data();
    args.gate_format = GetParam(), args.up_format = up_format;
    args.rows = rows, args.columns = columns;
    expect_late_inputs_to_do(kernels::gate_up, args, x, y);
  }
}

TEST_P(Early, MatvecOfExpertsAwaitsItsRouting) {
  tests::Random random(3);
  auto weights = packed(GetParam(), random);
  const auto second = packed(GetParam(), random);
  weights.insert(weights.end(), second.begin(), second.end());
  Row x = random_row(random);
  std::vector<float> routing = {1, 0.5f};
  std::vector<uint32_t> y(rows, 0xffffffffu);
  ExpertsArgs args{};
  args.x = x.view();
  args.data = weights.data();
  args.routing = routing.data();
  args.y = reinterpret_cast<float*>(y.data());
  args.format = GetParam();
  args.rows = rows, args.columns = columns, args.used = 1, args.experts = 2;
  expect_late_inputs_to_do(kernels::matvec_experts, args, x, y, &routing);
}

INSTANTIATE_TEST_SUITE_P(Kernel, Early, testing::ValuesIn(tests::block_formats));

// A kernel that begins early and stands in no test above would be one that nobody proves.
TEST(EarlyKernels, AreThese) {
  std::vector<std::string> names;
  for (const KernelEntry* kernel : emulated::all_kernels())
    if (kernel->early) names.push_back(kernel->name);
  EXPECT_EQ(names, (std::vector<std::string>{"gate_up", "matvec", "matvec_experts"}));
}

}  // namespace
}  // namespace assay
