// The f32 activations of lang/activation.h over dense sweeps of f32: within the judge's bounds, which
// are not a thousand times too loose, and the judge's own formulas against others.
#include "lang/activation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "judge/judge.h"
#include "op/activation.h"

namespace assay::judge {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

/// Every 4099th f32 from −limit to limit (4099 is prime: all low bits occur), normal ones.
std::vector<double> sweep(float limit) {
  std::vector<double> x = {0.0};
  for (uint32_t bits = k_bits(0x1p-60f); bits <= k_bits(limit); bits += 4099)
    for (const double sign : {-1.0, 1.0}) x.push_back(sign * double(k_float(bits)));
  return x;
}

/// Runs f over x and holds each result, floored as an operation's output, to what the judge expects.
template <class Function>
void expect_inside(const op::Parameters& of, const std::vector<double>& x, const char* name,
                   Function f) {
  op::Program program;
  const op::Operation operation{.name = name, .of = of, .inputs = {0}};
  Table in(1, x.size()), got(1, x.size());
  in.data = x;
  for (size_t i = 0; i < x.size(); ++i) got.data[i] = double(k_floor_tiny(f(float(x[i]))));
  Inputs inputs;
  inputs.values = {&in};
  const Judged judged = expect(program, operation, inputs, {}, {});
  double nearest = 0;
  for (uint64_t i = 0; i < x.size(); ++i) {
    const Seen seen = compare_element(got, judged, 0, i);
    ASSERT_EQ(seen.failures, 0u) << name << " of " << x[i] << ": " << got.data[i] << " for "
                                 << judged.want.data[i] << ", " << seen.max_u << " u of "
                                 << seen.limit_u;
    if (seen.limit_u > 0) nearest = std::max(nearest, seen.max_u / seen.limit_u);
  }
  EXPECT_GE(nearest, 1e-3) << name << ": the bound is a thousand times too loose";
  testing::Test::RecordProperty(name, std::to_string(nearest) + " of the bound");
}

TEST(Activations, AreInsideTheirBoundsOverADenseSweep) {
  for (const op::ActivationRow& row : op::activations) {
    const bool exact = row.activation == op::Activation::relu;
    const auto f = [&](float x) { return assay::activate<OneLane>(uint32_t(row.activation), x); };
    const std::vector<double> x = sweep(100.0f);
    ASSERT_GT(x.size(), 200'000u);
    if (!exact) expect_inside(op::Activate{row.activation}, x, row.name.data(), f);
  }
}

/// What exp loses below −50 is less than 2^-72 of an activation, and a gate multiplies it: x = −10.01
/// times 1e4 is 5e-19 for GELU, and the contract's result 0.
TEST(Activations, GatedTailsAreInsideTheirBounds) {
  for (const op::ActivationRow& row : op::activations) {
    const auto of = uint32_t(row.activation);
    const op::Program program;
    const op::Operation operation{.name = "gate", .of = op::Gate{row.activation}, .inputs = {0, 1}};
    Table x(1, 0), up(1, 0), got(1, 0);
    for (float at = -7; at > -87; at -= 0.0078125f)
      for (const float by : {-1e4f, 3.0f}) {
        x.data.push_back(double(at));
        up.data.push_back(double(by));
        got.data.push_back(
            double(k_floor_tiny(assay::activate<OneLane>(of, at) * gate_factor<OneLane>(of, by))));
      }
    x.width = up.width = got.width = x.data.size();
    Inputs inputs;
    inputs.values = {&x, &up};
    const Judged judged = expect(program, operation, inputs, {}, {});
    uint64_t lost = 0, caught = 0, above = 0;
    for (uint64_t i = 0; i < x.width; ++i) {
      const double want = judged.want.row(0)[i];
      const Seen seen = compare_element(got, judged, 0, i);
      EXPECT_EQ(seen.failures, 0u) << row.name << " of " << x.data[i] << " · " << up.data[i];
      lost += got.data[i] == 0 && std::fabs(want) > 2 * absolute_floor;
      if (std::fabs(activate(row.activation, x.data[i])) < absolute_floor || want == 0) continue;
      Table wrong = got;
      wrong.data[i] = 1.01 * want;
      ++above;
      caught += std::fabs(want) < 200 * absolute_floor ||
                compare_element(wrong, judged, 0, i).failures > 0;
    }
    EXPECT_EQ(caught, above) << row.name;  // no more is forgiven than what is below the floor
    const bool ends =
        row.activation == op::Activation::gelu_erf || row.activation == op::Activation::softplus;
    EXPECT_EQ(lost > 0, ends) << row.name;
  }
}

/// The same of a router's softmax: logits 50.5 below the best, a scale of 16, or a small sum of those
/// that a bias chose.
TEST(Activations, WhatARoutersSoftmaxLosesIsInsideItsBound) {
  for (const bool renormalise : {false, true}) {
    const std::vector<float> logits = {0, -49.5f, -50.5f, -51}, bias = {0, 2, 3, 4};
    const op::Route router{.used = 3, .renormalise = renormalise, .scale = 16};
    op::Program program;
    const std::span bytes(reinterpret_cast<const uint8_t*>(bias.data()), 16);
    op::Operation operation{.name = "routing", .of = router, .inputs = {0}};
    operation.bias = program.add_weight({"bias", 0, 1, 4, bytes});
    Table x(1, 4), got(1, 6);
    x.data.assign(logits.begin(), logits.end());
    const float kept = k_exp(logits[1]);  // the only one of the chosen; all four add up to 1
    const float sum = renormalise ? std::max(kept, 0x1p-72f) : 1.0f;
    got.data = {3, 2, 1, 0, 0, double(k_floor_tiny(k_div(kept, sum) * 16.0f))};
    Inputs inputs;
    inputs.values = {&x};
    const Judged judged = expect(program, operation, inputs, {}, {});
    EXPECT_GT(judged.want.row(0)[4], 2 * absolute_floor);  // lost, and above the floor
    for (uint64_t i = 0; i < 6; ++i)
      EXPECT_EQ(compare_element(got, judged, 0, i).failures, 0u)
          << i << ": " << got.data[i] << " for " << judged.want.row(0)[i];
    got.data[5] *= renormalise ? 4 : 1.5;
    EXPECT_EQ(compare_element(got, judged, 0, 5).failures, 1u);
  }
}

TEST(Activations, XieluAndSoftCapAreInsideTheirBoundsOverADenseSweep) {
  for (const float eps : {-1e-6f, -0.5f, 0.0f})
    expect_inside(op::Xielu{0.8f, 1.3f, 0.5f, eps}, sweep(40.0f), "xielu",
                  [&](float x) { return xielu<OneLane>(x, 0.8f, 1.3f, 0.5f, eps); });
  for (const float cap : {1e-3f, 30.0f, 1e6f})
    expect_inside(op::SoftCap{cap}, sweep(1e4f), "soft_cap",
                  [&](float x) { return soft_cap<OneLane>(x, cap); });
}

/// The judge's formulas against others: e^x by its own powers, tanh, Φ by erf.
TEST(Activations, TheJudgesFormulasAreThoseOfTheBooks) {
  const auto tanh_form = [](double x) {
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (x + 0.044715 * x * x * x)));
  };
  for (double x = -4; x <= 9; x += 0.0625) {
    const double logistic = 0.5 * (1 + std::tanh(x / 2));
    const auto near = [&](op::Activation activation, double want) {
      EXPECT_NEAR(activate(activation, x), want, 1e-14 * (1 + x * x)) << x;
    };
    near(op::Activation::silu, x * logistic);
    near(op::Activation::gelu_tanh, tanh_form(x));
    near(op::Activation::gelu_erf, 0.5 * x * (1 + std::erf(x / std::sqrt(2.0))));
    near(op::Activation::gelu_quick, x * 0.5 * (1 + std::tanh(1.702 * x / 2)));
    near(op::Activation::relu, std::max(x, 0.0));
    near(op::Activation::relu_squared, std::pow(std::max(x, 0.0), 2));
    near(op::Activation::sigmoid, logistic);
    near(op::Activation::softplus, std::log(1 + std::exp(x)));
    const double g = std::min(x, 7.0);
    near(op::Activation::silu_clamped, g / (1 + std::exp(-1.702 * g)));
  }
}

