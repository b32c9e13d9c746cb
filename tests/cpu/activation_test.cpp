// LayerNorm, activations, gates, soft caps, clamps, sums of experts and router probabilities against
// the scalar contract bit for bit, at every length, and what NaN and infinity become.
#include "op/activation.h"
#include "data.h"

namespace assay::tests {
namespace {

constexpr uint64_t sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 64, 255, 257, 509, 1000};
constexpr float corners[] = {0.0f,  -0.0f, 50.0f,  -50.0f,   88.8f,     -87.34f, -88.8f,
                             7.0f,  -7.0f, 8.0f,   -1e4f,    1e4f,      -1e-6f,  0x1p-80f,
                             -60.f, 1e30f, 1e-30f, INFINITY, -INFINITY, NAN,     -1e30f};

/// Random values with the corners among them.
std::vector<float> with_corners(uint64_t n, Random& random) {
  auto x = random.floats(n);
  for (float& value : x)
    if (random.below(3) == 0) value = 20 * random.uniform();
  for (float corner : corners)
    if (n > 40 || random.below(4) == 0) x[random.below(uint32_t(n))] = corner;
  return x;
}

/// Runs kernel(kernels, x, y) at every size and compares each element with one(x).
template <class Kernel, class One>
void check_each(const char* name, Kernel kernel, One one) {
  for (const uint64_t n : sizes) {
    Random random(uint32_t(n) + 17);
    const auto x = with_corners(n, random);
    std::vector<float> want;
    for (const float value : x) want.push_back(k_floor_tiny(one(value)));
    for (const cpu::Kernels* kernels : all_kernels()) {
      std::vector<float> y(n + 1, 7.0f);
      kernel(*kernels, x, y.data());
      ASSERT_EQ(difference(std::span(y).first(n), want), "")
          << name << " " << kernels->isa << " n " << n << " seed " << n + 17;
      ASSERT_EQ(y[n], 7.0f) << "written past the end";
    }
  }
}

TEST(Activate, HasTheContractsBitsAtEveryLength) {
  for (const op::ActivationRow& row : op::activations) {
    const auto f = uint32_t(row.activation);
    check_each(
        row.name.data(),
        [&](const cpu::Kernels& kernels, const auto& x, float* y) {
          kernels.activate(f, x.data(), x.size(), y);
        },
        [&](float x) { return assay::activate<OneLane>(f, x); });
  }
}

TEST(GateOfEveryActivation, HasTheContractsBitsAtEveryLength) {
  for (const op::ActivationRow& row : op::activations)
    for (const uint64_t n : sizes) {
      const auto f = uint32_t(row.activation);
      Random random(uint32_t(n) + 31);
      const auto gates = with_corners(n, random);
      auto up = random.floats(n);
      up[random.below(uint32_t(n))] = 100.0f, up[random.below(uint32_t(n))] = -7.5f;
      std::vector<float> want(n), y(n), all(n), want_all(n);
      for (uint64_t i = 0; i < n; ++i) {
        want[i] = contract::gate(f, gates[i], up[i]);
        want_all[i] = contract::gate(f, gates[0], up[i]);
      }
      for (const cpu::Kernels* kernels : all_kernels()) {
        kernels->gate(f, gates.data(), up.data(), n, y.data());
        ASSERT_EQ(difference(y, want), "") << row.gated << " " << kernels->isa << " n " << n;
        kernels->gate_all(f, gates[0], up.data(), n, all.data());
        ASSERT_EQ(difference(all, want_all), "") << row.gated << " " << kernels->isa << " n " << n;
      }
    }
}

TEST(Xielu, HasTheContractsBitsAtEveryLength) {
  const cpu::XieluNumbers p{0.8f, 1.3f, 0.5f, -1e-6f};
  check_each(
      "xielu",
      [&](const cpu::Kernels& kernels, const auto& x, float* y) {
        kernels.xielu(x.data(), p, x.size(), y);
      },
      [&](float x) { return assay::xielu<OneLane>(x, p.alpha_p, p.alpha_n, p.beta, p.eps); });
}

TEST(SoftCap, HasTheContractsBitsAtEveryLength) {
  for (const float cap : {30.0f, 1e-6f, 1e30f})
    check_each(
        "soft_cap",
        [&](const cpu::Kernels& kernels, const auto& x, float* y) {
          kernels.soft_cap(x.data(), cap, x.size(), y);
        },
        [&](float x) { return std::isnan(x) ? x : contract::soft_cap(x, cap); });
}

/// Not floored: it copies.
TEST(Clamp, KeepsWhatLiesBetweenAndNan) {
  const std::vector<float> x = {-1,   -0.8f, -0.5f,    -0.0f,     0x1p-80f,
                                0.7f, 0.8f,  INFINITY, -INFINITY, NAN};
  const std::vector<float> want = {-0.8f, -0.8f, -0.5f, -0.0f, 0x1p-80f,
                                   0.7f,  0.7f,  0.7f,  -0.8f, NAN};
  for (const cpu::Kernels* kernels : all_kernels())
    for (size_t n = 1; n <= x.size(); ++n) {
      std::vector<float> y(n);
      kernels->clamp(x.data(), -0.8f, 0.7f, n, y.data());
      EXPECT_EQ(difference(y, std::span(want).first(n)), "") << kernels->isa;
    }
}

TEST(MultiplyFloored, IsOneRoundingAndTheFloor) {
  check_each(
      "multiply_floored",
      [](const cpu::Kernels& kernels, const auto& x, float* y) {
        kernels.multiply_floored(x.data(), 0.3f, x.size(), y);
      },
      [](float x) { return x * 0.3f; });
}

TEST(LayerNorm, HasTheContractsBitsAtEveryLength) {
  for (const uint64_t n : sizes) {
    Random random(uint32_t(n) + 100);
    auto x = random.floats(n);
    for (float& value : x) value += 3;  // a mean that is not 0
    const auto weight = random.floats(n), bias = random.floats(n);
    for (const float eps : {1e-5f, 1.0f})
      for (const bool biased : {false, true})
        for (const cpu::Kernels* kernels : all_kernels()) {
          std::vector<float> y(n);
          kernels->layer_norm(x.data(), weight.data(), biased ? bias.data() : nullptr, n, eps,
                              y.data());
          const auto want =
              contract::layer_norm(x, weight, biased ? bias : std::vector<float>(), eps);
          ASSERT_EQ(difference(y, want), "")
              << kernels->isa << " n " << n << " eps " << eps << " seed " << n + 100;
        }
  }
}

/// 1, 3 | 5: mean 3, deviations −2 0 2, variance 8/3, so y = d/√(8/3)·w + b. A row of equal values is
/// its bias.
TEST(LayerNorm, GivesKnownValues) {
  for (const cpu::Kernels* kernels : all_kernels()) {
    const std::vector<float> x = {1, 3, 5}, w = {1, 10, 2}, b = {0, 0.5f, -1};
    std::vector<float> y(3);
    kernels->layer_norm(x.data(), w.data(), b.data(), 3, 1e-30f, y.data());
    const double r = 1 / std::sqrt(8.0 / 3);
    EXPECT_NEAR(y[0], -2 * r, 8 * 0x1p-24) << kernels->isa;
    EXPECT_EQ(y[1], 0.5f);
    EXPECT_NEAR(y[2], 4 * r - 1, 32 * 0x1p-24);
    const std::vector<float> same(3, 0.1f);
    kernels->layer_norm(same.data(), w.data(), b.data(), 3, 1e-5f, y.data());
    for (size_t i = 0; i < 3; ++i) EXPECT_NEAR(y[i], b[i], 1e-3f * w[i]) << kernels->isa;
  }
}

TEST(LayerNorm, NanAndRangeReachEveryElement) {
  for (const cpu::Kernels* kernels : all_kernels())
    for (const uint64_t n : {1u, 31u, 64u, 257u})
      for (const float bad : {NAN, INFINITY, -INFINITY, 1e30f}) {
        if (n == 1 && bad == 1e30f) continue;  // its own mean: 0
        std::vector<float> x(n, 1.0f), w(n, 1.0f), y(n);
        x[n / 2] = bad;
        kernels->layer_norm(x.data(), w.data(), nullptr, n, 1e-5f, y.data());
        for (const float v : y)
          EXPECT_TRUE(std::isnan(v)) << kernels->isa << " " << n << " " << bad;
      }
}

TEST(Mix, HasTheContractsBitsAtEveryLengthAndCount) {
  for (const uint64_t n : sizes)
    for (const uint32_t used : {1u, 2u, 3u, 8u}) {
      Random random(uint32_t(n) + used);
      const auto x = random.floats(n * used), weights = random.floats(used);
      for (const cpu::Kernels* kernels : all_kernels())
        for (const bool weighted : {true, false}) {
          std::vector<float> y(n);
          kernels->mix(x.data(), weighted ? weights.data() : nullptr, used, n, y.data());
          ASSERT_EQ(
              difference(y, contract::mix(x, weighted ? weights : std::vector<float>(), used)), "")
              << kernels->isa << " n " << n << " used " << used;
        }
    }
}

TEST(Softmax, HasTheContractsBitsAtEveryLength) {
  for (const uint64_t n : sizes) {
    Random random(uint32_t(n) + 5);
    auto x = random.floats(n);
    if (n > 2) x[n / 2] = -INFINITY;
    for (const bool bad : {false, true}) {
      if (bad) x[n - 1] = NAN;
      const auto want = contract::softmax(x);
      for (const cpu::Kernels* kernels : all_kernels()) {
        std::vector<float> y(n);
        kernels->softmax(x.data(), n, y.data());
        ASSERT_EQ(difference(y, want), "") << kernels->isa << " n " << n;
      }
    }
  }
}

/// A router divides by sums of these: none is a denormal.
TEST(Sigmoid, IsZeroOrNormal) {
  std::vector<float> x;
  for (float value = -80; value > -90; value -= 0.01f) x.push_back(value);
  for (const cpu::Kernels* kernels : all_kernels()) {
    std::vector<float> y(x.size());
    kernels->sigmoid(x.data(), x.size(), y.data());
    for (size_t i = 0; i < x.size(); ++i) {
      EXPECT_EQ(k_bits(y[i]), k_bits(assay::sigmoid<OneLane>(x[i]))) << kernels->isa;
      EXPECT_NE(std::fpclassify(y[i]), FP_SUBNORMAL) << kernels->isa << " of " << x[i];
    }
    EXPECT_GT(y[0], 0.0f);
    EXPECT_EQ(y.back(), 0.0f);
  }
}

}  // namespace
}  // namespace assay::tests
