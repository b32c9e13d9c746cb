#include "gguf/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <numeric>

namespace assay::gguf {
namespace {

// What the smallest entry takes: name (u64 length + 1 byte), then
//   metadata: type u32, value at least 1 byte;  tensor: n_dims u32, one dim u64, type u32, offset
//   u64.
constexpr uint64_t smallest_metadata = 8 + 1 + 4 + 1;
constexpr uint64_t smallest_tensor = 8 + 1 + 4 + 8 + 4 + 8;

template <class Item, class Name>
std::vector<uint32_t> order_by_name(const std::vector<Item>& items, Name name) {
  std::vector<uint32_t> order(items.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [&](uint32_t i) { return items[i].*name; });
  return order;
}

/// The first name that occurs twice.
template <class Item, class Name>
const Item* repeated(const std::vector<Item>& items, const std::vector<uint32_t>& order,
                     Name name) {
  const auto same =
      std::ranges::adjacent_find(order, {}, [&](uint32_t i) { return items[i].*name; });
  return same == order.end() ? nullptr : &items[*same];
}

Status parse_metadata(Reader& reader, uint64_t count, Contents& contents) {
  contents.metadata.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto key = reader.string(longest_key, "a metadata key");
    if (!key) return key.error();
    if (key->empty()) return reader.error(fmt::format("metadata entry {} has an empty key", i));
    auto value = parse_value(reader, *key);
    if (!value) return value.error();
    contents.metadata.push_back({*key, std::move(*value)});
  }
  contents.key_order = order_by_name(contents.metadata, &Metadata::key);
  if (const auto* twice = repeated(contents.metadata, contents.key_order, &Metadata::key)) {
    return reader.error(fmt::format("the metadata key {} occurs twice", in_quotes(twice->key)));
  }
  return ok();
}

Result<uint64_t> parse_alignment(const Reader& reader, const Contents& contents) {
  const Value* value = find_value(contents, "general.alignment");
  if (value == nullptr) return contents.alignment;
  const auto* number = std::get_if<uint64_t>(&value->data);
  if (number == nullptr) return reader.error("general.alignment is not an unsigned integer");
  // The specification wants a multiple of 8; readers of f32 and f64 tensors rely on it.
  if (!std::has_single_bit(*number) || *number < 8) {
    return reader.error(
        fmt::format("general.alignment is {}; it must be a power of two, at least 8", *number));
  }
  return *number;
}

Status parse_tensors(Reader& reader, uint64_t count, Contents& contents) {
  // Asked again: the metadata has taken its part of the bytes since.
  if (Status enough = reader.need(count, smallest_tensor, fmt::format("{} tensors", count));
      !enough) {
    return enough.error();
  }
  contents.tensors.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    auto tensor = parse_tensor(reader, contents.alignment);
    if (!tensor) return tensor.error();
    contents.tensors.push_back(*tensor);
  }
  if (const auto* twice = index_tensors(contents)) {
    return reader.error(fmt::format("the tensor name {} occurs twice", in_quotes(twice->name)));
  }
  return ok();
}

}  // namespace

const Tensor* index_tensors(Contents& contents) {
  contents.name_order = order_by_name(contents.tensors, &Tensor::name);
  return repeated(contents.tensors, contents.name_order, &Tensor::name);
}

const Value* find_value(const Contents& contents, std::string_view key) {
  const auto name = [&](uint32_t i) { return contents.metadata[i].key; };
  const auto at = std::ranges::lower_bound(contents.key_order, key, {}, name);
  return at != contents.key_order.end() && name(*at) == key ? &contents.metadata[*at].value
                                                            : nullptr;
}

Result<Contents> parse_contents(std::span<const uint8_t> bytes, const std::string& path) {
  Reader reader{bytes, path};
  Contents contents;
  const auto version = parse_version(reader);
  if (!version) return version.error();
  contents.version = *version;

  const auto tensor_count = reader.number<uint64_t>("the number of tensors");
  if (!tensor_count) return tensor_count.error();
  const auto metadata_count = reader.number<uint64_t>("the number of metadata entries");
  if (!metadata_count) return metadata_count.error();
  for (const auto& [count, size, most, what] :
       {std::tuple{*metadata_count, smallest_metadata, most_metadata, "metadata entries"},
        std::tuple{*tensor_count, smallest_tensor, most_tensors, "tensors"}}) {
    Status enough = reader.need(count, size, fmt::format("{} {}", count, what));
    if (!enough) return enough.error();
    if (count > most) {
      return reader.error(fmt::format("{} {} are too many; the limit is {}", count, what, most));
    }
  }

  if (Status read = parse_metadata(reader, *metadata_count, contents); !read) return read.error();
  const auto alignment = parse_alignment(reader, contents);
  if (!alignment) return alignment.error();
  contents.alignment = *alignment;
  if (Status read = parse_tensors(reader, *tensor_count, contents); !read) return read.error();
  if (Status placed = place_tensors(reader, contents); !placed) return placed.error();
  return contents;
}

}  // namespace assay::gguf
