// One metadata value: type u32, then a number, a boolean byte, a string, or an array
// (element type u32, count u64, elements).
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "gguf/parse.h"

namespace assay::gguf {
namespace {

struct TypeFacts {
  const char* name;
  uint64_t bytes;
};
constexpr std::array<TypeFacts, 13> facts{{{"u8", 1},
                                           {"i8", 1},
                                           {"u16", 2},
                                           {"i16", 2},
                                           {"u32", 4},
                                           {"i32", 4},
                                           {"f32", 4},
                                           {"bool", 1},
                                           {"string", 0},
                                           {"array", 0},
                                           {"u64", 8},
                                           {"i64", 8},
                                           {"f64", 8}}};

template <class T>
T load(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(T));
  return value;
}

using Scalar = std::variant<uint64_t, int64_t, double>;

/// A number of any type but string and array.
Scalar load_scalar(ValueType type, const uint8_t* at) {
  switch (type) {
    case ValueType::u8:
    case ValueType::boolean:
      return uint64_t{*at};
    case ValueType::i8:
      return int64_t{load<int8_t>(at)};
    case ValueType::u16:
      return uint64_t{load<uint16_t>(at)};
    case ValueType::i16:
      return int64_t{load<int16_t>(at)};
    case ValueType::u32:
      return uint64_t{load<uint32_t>(at)};
    case ValueType::i32:
      return int64_t{load<int32_t>(at)};
    case ValueType::u64:
      return load<uint64_t>(at);
    case ValueType::i64:
      return load<int64_t>(at);
    case ValueType::f32:
      return double{load<float>(at)};
    case ValueType::f64:
      return load<double>(at);
    case ValueType::string:
    case ValueType::array:
      break;
  }
  return uint64_t{0};
}

Result<ValueType> parse_type(Reader& reader, std::string_view key, std::string_view whose) {
  const auto type =
      reader.number<uint32_t>(fmt::format("the {} type of {}", whose, in_quotes(key)));
  if (!type) return type.error();
  if (*type >= facts.size()) {
    return reader.error(fmt::format("{} has the unknown {} type {}", in_quotes(key), whose, *type));
  }
  return static_cast<ValueType>(*type);
}

Status check_booleans(const Reader& reader, std::string_view key, std::span<const uint8_t> bytes) {
  const auto wrong = std::ranges::find_if(bytes, [](uint8_t byte) { return byte > 1; });
  if (wrong == bytes.end()) return ok();
  return reader.error(
      fmt::format("the boolean {} has the byte {}; it must be 0 or 1", in_quotes(key), *wrong));
}

Result<Array> parse_array(Reader& reader, std::string_view key) {
  const auto type = parse_type(reader, key, "element");
  if (!type) return type.error();
  if (*type == ValueType::array) {
    return reader.error(
        fmt::format("{} is an array of arrays, which assay doesn't read", in_quotes(key)));
  }
  const auto count = reader.number<uint64_t>(fmt::format("the length of {}", in_quotes(key)));
  if (!count) return count.error();
  Array array;
  array.type = *type;
  array.count = *count;
  const std::string what = fmt::format("the {} elements of {}", *count, in_quotes(key));
  if (*type != ValueType::string) {
    const auto bytes = reader.take(*count, value_bytes(*type), what);
    if (!bytes) return bytes.error();
    array.bytes = *bytes;
    if (*type == ValueType::boolean) {
      if (Status good = check_booleans(reader, key, array.bytes); !good) return good.error();
    }
    return array;
  }
  if (Status enough = reader.need(*count, sizeof(uint64_t), what); !enough) return enough.error();
  if (*count > most_strings) {
    return reader.error(fmt::format("{} has {} strings, which are too many; the limit is {}",
                                    in_quotes(key), *count, most_strings));
  }
  array.strings.reserve(*count);  // 16 bytes for each 8 that were just seen to be there
  for (uint64_t i = 0; i < *count; ++i) {
    const auto text = reader.string(longest_string, what);
    if (!text) return text.error();
    array.strings.push_back(*text);
  }
  return array;
}

}  // namespace

uint64_t value_bytes(ValueType type) {
  return facts[static_cast<uint32_t>(type)].bytes;
}

std::string value_type_name(ValueType type) {
  return facts[static_cast<uint32_t>(type)].name;
}

Result<Value> parse_value(Reader& reader, std::string_view key) {
  const auto type = parse_type(reader, key, "value");
  if (!type) return type.error();
  Value value;
  value.type = *type;
  if (*type == ValueType::array) {
    auto array = parse_array(reader, key);
    if (!array) return array.error();
    value.data = std::move(*array);
    return value;
  }
  const std::string what = fmt::format("the value of {}", in_quotes(key));
  if (*type == ValueType::string) {
    const auto text = reader.string(longest_string, what);
    if (!text) return text.error();
    value.data = *text;
    return value;
  }
  const auto bytes = reader.take(1, value_bytes(*type), what);
  if (!bytes) return bytes.error();
  if (*type == ValueType::boolean) {
    if (Status good = check_booleans(reader, key, *bytes); !good) return good.error();
    value.data = bytes->front() == 1;
    return value;
  }
  std::visit([&](auto number) { value.data = number; }, load_scalar(*type, bytes->data()));
  return value;
}

int64_t Array::integer(uint64_t i) const {
  const Scalar number = load_scalar(type, bytes.data() + i * value_bytes(type));
  if (const auto* natural = std::get_if<uint64_t>(&number)) return static_cast<int64_t>(*natural);
  return std::get<int64_t>(number);
}

double Array::real(uint64_t i) const {
  return std::get<double>(load_scalar(type, bytes.data() + i * value_bytes(type)));
}

}  // namespace assay::gguf
