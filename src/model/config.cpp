#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "gguf/reader.h"

namespace assay::model {

namespace {

using nlohmann::json;

/// "a.b" of an object; nullptr where it is absent or null.
const json* at(const json* object, std::string_view path) {
  while (object && !path.empty()) {
    const size_t dot = std::min(path.find('.'), path.size());
    if (!object->is_object()) return nullptr;
    const auto found = object->find(std::string(path.substr(0, dot)));
    object = found == object->end() ? nullptr : &*found;
    path.remove_prefix(std::min(dot + 1, path.size()));
  }
  return object && !object->is_null() ? object : nullptr;
}

std::string text_of(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

Result<Config> Config::parse(std::string_view text, std::string path) {
  auto parsed = std::make_shared<json>(json::parse(text, nullptr, false));
  if (!parsed->is_object()) return Error{fmt::format("{}: this is not a JSON object", path)};
  return Config(std::move(parsed), std::move(path));
}

const json* Config::find(std::string_view fields) const {
  while (!fields.empty()) {
    const size_t bar = std::min(fields.find('|'), fields.size());
    if (const json* found = at(json_.get(), fields.substr(0, bar))) return found;
    fields.remove_prefix(std::min(bar + 1, fields.size()));
  }
  return nullptr;
}

void Config::fail(const std::string& detail) {
  if (!error_) error_ = Error{fmt::format("{}: {}", path_, detail)};
}

void Config::wrong(std::string_view fields, std::string_view wanted) {
  fail(fmt::format("'{}' is {}; wanted {}", fields, gguf::printable(shown(fields)), wanted));
}

std::string Config::shown(std::string_view fields) const {
  const json* found = find(fields);
  return found ? text_of(*found) : "";
}

std::optional<uint32_t> Config::integer(std::string_view fields) {
  const json* found = find(fields);
  if (!found) return {};
  const double value = found->is_number() ? found->get<double>() : -1.0;
  if (value >= 0.0 && value <= double(UINT32_MAX) && value == std::floor(value))
    return uint32_t(value);
  wrong(fields, "a whole number from 0 to 4294967295");
  return {};
}

std::optional<double> Config::real(std::string_view fields) {
  const json* found = find(fields);
  if (!found) return {};
  if (found->is_number() && std::isfinite(found->get<double>())) return found->get<double>();
  wrong(fields, "a number");
  return {};
}

std::optional<bool> Config::flag(std::string_view fields) {
  const json* found = find(fields);
  if (!found) return {};
  if (found->is_boolean()) return found->get<bool>();
  wrong(fields, "true or false");
  return {};
}

std::optional<std::string> Config::text(std::string_view fields) {
  const json* found = find(fields);
  if (!found) return {};
  if (found->is_string()) return found->get<std::string>();
  wrong(fields, "a text");
  return {};
}

std::vector<double> Config::reals(std::string_view fields) {
  const json* found = find(fields);
  std::vector<double> values;
  if (!found) return values;
  const bool good = found->is_array() && std::ranges::all_of(*found, [](const json& value) {
                      return value.is_number() && std::isfinite(value.get<double>());
                    });
  if (!good) wrong(fields, "a list of numbers");
  for (const json& value : good ? *found : json::array()) values.push_back(value.get<double>());
  return values;
}

std::vector<std::string> Config::texts(std::string_view fields) {
  const json* found = find(fields);
  std::vector<std::string> values;
  if (!found) return values;
  const bool good = found->is_array() && std::ranges::all_of(*found, [](const json& value) {
                      return value.is_string();
                    });
  if (!good) wrong(fields, "a list of texts");
  for (const json& value : good ? *found : json::array()) values.push_back(value);
  return values;
}

std::vector<bool> Config::layers_of_type(std::string_view kind) {
  std::vector<bool> layers;
  for (const std::string& each : texts("layer_types")) layers.push_back(each == kind);
  return layers;
}

std::vector<uint32_t> Config::integers_of_layers(std::string_view field, uint32_t layers) {
  std::vector<uint32_t> values(layers, need_integer(field));
  for (const std::string& name : names("per_layer_config")) {
    uint32_t layer = 0;
    const char* end = name.data() + name.size();
    const auto read = std::from_chars(name.data(), end, layer);
    if (read.ec != std::errc() || read.ptr != end || layer >= layers)
      fail(fmt::format("'per_layer_config' has '{}', which is not one of {} blocks",
                       gguf::printable(name), layers));
    else if (const auto own = integer(fmt::format("per_layer_config.{}.{}", name, field)))
      values[layer] = *own;
  }
  return values;
}

std::vector<std::string> Config::names(std::string_view fields) {
  std::vector<std::string> names;
  const json* found = find(fields);
  if (!found) return names;
  if (!found->is_object())
    wrong(fields, "an object");
  else
    for (const auto& entry : found->items()) names.push_back(entry.key());
  return names;
}

uint32_t Config::need_integer(std::string_view fields) {
  if (!has(fields)) fail(fmt::format("'{}' is missing", fields));
  return integer(fields).value_or(1);
}

double Config::need_real(std::string_view fields) {
  if (!has(fields)) fail(fmt::format("'{}' is missing", fields));
  return real(fields).value_or(1.0);
}

uint32_t Config::head_dim() {
  if (const auto own = integer("head_dim")) return *own;
  const uint32_t heads = need_integer("num_attention_heads|n_head");
  const uint32_t width = need_integer("hidden_size|n_embd");
  if (heads == 0 || width % heads != 0)
    fail(fmt::format("hidden_size {} is not a multiple of num_attention_heads {}", width, heads));
  return failed() ? 1 : width / heads;
}

uint32_t Config::rotated() {
  if (turned_part == 0) return head_dim();
  const double share = real(
                           "rope_parameters.partial_rotary_factor|"
                           "rope_parameters.full_attention.partial_rotary_factor|"
                           "partial_rotary_factor|rope_pct|rotary_pct")
                           .value_or(turned_part);
  if (!(share > 0.0 && share <= 1.0))
    fail(fmt::format("a partial_rotary_factor of {} is not in 0 … 1", share));
  const auto turned = failed() ? 2 : uint32_t(double(head_dim()) * share);
  if (turned % 2)
    fail(fmt::format("a partial_rotary_factor of {} turns {} values of each head, an odd number",
                     share, turned));
  return turned;
}

void Keys::set(std::string_view name, KeyValue value) {
  const auto found = std::ranges::find(entries_, name, &std::pair<std::string, KeyValue>::first);
  if (found == entries_.end())
    entries_.emplace_back(name, std::move(value));
  else
    found->second = std::move(value);
}

const KeyValue* Keys::find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &std::pair<std::string, KeyValue>::first);
  return found == entries_.end() ? nullptr : &found->second;
}

}  // namespace assay::model
