// A Hugging Face configuration (config.json), and the keys of the GGUF file that come from it.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/result.h"

namespace assay::model {

/// Reads fields and keeps the first error, as Reader does. A field is "a|b.c": the first of these
/// that is there and not null; a dot leads into an object. Nothing where there is none.
class Config {
 public:
  /// `path` begins every error. Errors: not a JSON object.
  static Result<Config> parse(std::string_view text, std::string path);

  bool has(std::string_view fields) const { return find(fields) != nullptr; }
  std::optional<uint32_t> integer(std::string_view fields);
  std::optional<double> real(std::string_view fields);
  std::optional<bool> flag(std::string_view fields);
  std::optional<std::string> text(std::string_view fields);
  /// Empty where there is none.
  std::vector<double> reals(std::string_view fields);
  std::vector<std::string> texts(std::string_view fields);
  /// For each block, whether `layer_types` names it so; empty where there is none.
  std::vector<bool> layers_of_type(std::string_view kind);
  /// Of each block: the field, or what `per_layer_config` has for the block in its place.
  std::vector<uint32_t> integers_of_layers(std::string_view field, uint32_t layers);
  /// The names in an object; empty where there is none.
  std::vector<std::string> names(std::string_view fields);
  /// The value as it is written there, without a text's quotes; "" where there is none.
  std::string shown(std::string_view fields) const;

  /// The values that a model cannot do without: an error where there is none.
  uint32_t need_integer(std::string_view fields);
  double need_real(std::string_view fields);

  /// Width of a head: head_dim, else hidden_size / num_attention_heads.
  uint32_t head_dim();
  /// Values of each head that RoPE turns.
  uint32_t rotated();

  void fail(const std::string& detail);
  bool failed() const { return error_.has_value(); }
  const Error& error() const { return *error_; }

  /// The class's model_type, "mistral"; set by architecture_of().
  std::string_view type;
  /// Its Conversion::turned_part; set there, too.
  double turned_part = 0;
  /// RoPE's base where the configuration has none.
  double base = 10000;

 private:
  Config(std::shared_ptr<const nlohmann::json> json, std::string path)
      : json_(std::move(json)), path_(std::move(path)) {}
  const nlohmann::json* find(std::string_view fields) const;
  void wrong(std::string_view fields, std::string_view wanted);

  std::shared_ptr<const nlohmann::json> json_;
  std::string path_;
  std::optional<Error> error_;
};

using KeyValue = std::variant<uint32_t, float, bool, std::string, std::vector<int32_t>,
                              std::vector<float>, std::vector<bool>>;

/// Keys without "ARCHITECTURE.", in the order in which they were set first. One that belongs to no
/// architecture has a dot before it: ".xielu.beta".
class Keys {
 public:
  /// Replaces an earlier value.
  void set(std::string_view name, KeyValue value);
  const KeyValue* find(std::string_view name) const;
  const std::vector<std::pair<std::string, KeyValue>>& all() const { return entries_; }

 private:
  std::vector<std::pair<std::string, KeyValue>> entries_;
};

}  // namespace assay::model
