// What every tokenizer's metadata must obey, whichever tokenizer it is.
#include <fmt/format.h>

#include "gguf/parse.h"

namespace assay::gguf {
namespace {

constexpr std::string_view prefix = "tokenizer.ggml.";

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
Result<std::optional<uint64_t>> array_length(const Reader& reader, const Contents& contents,
                                             std::string_view name, Elements wanted) {
  const std::string key = std::string(prefix) + std::string(name);
  const Value* value = find_value(contents, key);
  if (value == nullptr) return std::optional<uint64_t>();
  const auto* array = std::get_if<Array>(&value->data);
  if (array == nullptr || !holds(*array, wanted)) {
    constexpr const char* names[] = {"strings", "floats", "integers"};
    return reader.error(
        fmt::format("{} must be an array of {}", key, names[static_cast<int>(wanted)]));
  }
  return std::optional(array->count);
}

Status check_special_ids(const Reader& reader, const Contents& contents, uint64_t vocabulary) {
  for (const auto& [key, value] : contents.metadata) {
    if (!key.starts_with(prefix) || !key.ends_with("_token_id")) continue;
    const auto* natural = std::get_if<uint64_t>(&value.data);
    const auto* integer = std::get_if<int64_t>(&value.data);
    if (natural == nullptr && integer == nullptr) {
      return reader.error(fmt::format("{} is not an integer", in_quotes(key)));
    }
    if (integer != nullptr && *integer < 0) {
      return reader.error(fmt::format("{} is {}; ids are not negative", in_quotes(key), *integer));
    }
    const uint64_t id = natural != nullptr ? *natural : static_cast<uint64_t>(*integer);
    if (id >= vocabulary) {
      return reader.error(fmt::format("{} is {}, outside the vocabulary of {} tokens",
                                      in_quotes(key), id, vocabulary));
    }
  }
  return ok();
}

}  // namespace

Status check_tokenizer(const Reader& reader, const Contents& contents) {
  const auto tokens = array_length(reader, contents, "tokens", Elements::strings);
  if (!tokens) return tokens.error();
  const auto scores = array_length(reader, contents, "scores", Elements::reals);
  if (!scores) return scores.error();
  const auto types = array_length(reader, contents, "token_type", Elements::integers);
  if (!types) return types.error();
  for (const auto& [name, length] :
       {std::pair{"scores", *scores}, std::pair{"token_type", *types}}) {
    if (length && *length != tokens->value_or(0)) {
      return reader.error(fmt::format("{}{} has {} elements, but there are {} tokens", prefix, name,
                                      *length, tokens->value_or(0)));
    }
  }
  return *tokens ? check_special_ids(reader, contents, **tokens) : ok();
}

}  // namespace assay::gguf
