// The rotary tables of a decoder: which layers turn, and by what.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "gguf/reader.h"
#include "model/numbers.h"
#include "op/rope.h"
#include "op/trigonometry.h"

namespace assay::model {

namespace {

/// Both kinds of layers, those without and those with a window.
struct Parameters {
  op::RopeParameters whole, windowed;
  bool adjacent = false;
  std::vector<uint32_t> sections = {};  ///< where they count
  std::vector<float> factors = {};
};

/// The factors of a tensor; none where it is absent.
std::vector<float> read_factors(Reader& read, const std::string& tensor, uint32_t pairs) {
  if (!read.has_tensor(tensor)) return {};
  std::vector<float> factors = read.values(tensor, pairs);
  for (const float factor : factors)
    if (!std::isfinite(factor) || factor == 0)
      read.fail(
          fmt::format("{} holds the factor {}; a factor must be finite and not 0", tensor, factor));
  return factors;
}

/// The factors that divide RoPE's frequencies. `original`: the context that the short factors are
/// for.
std::vector<float> choose_factors(Reader& read, RopeFactors kind, uint32_t pairs, uint32_t original,
                                  Numbers& n) {
  if (kind == RopeFactors::unused) {
    for (const char* name : {"rope_freqs", "rope_factors_long", "rope_factors_short"})
      read.accept_tensor(std::string(name) + ".weight");
    return {};
  }
  if (kind != RopeFactors::long_short) return read_factors(read, "rope_freqs.weight", pairs);
  std::vector<float> far = read_factors(read, "rope_factors_long.weight", pairs);
  std::vector<float> near = read_factors(read, "rope_factors_short.weight", pairs);
  if (far.empty() && near.empty()) return {};
  const bool beyond = n.context > original;
  n.rope_factors = beyond ? "long" : "short";
  return beyond ? far : near;
}

uint32_t read_dimensions(Reader& read, std::string_view key, uint32_t most, uint32_t fallback) {
  const uint32_t dimensions = read.integer_or(key, 2, most, fallback);
  if (dimensions % 2) read.fail(fmt::format("{} {} is odd", read.key(key), dimensions));
  return dimensions;
}

op::RopeScaling scaling_of(Reader& read, const std::string& name) {
  if (name == "linear" || name == "longrope") return op::RopeScaling::linear;
  if (name == "yarn") return op::RopeScaling::yarn;
  if (name != "none")
    read.fail(fmt::format("{} '{}' is not supported; supported: none, linear, yarn, longrope",
                          read.key("rope.scaling.type"), gguf::printable(name)));
  return op::RopeScaling::unscaled;
}

/// The keys rope.scaling.yarn_*, where the architecture reads them.
void read_yarn(Reader& read, const Rotation& rotation, op::RopeParameters& rope) {
  rope.whole_bounds = rotation.yarn_whole_bounds;
  rope.beta_fast = rotation.beta_fast;
  if (rotation.yarn_log_multiplier)
    rope.log_multiplier = read.real_or("rope.scaling.yarn_log_multiplier", 0, 1e6, 0);
  const bool yarn = rope.scaling == op::RopeScaling::yarn;
  if (!rotation.yarn_bounds || !(yarn || rotation.llama_cpp_reads_bounds)) return;
  rope.beta_fast = read.real_or("rope.scaling.yarn_beta_fast", 1e-30, 1e30, rope.beta_fast);
  rope.beta_slow = read.real_or("rope.scaling.yarn_beta_slow", 1e-30, 1e30, rope.beta_slow);
  if (!rotation.llama_cpp_reads_bounds) return;
  const double of_type = yarn ? 1 : 0;
  const double ext = read.real_or("rope.scaling.yarn_ext_factor", -1e30, 1e30, of_type);
  if (ext >= 0 && ext != of_type)
    read.fail(fmt::format("{} is {}, and assay does not implement it",
                          read.key("rope.scaling.yarn_ext_factor"), ext));
  if (of_type == 0 && read.real_or("rope.scaling.yarn_attn_factor", -1e30, 1e30, 1) != 1)
    read.fail(fmt::format("{} is not 1, and assay does not implement it",
                          read.key("rope.scaling.yarn_attn_factor")));
}

void read_sections(Reader& read, const Rotation& rotation, Parameters& p) {
  constexpr std::string_view key = "rope.dimension_sections";
  using Sections = Rotation::Sections;
  if (rotation.sections == Sections::ignored) return;
  const std::vector<uint32_t> sections = read.list(key, largest_width);
  const bool set = sections.size() >= 2 && sections[0] > 0 && sections[1] > 0;
  if (rotation.sections != Sections::where_set && !set)
    read.fail(fmt::format("{} is {}", read.key(key), sections.empty() ? "missing" : "zero"));
  if (sections.size() > 4) read.fail(fmt::format("{} has more than 4 sections", read.key(key)));
  if (!set) return;
  p.adjacent = false;
  p.sections = sections;
}

/// Of a layer with a window: what is its own.
void read_window(Reader& read, const Rotation& rotation, Parameters& p, uint32_t key_dim) {
  op::RopeParameters& rope = p.windowed;
  rope = p.whole;
  const double base = rotation.window_base == Rotation::Base::own_10000 ? 10000 : rope.base;
  if (rotation.window_base != Rotation::Base::same)
    rope.base = read.real_or("rope.freq_base_swa", 1e-30, 1e30, base);
  if (rotation.window_scaling != Rotation::Scaling::same) rope.scaling = op::RopeScaling::unscaled;
  if (rotation.window_scaling == Rotation::Scaling::none) rope.attention_factor = 1;
  constexpr std::string_view key = "rope.dimension_count_swa";
  const uint32_t own = read_dimensions(read, key, key_dim, std::min(rope.dimensions, key_dim));
  if (rotation.window_dimensions)
    rope.dimensions = own;
  else if (own != rope.dimensions)
    read.fail(fmt::format("{} is {}, not {}: assay does not implement it", read.key(key), own,
                          rope.dimensions));
}

/// Text has one position for all sections but the fourth, whose position is 0. Interleaved sections
/// have no fourth; a pair beyond the three is in the first, unless it is held.
void hold_fourth_section(const Rotation& rotation, const std::vector<uint32_t>& sections,
                         op::RopeTable& table) {
  const bool interleaved = rotation.sections == Rotation::Sections::interleaved;
  if (sections.empty() || (interleaved && !rotation.sections_hold_rest)) return;
  const auto section = [&](uint32_t i) { return i < sections.size() ? sections[i] : 0; };
  const uint32_t turning = section(0) + section(1) + section(2), all = turning + section(3);
  for (uint32_t i = 0; i < table.frequency.size(); ++i) {
    const uint32_t sector = i % all;
    if (interleaved ? sector >= 3 * section(sector % 3) : sector >= turning) table.frequency[i] = 0;
  }
}

bool turns(const Rotation& rotation, const Numbers& n, const std::vector<uint32_t>& list,
           uint32_t layer) {
  using Layers = Rotation::Layers;
  if (!list.empty()) return list[layer] != 0;
  const bool windows = std::ranges::any_of(n.layers, [](const auto& l) { return l.window > 0; });
  const bool windowed = n.layers[layer].window > 0 || !windows;
  switch (rotation.layers) {
    case Layers::all:
      return true;
    case Layers::windowed:
      return windowed;
    case Layers::windowed_or_dense:
      return windowed || !n.layers[layer].experts;
    case Layers::all_but_each_fourth:
      return (layer + 1) % 4 != 0;
    case Layers::all_but_first_of_four:
      return !windows || n.layers.size() == 4 || layer % 4 != 0;
  }
  return true;
}

/// Two tables that are the same are one.
uint32_t index_of(const op::RopeTable& table, std::vector<op::RopeTable>& tables) {
  const auto same = std::ranges::find_if(tables, [&](const op::RopeTable& other) {
    return other.dimensions == table.dimensions && other.adjacent == table.adjacent &&
           other.magnitude == table.magnitude && other.frequency == table.frequency;
  });
  if (same != tables.end()) return uint32_t(same - tables.begin());
  tables.push_back(table);
  return uint32_t(tables.size() - 1);
}

void check_angles(Reader& read, const op::RopeTable& table, const Numbers& n) {
  double fastest = 0;  // radians a position
  for (const double frequency : table.frequency) fastest = std::max(fastest, std::fabs(frequency));
  if (!(double(n.context) * fastest <= 0x1p24))
    read.fail(
        fmt::format("{} positions and RoPE's frequencies make angles beyond 2^24, where they are "
                    "not exact; -c sets a smaller limit, {:.0f} at most",
                    n.context, 0x1p24 / fastest));
}

/// The keys of layers without a window.
op::RopeParameters read_whole(Reader& read, const Rotation& rotation, const Numbers& n,
                              const std::string& scaling, uint32_t key_dim) {
  op::RopeParameters rope;
  rope.dimensions = read_dimensions(read, "rope.dimension_count", key_dim, key_dim);
  rope.base = read.real_or("rope.freq_base", 1e-30, 1e30, 10000.0);
  const char* factor =
      read.has_key("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  rope.factor = read.real_or_off(factor, 1e-30, 1e30, 1.0);
  rope.scaling = scaling_of(read, scaling);
  rope.original_context = n.original_context;
  rope.attention_factor = read.real_or("rope.scaling.attn_factor", -1e6, 1e6, 1.0);
  read_yarn(read, rotation, rope);
  const double alpha = rotation.base_grows ? read.real_or("rope.scaling.alpha", 0, 1e30, 0) : 0;
  if (alpha > 0 && key_dim > 2)
    rope.base *= op::power(alpha, double(key_dim) / double(key_dim - 2));
  return rope;
}

void make_tables(Reader& read, const Rotation& rotation, const Parameters& p,
                 const std::vector<uint32_t>& list, Numbers& n) {
  for (uint32_t i = 0; i < n.layers.size() && !read.failed(); ++i) {
    const LayerNumbers& layer = n.layers[i];
    if (layer.kv_heads == 0 || !turns(rotation, n, list, i)) continue;
    const op::RopeParameters& rope = layer.window ? p.windowed : p.whole;
    if (!rope.factors.empty() && rope.factors.size() != rope.dimensions / 2) {
      read.fail(
          fmt::format("{} differs from dimension_count where there are factors: assay does "
                      "not implement it",
                      read.key("rope.dimension_count_swa")));
      return;
    }
    op::RopeTable table = op::make_rope(rope, p.adjacent);
    hold_fourth_section(rotation, p.sections, table);
    check_angles(read, table, n);
    n.layers[i].rope = index_of(table, n.tables);
  }
}

/// What grows with the position and multiplies the queries.
void read_temperature(Reader& read, const Temperature& temperature, Numbers& n) {
  op::PositionGrowth growth;
  growth.slope = read.real_or("attention.temperature_scale", -1e6, 1e6, temperature.slope);
  growth.every = n.original_context;
  growth.offset = temperature.offset;
  if (temperature.every) {
    growth.every = read.integer_or("attention.temperature_length", 0, most_positions, 0);
    if (growth.every == 0) growth.every = temperature.every;
  }
  if (growth.slope == 0 || read.failed()) return;
  n.tables.push_back(op::make_growth(growth));
  n.temperature = uint32_t(n.tables.size() - 1);
}

}  // namespace

void read_rope(Reader& read, const Architecture& architecture, Numbers& n) {
  const Rotation& rotation = architecture.rope;
  constexpr std::string_view original_key = "rope.scaling.original_context_length",
                             pattern = "attention.rope_pattern";
  const uint32_t original = read.integer_or(original_key, 0, most_positions, n.trained_context);
  n.original_context = original ? original : n.trained_context;
  const std::string scaling = read.text_or("rope.scaling.type", "linear");
  const bool off = rotation.pairs == Rotation::Pairs::none ||
                   (rotation.only_with && rotation.only_with != n.layers.size()) ||
                   (rotation.finetuned_switches && !read.flag_or("rope.scaling.finetuned", true));
  uint32_t whole_dim = 0, window_dim = 0;
  for (const LayerNumbers& layer : n.layers)
    (layer.window ? window_dim : whole_dim) = layer.key_dim;
  if (whole_dim == 0) whole_dim = window_dim;  // no layer is without a window

  Parameters p;
  p.adjacent = rotation.pairs == Rotation::Pairs::adjacent;
  if (rotation.pairs != Rotation::Pairs::none) {
    p.whole = read_whole(read, rotation, n, scaling, whole_dim);
    read_sections(read, rotation, p);
    if (window_dim) read_window(read, rotation, p, window_dim);
  }
  RopeFactors kind = rotation.factors;
  if (kind != RopeFactors::unused && scaling == "longrope") kind = RopeFactors::long_short;
  if (read.failed()) return;
  if (rotation.pairs != Rotation::Pairs::none || kind == RopeFactors::unused)
    p.factors = choose_factors(read, kind, p.whole.dimensions / 2, original, n);
  std::vector<uint32_t> list;
  if (rotation.listed) list = read.list(pattern, 1);
  if (!list.empty() && list.size() != n.blocks)
    read.fail(fmt::format("{} is a list that does not give a count for each of {} blocks",
                          read.key(pattern), n.blocks));
  if (!off && !read.failed()) {
    p.whole.factors = p.factors;
    if (rotation.window_scaling == Rotation::Scaling::same) p.windowed.factors = p.factors;
    make_tables(read, rotation, p, list, n);
  }
  if (const auto& temperature = architecture.attention.temperature; temperature && !read.failed())
    read_temperature(read, *temperature, n);
}

}  // namespace assay::model
