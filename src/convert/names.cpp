#include "convert/names.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "gguf/reader.h"

namespace assay::convert {
namespace {

using gguf::in_quotes;
using model::Architecture;
using model::Config;
using model::TensorRow;
using trace::StoredTensor;

constexpr uint64_t longest_number = 6;  // digits

/// How a tensor's name fits a row.
struct Fit {
  std::string name;  ///< GGUF's; empty: left out
  model::Change change;
  std::vector<uint64_t> numbers;
};

bool has_suffix(std::string_view name) {
  return name.ends_with(".weight") || name.ends_with(".bias");
}

/// The row's GGUF name with the block's number, and the suffix where the row holds for both.
std::string name_of(const TensorRow& row, uint64_t block, std::string_view suffix) {
  std::string name(row.name);
  if (const size_t place = name.find("{}"); place != name.npos)
    name.replace(place, 2, std::to_string(block));
  return has_suffix(name) ? name : name + std::string(suffix);
}

/// All fits among these rows.
std::vector<Fit> fits_among(std::span<const TensorRow> rows, std::string_view tensor) {
  const size_t dot = has_suffix(tensor) ? tensor.rfind('.') : tensor.size();
  std::vector<Fit> found;
  for (const TensorRow& row : rows) {
    Fit fit{"", row.change, {}};
    // The whole name, or without the suffix where the row leaves it open.
    const bool whole = fits(row.source, tensor, fit.numbers);
    if (!whole && !fits(row.source, tensor.substr(0, dot), fit.numbers)) continue;
    if (!row.name.empty())
      fit.name =
          name_of(row, fit.numbers.empty() ? 0 : fit.numbers[0], whole ? "" : tensor.substr(dot));
    found.push_back(std::move(fit));
  }
  return found;
}

std::vector<Fit> fits_of(const Architecture& architecture, std::string_view tensor) {
  std::vector<Fit> own = fits_among(architecture.conversion.tensors, tensor);
  return own.empty() ? fits_among(model::common_tensors(), tensor) : own;
}

bool is_number(const Architecture& architecture, std::string_view tensor) {
  std::vector<uint64_t> block;
  return std::ranges::any_of(architecture.conversion.numbers, [&](const model::NumberRow& row) {
    return fits(row.source, tensor, block);
  });
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  return fmt::format("{}", fmt::join(shape, " x "));
}

/// The shape after the change. Errors: the change cannot be made.
Result<std::vector<uint64_t>> shape_after(const Target& target, const Heads& heads) {
  const StoredTensor& source = *target.sources[0];
  std::vector<uint64_t> shape = source.shape;
  const auto refuse = [&](std::string_view why) {
    return Error{fmt::format("tensor {} has the shape {}: {}", in_quotes(source.name),
                             shape_text(source.shape), why)};
  };
  // A bias has a value for each row.
  const bool vector = shape.size() == 1 || target.name.ends_with(".bias");
  if (target.change != model::unchanged && shape.empty()) return refuse("a number has no rows");
  if (target.change & model::transposed) {
    if (vector) return refuse("a vector cannot be transposed");
    std::swap(shape[shape.size() - 1], shape[shape.size() - 2]);
  }
  if (!shape.empty()) {
    uint64_t& rows = shape[shape.size() - (vector ? 1 : 2)];
    if (target.change &
        (model::first_half | model::second_half | model::even_rows | model::odd_rows)) {
      if (rows % 2) return refuse("an odd number of rows has no halves");
      rows /= 2;
    }
    if (target.change & model::pair_rows && rows % heads.width)
      return refuse(fmt::format("its rows are not whole heads of {}", heads.width));
    const uint64_t fused = (heads.queries + 2 * heads.keys) * heads.width;
    if (target.change & model::groups_apart && rows != fused)
      return refuse(fmt::format("wanted {} rows of queries, keys and values", fused));
  }
  if (target.stacked) shape.insert(shape.begin(), target.sources.size());
  // Dimensions of 1 before the rows say nothing; GGUF has four at most.
  while (shape.size() > 1 && shape[0] == 1) shape.erase(shape.begin());
  if (shape.empty()) shape = {1};
  if (shape.size() > 4) return refuse("GGUF has four dimensions at most");
  return shape;
}

/// Its place in the file: what stands before the blocks, the blocks, the rest.
std::tuple<int, uint64_t, std::string> place_of(const std::string& name) {
  if (name.starts_with("blk.")) return {1, std::stoull(name.substr(4)), name};
  return {name.starts_with("token_embd") ? 0 : 2, 0, name};
}

}  // namespace

bool fits(std::string_view pattern, std::string_view name, std::vector<uint64_t>& numbers) {
  numbers.clear();
  while (true) {
    const size_t hole = pattern.find("{}");
    if (hole == pattern.npos) return pattern == name;
    if (!name.starts_with(pattern.substr(0, hole))) return false;
    name.remove_prefix(hole);
    pattern.remove_prefix(hole + 2);
    size_t digits = 0;
    uint64_t number = 0;
    while (digits < name.size() && name[digits] >= '0' && name[digits] <= '9' &&
           digits <= longest_number)
      number = 10 * number + uint64_t(name[digits++] - '0');
    const bool padded = digits > 1 && name[0] == '0';
    if (digits == 0 || digits > longest_number || padded) return false;
    name.remove_prefix(digits);
    numbers.push_back(number);
  }
}

Heads heads_of(Config& config) {
  Heads heads;
  heads.queries = config.need_integer("num_attention_heads|n_head");
  heads.keys = config.integer("num_key_value_heads").value_or(uint32_t(heads.queries));
  heads.width = config.head_dim();
  heads.rotated = config.rotated();
  if (heads.width == 0) config.fail("'head_dim' is 0");
  if (heads.keys == 0 || heads.queries % heads.keys)
    config.fail(fmt::format("num_attention_heads {} is not a multiple of num_key_value_heads {}",
                            heads.queries, heads.keys));
  return heads;
}

Status read_numbers(const Tensors& tensors, const Architecture& architecture, Config& config,
                    model::Keys& keys) {
  const uint32_t blocks = config.need_integer("num_hidden_layers|n_layer");
  if (config.failed()) return config.error();
  for (const model::NumberRow& row : architecture.conversion.numbers) {
    std::vector<float> values;
    for (uint32_t block = 0; block < blocks; ++block) {
      std::string name(row.source);
      name.replace(name.find("{}"), 2, std::to_string(block));
      const auto found = tensors.find(name);
      if (found == tensors.end() || found->second.elements != 1)
        return Error{fmt::format("tensor {} is {}", in_quotes(name),
                                 found == tensors.end() ? "missing" : "not one number")};
      const auto value = trace::to_f32(found->second);
      if (!value) return value.error();
      values.push_back((*value)[0]);
    }
    keys.set(row.key, values);
  }
  return ok();
}

Result<std::vector<Target>> find_targets(const Tensors& tensors, const Architecture& architecture,
                                         Config& config, const Heads& heads) {
  const uint32_t blocks = config.need_integer("num_hidden_layers|n_layer");
  const uint64_t unread =
      blocks + uint64_t(config.integer(architecture.conversion.unread_blocks).value_or(0));
  if (config.failed()) return config.error();
  std::map<std::string, Target> found;
  std::map<std::string, std::map<uint64_t, const StoredTensor*>> slices;
  for (const auto& [key, tensor] : tensors) {
    if (is_number(architecture, key)) continue;
    const std::vector<Fit> places = fits_of(architecture, key);
    if (places.empty())
      return Error{
          fmt::format("tensor {} has no place in a '{}' model; this folder is probably a "
                      "variant that assay does not support",
                      in_quotes(key), architecture.name)};
    for (const Fit& place : places) {
      if (place.name.empty()) continue;
      const bool beyond = place.name.starts_with("blk.") && place.numbers[0] >= blocks;
      if (beyond && place.numbers[0] < unread) continue;
      if (beyond)
        return Error{fmt::format("tensor {} is of a block beyond the {} of the configuration",
                                 in_quotes(key), blocks)};
      const bool stacked = place.numbers.size() > 1;
      // A packed matrix has a row for each output, whatever others have.
      const auto change =
          model::Change(tensor.dtype == "MXFP4" ? place.change & ~model::transposed : place.change);
      const auto [at, first] =
          found.try_emplace(place.name, Target{place.name, change, stacked, {}, {}, {}});
      if (!first && !(stacked && at->second.stacked))
        return Error{fmt::format("tensor {} and another one both belong to {}", in_quotes(key),
                                 in_quotes(place.name))};
      slices[place.name][stacked ? place.numbers[1] : 0] = &tensor;
    }
  }
  std::vector<Target> targets;
  for (auto& [name, target] : found) {
    const auto& parts = slices[name];
    for (const auto& [number, tensor] : parts) {
      if (number != target.sources.size())
        return Error{fmt::format("tensor {}: number {} of its parts is missing", in_quotes(name),
                                 target.sources.size())};
      target.sources.push_back(tensor);
      if (tensor->shape != target.sources[0]->shape || tensor->dtype != target.sources[0]->dtype)
        return Error{fmt::format("tensor {} is {} of {}, but {} is {} of {}",
                                 in_quotes(tensor->name), shape_text(tensor->shape), tensor->dtype,
                                 in_quotes(target.sources[0]->name),
                                 shape_text(target.sources[0]->shape), target.sources[0]->dtype)};
    }
    auto shape = shape_after(target, heads);
    if (!shape) return shape.error();
    target.shape = std::move(*shape);
    targets.push_back(std::move(target));
  }
  std::ranges::sort(targets, {}, [](const Target& target) { return place_of(target.name); });
  return targets;
}

}  // namespace assay::convert
