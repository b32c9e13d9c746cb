// Reads numbers and words of a JSON object from a hostile file, checks each, and keeps the first
// error.
#pragma once

#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "trace/shallow_json.h"

namespace assay::cases {

class Fields {
 public:
  /// `what` names the object in messages; `problem` must outlive this.
  Fields(const std::string& text, std::string what, std::string& problem)
      : json_(trace::parse_shallow(text)), what_(std::move(what)), problem_(problem) {
    if (!json_.is_object()) fail("is not a JSON object");
  }

  uint64_t integer(const char* key, uint64_t low, uint64_t high) {
    const nlohmann::json* value = find(key);
    if (value && value->is_number_unsigned() && *value >= low && *value <= high)
      return value->get<uint64_t>();
    fail(std::string("has no good number '") + key + "'");
    return low;
  }
  double number(const char* key) {
    const nlohmann::json* value = find(key);
    if (value && value->is_number() && std::isfinite(value->get<double>()))
      return value->get<double>();
    fail(std::string("has no number '") + key + "'");
    return 0;
  }
  bool flag(const char* key) {
    const nlohmann::json* value = find(key);
    if (value && value->is_boolean()) return value->get<bool>();
    fail(std::string("does not say whether '") + key + "'");
    return false;
  }
  std::string text(const char* key) {
    const nlohmann::json* value = find(key);
    if (value && value->is_string()) return value->get<std::string>();
    fail(std::string("has no text '") + key + "'");
    return "";
  }
  size_t choice(const char* key, std::span<const std::string_view> names) {
    const std::string name = text(key);
    for (size_t i = 0; i < names.size(); ++i)
      if (names[i] == name) return i;
    fail(std::string("has an unknown '") + key + "'");
    return 0;
  }
  bool has(const char* key) const { return find(key) != nullptr; }
  bool is_null(const char* key) const {
    const nlohmann::json* value = find(key);
    return value && value->is_null();
  }

 private:
  const nlohmann::json* find(const char* key) const {
    if (!json_.is_object()) return nullptr;
    const auto found = json_.find(key);
    return found == json_.end() ? nullptr : &*found;
  }
  void fail(const std::string& why) {
    if (problem_.empty()) problem_ = "its " + what_ + " " + why;
  }

  nlohmann::json json_;
  std::string what_;
  std::string& problem_;
};

/// Reads a JSON list of integers from 0 to `limit`; false if it is not such a list, or is longer
/// than `most`.
template <class T>
bool read_list(const std::string& text, std::vector<T>& out, uint64_t limit, uint64_t most) {
  const nlohmann::json json = trace::parse_shallow(text);
  if (!json.is_array() || json.size() > most) return false;
  for (const auto& one : json) {
    if (!one.is_number_unsigned() || one > limit) return false;
    out.push_back(one.get<T>());
  }
  return true;
}
inline bool read_number(const std::string& text, uint64_t& out, uint64_t limit) {
  const nlohmann::json json = trace::parse_shallow(text);
  if (!json.is_number_unsigned() || json > limit) return false;
  out = json.get<uint64_t>();
  return true;
}

}  // namespace assay::cases
