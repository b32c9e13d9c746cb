// RoPE as configurations describe it: rope_parameters (for all layers, or under full_attention and
// sliding_attention), or rope_theta and rope_scaling of older ones.
// Source of the formulas: Peng et al. 2023 (YaRN), Ding et al. 2024 (LongRoPE), Llama 3.1's release.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "convert/keys.h"
#include "gguf/reader.h"
#include "op/rope.h"

namespace assay::convert {
namespace {

using model::Architecture;
using model::Config;

std::string field(std::string_view name) {
  return fmt::format("rope_parameters.full_attention.{0}|rope_parameters.{0}|rope_scaling.{0}",
                     name);
}

/// The positions before the context grew.
uint32_t original_context(Config& config) {
  return config.need_integer(field("original_max_position_embeddings") +
                             "|original_max_position_embeddings|max_position_embeddings");
}

/// How YaRN's magnitude grows with the factor.
double magnitude(double factor, double weight) {
  return factor > 1.0 ? 0.1 * weight * std::log(factor) + 1.0 : 1.0;
}

/// What divides the frequency of a pair that does not turn.
constexpr float stands_still = 1e30f;

std::vector<float> narrowed(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// Factors for each pair: 1 where waves are short, `factor` where they are longer than the original
/// context, and between the two in between.
void llama3(Config& config, double base, uint32_t dimensions, Settings& out) {
  const double factor = config.need_real(field("factor"));
  const double low = config.need_real(field("low_freq_factor"));
  const double high = config.need_real(field("high_freq_factor"));
  const double original = config.need_integer(field("original_max_position_embeddings"));
  if (!config.failed() && !(factor > 0 && low < high))
    config.fail(
        "rope_type llama3 needs a factor above 0 and low_freq_factor below "
        "high_freq_factor");
  Constant factors{"rope_freqs.weight", {}};
  for (uint32_t i = 0; i < dimensions / 2; ++i) {
    // Waves of this pair in the original context.
    const double waves =
        original * std::pow(base, -2.0 * i / dimensions) / (2.0 * std::numbers::pi);
    const double keep = std::fmin(1.0, std::fmax(0.0, (waves - low) / (high - low)));
    factors.values.push_back(float(1.0 / (keep + (1.0 - keep) / factor)));
  }
  out.constants.push_back(std::move(factors));
}

/// A factor that multiplies cos and sin, beside those that the reader has itself.
void set_magnitude(double factor, const model::Rotation& rotation, Config& config, Settings& out) {
  if (float(factor) == 1.0f) return;
  if (rotation.window_scaling == model::Rotation::Scaling::unstretched)
    config.fail(
        "'attention_factor' is for layers without a window; in a GGUF file of this architecture it "
        "is for all");
  out.keys.set("rope.scaling.attn_factor", float(factor));
}

/// The first `partial_rotary_factor` of the pairs turn, as fast as they would if all did.
void proportional(Config& config, uint32_t dimensions, Settings& out) {
  const double share = config.real(field("partial_rotary_factor")).value_or(1.0);
  const double factor = config.real(field("factor")).value_or(1.0);
  if (!(share >= 0.0 && share <= 1.0 && factor > 0.0))
    config.fail("rope_type proportional needs a partial_rotary_factor of 0 … 1, a factor above 0");
  if (config.failed()) return;
  Constant factors{"rope_freqs.weight", std::vector<float>(dimensions / 2, stands_still)};
  std::fill_n(factors.values.begin(), uint32_t(share * dimensions / 2), float(factor));
  out.constants.push_back(std::move(factors));
}

void longrope(Config& config, const model::Rotation& rotation, uint32_t dimensions, Settings& out) {
  const double original = original_context(config);
  const double context = config.need_integer("max_position_embeddings");
  const double growth = config.real(field("factor")).value_or(context / original);
  const double usual = growth > 1.0 ? std::sqrt(1.0 + std::log(growth) / std::log(original)) : 1.0;
  out.keys.set("rope.scaling.type", "longrope");
  out.keys.set("rope.scaling.original_context_length", uint32_t(original));
  set_magnitude(config.real(field("attention_factor")).value_or(usual), rotation, config, out);
  for (const std::string_view name : {"long", "short"}) {
    const std::string key = fmt::format("{}_factor", name);
    Constant factors{fmt::format("rope_factors_{}.weight", name),
                     narrowed(config.reals(field(key)))};
    if (factors.values.size() != dimensions / 2)
      config.fail(fmt::format("'{}' has {} numbers; RoPE turns {} pairs", key,
                              factors.values.size(), dimensions / 2));
    out.constants.push_back(std::move(factors));
  }
}

struct Yarn {
  double factor = 1, fast = 0, slow = 0;
  uint32_t original = 0;
  bool whole = true;  ///< the ramp begins and ends at whole pairs
};

/// Where the reader's ramp is another: its frequencies as factors of the plain ones.
void yarn_as_factors(const Yarn& yarn, double base, uint32_t dimensions, Settings& out) {
  op::RopeParameters p{.dimensions = dimensions, .base = base};
  const std::vector<double> plain = op::make_rope(p, false).frequency;
  p.scaling = op::RopeScaling::yarn;
  p.factor = yarn.factor;
  p.original_context = yarn.original;
  p.beta_fast = yarn.fast;
  p.beta_slow = yarn.slow;
  p.whole_bounds = yarn.whole;
  const std::vector<double> stretched = op::make_rope(p, false).frequency;
  Constant factors{"rope_freqs.weight", {}};
  for (size_t i = 0; i < plain.size(); ++i)
    factors.values.push_back(float(plain[i] / stretched[i]));
  out.constants.push_back(std::move(factors));
}

void yarn(Config& config, const model::Rotation& rotation, double base, uint32_t dimensions,
          Settings& out) {
  Yarn yarn{.original = original_context(config)};
  yarn.factor = config.real(field("factor"))
                    .value_or(double(config.need_integer("max_position_embeddings")) /
                              double(std::max(yarn.original, 1u)));
  const auto bound = [&](std::string_view name, double usual) {
    const double set = config.real(field(name)).value_or(0.0);
    return set == 0.0 ? usual : set;
  };
  yarn.fast = bound("beta_fast", 32.0);
  yarn.slow = bound("beta_slow", 1.0);
  // The class looks for it beside the kinds of layers, not within one.
  yarn.whole = config.flag("rope_parameters.truncate|rope_scaling.truncate").value_or(true);
  const double scale = config.real(field("mscale")).value_or(0.0);
  const double scale_of_all = config.real(field("mscale_all_dim")).value_or(0.0);
  const double usual = scale != 0.0 && scale_of_all != 0.0
                           ? magnitude(yarn.factor, scale) / magnitude(yarn.factor, scale_of_all)
                           : magnitude(yarn.factor, 1.0);
  const double wanted = config.real(field("attention_factor")).value_or(usual);
  if (!(yarn.factor > 0.0)) config.fail("YaRN's 'factor' is not above 0");
  if (config.failed()) return;
  if (yarn.whole != rotation.yarn_whole_bounds) {  // no key says it
    out.keys.set("rope.scaling.type", "none");
    yarn_as_factors(yarn, base, dimensions, out);
    return set_magnitude(wanted, rotation, config, out);
  }
  out.keys.set("rope.scaling.type", "yarn");
  out.keys.set("rope.scaling.factor", float(yarn.factor));
  out.keys.set("rope.scaling.original_context_length", yarn.original);
  set_magnitude(wanted / magnitude(yarn.factor, 1.0), rotation, config, out);
  if (yarn.fast != 32.0) out.keys.set("rope.scaling.yarn_beta_fast", float(yarn.fast));
  if (yarn.slow != 1.0) out.keys.set("rope.scaling.yarn_beta_slow", float(yarn.slow));
}

/// Layers with a window turn without scaling.
void check_window(Config& config) {
  const std::string type =
      config.text("rope_parameters.sliding_attention.rope_type").value_or("default");
  if (type != "default")
    config.fail(fmt::format(
        "layers with a window have a RoPE scaling of their own ('{}'), which assay does "
        "not implement",
        gguf::printable(type)));
}

}  // namespace

void read_rope(Config& config, const Architecture& architecture, Settings& out) {
  const auto stated = config.real(field("rope_theta") + "|rope_theta|rotary_emb_base");
  const double theta = stated.value_or(config.base);
  if (!out.keys.find("rope.freq_base")) out.keys.set("rope.freq_base", float(theta));
  const auto local =
      config.real("rope_parameters.sliding_attention.rope_theta|rope_local_base_freq");
  if (local && !out.keys.find("rope.freq_base_swa"))
    out.keys.set("rope.freq_base_swa", float(*local));
  if (local && local != theta && architecture.rope.window_base == model::Rotation::Base::same)
    config.fail("layers with a window have another rope_theta, which assay does not read here");
  check_window(config);
  if (!out.keys.find("rope.dimension_count"))
    out.keys.set("rope.dimension_count", config.rotated());
  const std::string type =
      config.text(field("rope_type") + "|" + field("type")).value_or("default");
  if (config.failed() || out.keys.find("rope.scaling.type")) return;  // the architecture's own
  const uint32_t dimensions = std::get<uint32_t>(*out.keys.find("rope.dimension_count"));
  if (type == "llama3") {
    llama3(config, theta, dimensions, out);
  } else if (type == "longrope" || type == "su") {
    longrope(config, architecture.rope, dimensions, out);
  } else if (type == "yarn") {
    yarn(config, architecture.rope, theta, dimensions, out);
  } else if (type == "proportional") {
    proportional(config, dimensions, out);
  } else if (type == "linear") {
    out.keys.set("rope.scaling.type", "linear");
    out.keys.set("rope.scaling.factor", float(config.need_real(field("factor"))));
  } else if (type != "default") {
    config.fail(
        fmt::format("the rope_type '{}' is not supported for '{}'; supported: default, "
                    "linear, llama3, longrope, proportional, yarn",
                    gguf::printable(type), architecture.name));
  }
  if (architecture.rope.factors == model::RopeFactors::wanted && out.constants.empty())
    out.constants.push_back({"rope_freqs.weight", std::vector<float>(dimensions / 2, 1.0f)});
}

}  // namespace assay::convert
