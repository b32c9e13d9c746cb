#include "model/departures.h"

#include <fmt/format.h>

#include "gguf/reader.h"
#include "model/decoder.h"

namespace assay::model {

namespace {

struct Departure {
  void (*apply)(Architecture&);
  std::string_view key;  ///< whose value the sentence shows
  std::string_view sentence;
};

constexpr Departure table[] = {
    {[](Architecture& a) {
       if (a.windows.llama_cpp_ignores) a.windows = {};
     },
     "attention.sliding_window",
     "beyond it assay attends as the model's own code does; llama.cpp switches the window off"},
    {[](Architecture& a) {
       if (a.windows.llama_cpp_size) a.windows.fixed_size = a.windows.llama_cpp_size;
     },
     "attention.sliding_window", "llama.cpp takes its own number instead"},
    {[](Architecture& a) { a.windows.lists_count = !a.windows.unlisted_with; },
     "attention.sliding_window_pattern",
     "assay gives windows to the layers that it lists; llama.cpp goes by the count of layers"},
    {[](Architecture& a) {
       if (!a.rope.llama_cpp_reads_bounds) a.rope.yarn_bounds = false;
     },
     "rope.scaling.yarn_beta_fast",
     "it and yarn_beta_slow bound YaRN's ramp, as in the model's own code; llama.cpp takes 32 and "
     "1"},
    {[](Architecture& a) { a.rope.yarn_whole_bounds = true; }, "rope.scaling.type",
     "YaRN's ramp begins and ends between pairs, as in the model's own code; llama.cpp takes whole "
     "pairs"},
    {[](Architecture& a) { a.rope.sections_hold_rest = true; }, "rope.dimension_sections",
     "pairs that are in none of the interleaved sections turn, as in the model's own code; "
     "llama.cpp does not turn them"},
    {[](Architecture& a) {
       if (a.rope.layers != Rotation::Layers::all) a.rope.listed = false;
     },
     "attention.rope_pattern", "it says which layers turn; llama.cpp has a fixed rule"},
    {[](Architecture& a) {
       if (a.attention.root_of_width_with) a.attention.scale = Attention::Scale::root_of_length;
     },
     "attention.scale", "it scales attention; llama.cpp goes by the count of layers"},
    {[](Architecture& a) { a.ffn.named_activation = false; }, "hidden_activation",
     "it says which GELU; llama.cpp takes the one by tanh"},
    {[](Architecture& a) {
       if (a.experts.llama_cpp_keeps_weights) a.experts.renormalise = Experts::Renormalise::never;
     },
     "expert_weights_norm",
     "the weights of the chosen experts are divided by their sum; llama.cpp leaves them as they "
     "are"},
    {[](Architecture& a) {
       if (a.experts.renormalise == Experts::Renormalise::key_or_always)
         a.experts.renormalise = Experts::Renormalise::always;
     },
     "expert_weights_norm",
     "the weights of the chosen experts are left as they are; llama.cpp divides them by their sum"},
    {[](Architecture& a) { a.attention.shares_last_two = a.attention.shares_caches; },
     "attention.shared_kv_layers",
     "a layer without a cache reads that of the last layer of its kind that has one; llama.cpp "
     "goes "
     "by its place"},
};

bool equal(const op::RopeTable& a, const op::RopeTable& b) {
  return a.dimensions == b.dimensions && a.adjacent == b.adjacent && a.magnitude == b.magnitude &&
         a.frequency == b.frequency;
}

/// Whether two programs of one file give the same numbers as far as departures go.
bool equal(const op::Program& a, const op::Program& b, uint32_t positions) {
  if (a.operations.size() != b.operations.size()) return false;
  const auto seen = [&](uint32_t window) { return window < positions ? window : 0; };
  for (size_t i = 0; i < a.operations.size(); ++i) {
    const op::Operation &x = a.operations[i], &y = b.operations[i];
    if (x.name != y.name || x.of.index() != y.of.index()) return false;
    if (x.is<op::Rope>() && !equal(a.rope_of(x), b.rope_of(y))) return false;
    if (const auto* of = x.as<op::Attend>())
      if (seen(of->window) != seen(y.as<op::Attend>()->window) ||
          of->cache != y.as<op::Attend>()->cache || of->scale != y.as<op::Attend>()->scale)
        return false;
    if (const auto* of = x.as<op::Route>())
      if (of->renormalise != y.as<op::Route>()->renormalise) return false;
    if (const auto* of = x.as<op::Gate>())
      if (of->activation != y.as<op::Gate>()->activation) return false;
    if (const auto* of = x.as<op::Activate>())
      if (of->activation != y.as<op::Activate>()->activation) return false;
  }
  return true;
}

std::string text_of(const gguf::File& file, const std::string& key) {
  const gguf::Value* value = file.find(key);
  if (!value) return fmt::format("without {}", key);
  if (const auto* x = std::get_if<uint64_t>(&value->data)) return fmt::format("{} is {}", key, *x);
  if (const auto* x = std::get_if<int64_t>(&value->data)) return fmt::format("{} is {}", key, *x);
  if (const auto* x = std::get_if<double>(&value->data)) return fmt::format("{} is {:g}", key, *x);
  if (const auto* x = std::get_if<std::string_view>(&value->data))
    return fmt::format("{} is '{}'", key, gguf::printable(*x));
  return fmt::format("{} is a list", key);
}

}  // namespace

Architecture as_llama_cpp_reads(const Architecture& architecture) {
  Architecture changed = architecture;
  for (const Departure& departure : table) departure.apply(changed);
  return changed;
}

std::vector<std::string> departures_of(const gguf::File& file, uint32_t context,
                                       uint32_t positions) {
  std::vector<std::string> sentences;
  const auto name = file.string_value("general.architecture");
  const Architecture* architecture = name && *name ? find_architecture(**name) : nullptr;
  if (!architecture) return sentences;
  const auto own = build_decoder(file, *architecture, context);
  if (!own) return sentences;
  for (const Departure& departure : table) {
    Architecture changed = *architecture;
    departure.apply(changed);
    const auto theirs = build_decoder(file, changed, context);
    if (theirs && equal(*own, *theirs, positions)) continue;
    sentences.push_back(fmt::format(
        "{}: {}", text_of(file, fmt::format("{}.{}", architecture->name, departure.key)),
        departure.sentence));
  }
  return sentences;
}

}  // namespace assay::model
