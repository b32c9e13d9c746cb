#include "gguf/tokenizer_rules.h"

#include <fmt/format.h>

#include "gguf/reader.h"

namespace assay::gguf {
namespace {

constexpr std::string_view prefix = "tokenizer.ggml.";

Error refuse(const File& file, std::string_view detail) {
  return Error{fmt::format("{}: {}", file.path(), detail)};
}

enum class Elements { strings, reals, integers };

bool holds(const Array& array, Elements wanted) {
  switch (array.type) {
    case ValueType::string:
      return wanted == Elements::strings;
    case ValueType::f32:
    case ValueType::f64:
      return wanted == Elements::reals;
    case ValueType::boolean:
    case ValueType::array:
      return false;
    default:
      return wanted == Elements::integers;
  }
}

/// Length of the array under `key`; empty where absent.
Result<std::optional<uint64_t>> array_length(const File& file, std::string_view name,
                                             Elements wanted) {
  const std::string key = std::string(prefix) + std::string(name);
  const Value* value = file.find(key);
  if (value == nullptr) return std::optional<uint64_t>();
  const auto* array = std::get_if<Array>(&value->data);
  if (array == nullptr || !holds(*array, wanted)) {
    constexpr const char* names[] = {"strings", "floats", "integers"};
    return refuse(file,
                  fmt::format("{} must be an array of {}", key, names[static_cast<int>(wanted)]));
  }
  return std::optional(array->count);
}

uint64_t token_count(const File& file) {
  const Value* tokens = file.find("tokenizer.ggml.tokens");
  const auto* array = tokens ? std::get_if<Array>(&tokens->data) : nullptr;
  return array ? array->count : 0;
}

/// The number of an integer value, UINT64_MAX for a negative one; empty where it is no integer.
std::optional<uint64_t> integer_of(const Value& value) {
  if (const auto* natural = std::get_if<uint64_t>(&value.data)) return *natural;
  const auto* integer = std::get_if<int64_t>(&value.data);
  if (!integer) return std::nullopt;
  return *integer < 0 ? UINT64_MAX : static_cast<uint64_t>(*integer);
}

std::string text_of(const Value& value) {
  if (const auto* integer = std::get_if<int64_t>(&value.data)) return fmt::format("{}", *integer);
  return fmt::format("{}", std::get<uint64_t>(value.data));
}

}  // namespace

Status check_tokenizer(const File& file) {
  const auto tokens = array_length(file, "tokens", Elements::strings);
  if (!tokens) return tokens.error();
  const auto scores = array_length(file, "scores", Elements::reals);
  if (!scores) return scores.error();
  const auto types = array_length(file, "token_type", Elements::integers);
  if (!types) return types.error();
  for (const auto& [name, length] :
       {std::pair{"scores", *scores}, std::pair{"token_type", *types}}) {
    if (length && *length != tokens->value_or(0)) {
      return refuse(file, fmt::format("{}{} has {} elements, but there are {} tokens", prefix, name,
                                      *length, tokens->value_or(0)));
    }
  }
  return ok();
}

Result<std::optional<uint32_t>> special_id(const File& file, std::string_view name) {
  const std::string key = std::string(prefix) + std::string(name);
  const Value* value = file.find(key);
  if (!value) return std::optional<uint32_t>();
  const auto id = integer_of(*value);
  if (!id) return refuse(file, fmt::format("{} is not an integer", in_quotes(key)));
  if (*id >= token_count(file)) return std::optional<uint32_t>();
  return std::optional(static_cast<uint32_t>(*id));
}

std::string ids_outside(const File& file) {
  const uint64_t count = token_count(file);
  std::string first;
  uint64_t more = 0;
  for (const auto& [key, value] : file.metadata()) {
    if (!key.starts_with(prefix) || !key.ends_with("_token_id")) continue;
    const auto id = integer_of(value);
    if (!id || *id < count) continue;
    if (first.empty())
      first = fmt::format("{} is {}, outside the vocabulary of {} tokens", in_quotes(key),
                          text_of(value), count);
    else
      ++more;
  }
  if (first.empty()) return first;
  return first + (more ? fmt::format(" (and {} more such ids)", more) : "") +
         ": taken as if it were absent";
}

}  // namespace assay::gguf