/// How many of the results lie outside what an engine of this contract may give.
uint64_t failures(const std::vector<double>& x, std::string_view contract, float (*f)(float)) {
  const op::Operation operation{
      .name = "act", .of = op::Activate{op::Activation::gelu_tanh}, .inputs = {0}};
  Table in(1, x.size()), got(1, x.size());
  in.data = x;
  for (size_t i = 0; i < x.size(); ++i) got.data[i] = double(f(float(x[i])));
  Inputs inputs;
  inputs.values = {&in};
  return compare(got, expect({}, operation, inputs, {}, arithmetic_of(contract, "other", "")))
      .failures;
}

float gelu(float x) {
  return float(activate(op::Activation::gelu_tanh, double(x)));
}
float gelu_of_table(float x) {
  if (x <= -10 || x >= 10) return x < 0 ? 0.0f : x;
  return k_f16_to_f32(k_f32_to_f16(gelu(k_f16_to_f32(k_f32_to_f16(x)))));
}
float gelu_by_tanh(float x) {
  const float z = 0.79788456f * (x + 0.044715f * x * x * x);
  return 0.5f * x * (1.0f + std::tanh(z));
}

TEST(Activations, GeluOfOtherEnginesIsJudgedAsTheyComputeIt) {
  const std::vector<double> x = sweep(12);
  EXPECT_EQ(failures(x, "ggml-cpu", gelu_of_table), 0u);
  EXPECT_GT(failures(x, "f32", gelu_of_table), x.size() / 4);
  EXPECT_GT(failures(x, "ggml-cuda", gelu_of_table), x.size() / 4);
  EXPECT_EQ(failures(x, "f32", gelu_by_tanh), 0u);
  const auto wrong = [](float v) { return gelu(v) * (1.0f + 0x1p-12f); };
  EXPECT_GT(failures(x, "f32", wrong), x.size() / 4);
}

