// RoPE as configurations describe it: rope_parameters (for all layers, or under full_attention and
// sliding_attention), or rope_theta and rope_scaling of older ones.
// Source of the formulas: Peng et al. 2023 (YaRN), Ding et al. 2024 (LongRoPE), Llama 3.1's release.
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "convert/keys.h"
#include "gguf/reader.h"

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

std::vector<float> narrowed(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

/// Factors for each pair: 1 where waves are short, `factor` where they are longer than the original
/// context, and between the two in between.
void llama3(Config& config, Settings& out) {
  const double base = config.real(field("rope_theta") + "|rope_theta").value_or(10000.0);
  const double factor = config.need_real(field("factor"));
  const double low = config.need_real(field("low_freq_factor"));
  const double high = config.need_real(field("high_freq_factor"));
  const double original = config.need_integer(field("original_max_position_embeddings"));
  if (!config.failed() && !(factor > 0 && low < high))
    config.fail(
        "rope_type llama3 needs a factor above 0 and low_freq_factor below "
        "high_freq_factor");
  const uint32_t dimensions = config.rotated();
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

void longrope(Config& config, Settings& out) {
  const double original = original_context(config);
  const double context = config.need_integer("max_position_embeddings");
  const double growth = context / original;
  const double usual = growth > 1.0 ? std::sqrt(1.0 + std::log(growth) / std::log(original)) : 1.0;
  out.keys.set("rope.scaling.type", "longrope");
  out.keys.set("rope.scaling.original_context_length", uint32_t(original));
  out.keys.set("rope.scaling.attn_factor",
               float(config.real(field("attention_factor")).value_or(usual)));
  for (const std::string_view name : {"long", "short"}) {
    const std::string key = fmt::format("{}_factor", name);
    Constant factors{fmt::format("rope_factors_{}.weight", name),
                     narrowed(config.reals(field(key)))};
    if (factors.values.size() != config.rotated() / 2)
      config.fail(fmt::format("'{}' has {} numbers; RoPE turns {} pairs", key,
                              factors.values.size(), config.rotated() / 2));
    out.constants.push_back(std::move(factors));
  }
}

void yarn(Config& config, const model::Rotation& rotation, Settings& out) {
  const double factor = config.need_real(field("factor"));
  const double scale = config.real(field("mscale")).value_or(0.0);
  const double scale_of_all = config.real(field("mscale_all_dim")).value_or(0.0);
  const double usual = scale != 0.0 && scale_of_all != 0.0
                           ? magnitude(factor, scale) / magnitude(factor, scale_of_all)
                           : magnitude(factor, 1.0);
  const double wanted = config.real(field("attention_factor")).value_or(usual);
  out.keys.set("rope.scaling.type", "yarn");
  out.keys.set("rope.scaling.factor", float(factor));
  out.keys.set("rope.scaling.original_context_length", original_context(config));
  // The reader multiplies by YaRN's own magnitude.
  const auto share = float(wanted / magnitude(factor, 1.0));
  if (share != 1.0f) out.keys.set("rope.scaling.attn_factor", share);
  const double fast = config.real(field("beta_fast")).value_or(32.0);
  const double slow = config.real(field("beta_slow")).value_or(1.0);
  if (fast != 32.0) out.keys.set("rope.scaling.yarn_beta_fast", float(fast));
  if (slow != 1.0) out.keys.set("rope.scaling.yarn_beta_slow", float(slow));
  if ((fast != 32.0 || slow != 1.0) && !rotation.yarn_bounds)
    config.fail(
        "YaRN's 'beta_fast' and 'beta_slow' are not 32 and 1, and assay does not read others");
  // No key of a GGUF file says this: it belongs to the architecture.
  const bool whole = config.flag(field("truncate")).value_or(true);
  if (whole != rotation.yarn_whole_bounds)
    config.fail(fmt::format("YaRN's 'truncate' is {}, and this architecture's is not", whole));
}

/// Layers with a window turn without scaling, and as much of each head as the others.
void check_window(Config& config, const model::Rotation& rotation) {
  const std::string type =
      config.text("rope_parameters.sliding_attention.rope_type").value_or("default");
  const double share =
      config.real("rope_parameters.sliding_attention.partial_rotary_factor").value_or(1.0);
  if (type != "default" || (share != 1.0 && !rotation.window_dimensions))
    config.fail(
        "layers with a window have a RoPE scaling or partial_rotary_factor of their own, which "
        "assay does not implement");
}

}  // namespace

void read_rope(Config& config, const Architecture& architecture, Settings& out) {
  const auto theta = config.real(field("rope_theta") + "|rope_theta|rotary_emb_base");
  if (theta && !out.keys.find("rope.freq_base")) out.keys.set("rope.freq_base", float(*theta));
  const auto local =
      config.real("rope_parameters.sliding_attention.rope_theta|rope_local_base_freq");
  if (local && !out.keys.find("rope.freq_base_swa"))
    out.keys.set("rope.freq_base_swa", float(*local));
  if (local && local != theta && architecture.rope.window_base == model::Rotation::Base::same)
    config.fail("layers with a window have another rope_theta, which assay does not read here");
  check_window(config, architecture.rope);
  if ((theta || config.rotated() != config.head_dim()) && !out.keys.find("rope.dimension_count"))
    out.keys.set("rope.dimension_count", config.rotated());
  const std::string type =
      config.text(field("rope_type") + "|" + field("type")).value_or("default");
  if (config.failed() || out.keys.find("rope.scaling.type")) return;  // the architecture's own
  if (type == "llama3") {
    llama3(config, out);
  } else if (type == "longrope" || type == "su") {
    longrope(config, out);
  } else if (type == "yarn") {
    yarn(config, architecture.rope, out);
  } else if (type == "linear") {
    out.keys.set("rope.scaling.type", "linear");
    out.keys.set("rope.scaling.factor", float(config.need_real(field("factor"))));
  } else if (type != "default") {
    config.fail(
        fmt::format("the rope_type '{}' is not supported for '{}'; supported: default, "
                    "linear, llama3, longrope, yarn",
                    gguf::printable(type), architecture.name));
  }
}

}  // namespace assay::convert
