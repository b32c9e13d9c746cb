#include "gguf/file.h"

#include <fmt/format.h>

#include <algorithm>

#include "gguf/parse.h"
#include "gguf/split.h"

namespace assay::gguf {
namespace {

Error wrong_type(const std::string& path, std::string_view key, const Value& value,
                 std::string_view wanted) {
  return {fmt::format("{}: {} has the type {}; wanted {}", path, in_quotes(key),
                      value_type_name(value.type), wanted)};
}

}  // namespace

Result<File> File::open_one(const std::string& path) {
  auto mapping = MappedFile::open(path, "GGUF");
  if (!mapping) return mapping.error();
  auto file = parse_one(mapping->bytes(), path);
  if (file) file->mappings_.push_back(std::move(*mapping));
  return file;
}

Result<File> File::parse_one(std::span<const uint8_t> bytes, const std::string& path) {
  auto contents = parse_contents(bytes, path);
  if (!contents) return contents.error();
  File file;
  file.path_ = path;
  file.parts_.push_back(bytes);
  file.contents_ = std::move(*contents);
  return file;
}

Result<File> File::open(const std::string& path) {
  auto whole = open_one(path);
  if (!whole) return whole.error();
  const auto split = read_split(*whole);
  if (!split) return split.error();
  if (!*split) return whole;
  const auto names = shard_paths(*whole, **split);
  if (!names) return names.error();
  for (uint64_t number = 1; number < (*split)->count; ++number) {
    const std::string& name = (*names)[number];
    if (Status there = check_present(name, number, **split); !there) return there.error();
    auto shard = open_one(name);
    if (!shard) return shard.error();
    if (Status fits = check_shard(*whole, **split, *shard, number); !fits) return fits.error();
    whole->append(std::move(*shard));
  }
  if (const Tensor* twice = index_tensors(whole->contents_)) {
    return Error{
        fmt::format("{}: the tensor {} is in more than one shard", path, in_quotes(twice->name))};
  }
  if (Status all = check_tensor_count(*whole, **split); !all) return all.error();
  return whole;
}

Result<File> File::parse(std::span<const uint8_t> bytes, const std::string& path) {
  auto file = parse_one(bytes, path);
  if (!file) return file.error();
  const auto split = read_split(*file);
  if (!split) return split.error();
  if (!*split) return file;
  return Error{fmt::format("{}: this is shard {} of {}; the others are not here", path,
                           (*split)->number + 1, (*split)->count)};
}

void File::append(File&& shard) {
  const auto part = static_cast<uint32_t>(parts_.size());
  for (Tensor tensor : shard.contents_.tensors) {
    tensor.part = part;
    contents_.tensors.push_back(tensor);
  }
  parts_.push_back(shard.parts_.front());
  for (MappedFile& mapping : shard.mappings_) mappings_.push_back(std::move(mapping));
}

uint64_t File::size() const {
  uint64_t sum = 0;
  for (const auto part : parts_) sum += part.size();
  return sum;
}

const Value* File::find(std::string_view key) const {
  return find_value(contents_, key);
}

const Tensor* File::find_tensor(std::string_view name) const {
  const auto& tensors = contents_.tensors;
  const auto name_of = [&](uint32_t i) { return tensors[i].name; };
  const auto at = std::ranges::lower_bound(contents_.name_order, name, {}, name_of);
  return at != contents_.name_order.end() && name_of(*at) == name ? &tensors[*at] : nullptr;
}

Result<std::optional<uint64_t>> File::unsigned_value(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<uint64_t>();
  if (const auto* natural = std::get_if<uint64_t>(&value->data)) return std::optional(*natural);
  const auto* integer = std::get_if<int64_t>(&value->data);
  if (integer == nullptr) return wrong_type(path_, key, *value, "an integer");
  if (*integer < 0) {
    return Error{
        fmt::format("{}: {} is {}; it must not be negative", path_, in_quotes(key), *integer)};
  }
  return std::optional(static_cast<uint64_t>(*integer));
}

Result<std::optional<double>> File::real_value(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<double>();
  if (const auto* real = std::get_if<double>(&value->data)) return std::optional(*real);
  return wrong_type(path_, key, *value, "f32 or f64");
}

Result<std::optional<bool>> File::bool_value(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<bool>();
  if (const auto* boolean = std::get_if<bool>(&value->data)) return std::optional(*boolean);
  return wrong_type(path_, key, *value, "bool");
}

Result<std::optional<std::string_view>> File::string_value(std::string_view key) const {
  const Value* value = find(key);
  if (value == nullptr) return std::optional<std::string_view>();
  if (const auto* text = std::get_if<std::string_view>(&value->data)) return std::optional(*text);
  return wrong_type(path_, key, *value, "string");
}

void File::release(std::span<const uint8_t> range) const {
  // Only a mapping can be read back from the file; memory that someone else owns would be lost.
  for (const MappedFile& mapping : mappings_) mapping.release(range);
}

}  // namespace assay::gguf