TEST(Activations, LimitingValues) {
  const auto f = [](op::Activation activation, double x) {
    return double(assay::activate<OneLane>(uint32_t(activation), float(x)));
  };
  for (const op::ActivationRow& row : op::activations) {
    EXPECT_TRUE(std::isnan(f(row.activation, NAN))) << row.name;
    const double at_zero = row.activation == op::Activation::sigmoid    ? 0.5
                           : row.activation == op::Activation::softplus ? std::log(2.0)
                                                                        : 0.0;
    EXPECT_NEAR(f(row.activation, 0), at_zero, 0x1p-24) << row.name;
    const double large = row.activation == op::Activation::sigmoid        ? 1.0
                         : row.activation == op::Activation::silu_clamped ? f(row.activation, 7)
                         : row.activation == op::Activation::relu_squared ? 1e4
                                                                          : 100.0;
    EXPECT_EQ(f(row.activation, 100), large) << row.name;
    EXPECT_EQ(k_floor_tiny(float(f(row.activation, -1000))), 0.0f) << row.name;
  }
  EXPECT_EQ(f(op::Activation::relu, infinity), infinity);
  EXPECT_EQ(f(op::Activation::softplus, infinity), infinity);
  EXPECT_EQ(f(op::Activation::softplus, -infinity), 0.0);
  EXPECT_EQ(f(op::Activation::sigmoid, infinity), 1.0);
  EXPECT_EQ(f(op::Activation::sigmoid, -infinity), 0.0);
  EXPECT_EQ(gate_factor<OneLane>(activation_silu_clamped, 100.0f), 8.0f);
  EXPECT_EQ(gate_factor<OneLane>(activation_silu_clamped, -100.0f), -6.0f);
  EXPECT_EQ(gate_factor<OneLane>(activation_silu, -100.0f), -100.0f);
  EXPECT_EQ(assay::soft_cap<OneLane>(infinity, 30.0f), 30.0f);
  EXPECT_EQ(assay::soft_cap<OneLane>(-infinity, 30.0f), -30.0f);
  EXPECT_TRUE(std::isnan(soft_cap<OneLane>(NAN, 30.0f)));
}

}  // namespace
}  // namespace assay::judge
