#include "gguf/split.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "gguf/reader.h"

namespace assay::gguf {
namespace {

constexpr uint64_t most_shards = 65535;  // split.count is a u16 in every file that a tool has made

/// "-00002-of-00003.gguf"
std::string ending(uint64_t number, uint64_t count) {
  return fmt::format("-{:05}-of-{:05}.gguf", number + 1, count);
}

Result<uint64_t> required(const File& file, std::string_view key) {
  const auto value = file.unsigned_value(key);
  if (!value) return value.error();
  if (!*value) {
    return Error{fmt::format("{}: split.count is there, but {} is missing", file.path(), key)};
  }
  return **value;
}

bool equal(const Value& a, const Value& b) {
  if (a.type != b.type) return false;
  const auto* left = std::get_if<Array>(&a.data);
  const auto* right = std::get_if<Array>(&b.data);
  if (left == nullptr || right == nullptr) {
    return std::visit(
        [&](const auto& value) {
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, Array>) {
            return false;
          } else {
            const T* other = std::get_if<T>(&b.data);
            return other != nullptr && *other == value;
          }
        },
        a.data);
  }
  return left->type == right->type && std::ranges::equal(left->bytes, right->bytes) &&
         left->strings == right->strings;
}

/// Keys that each shard has of its own.
bool own(std::string_view key) {
  return key.starts_with("split.") || key == "general.alignment";
}

}  // namespace

Result<std::optional<Split>> read_split(const File& file) {
  const auto count = file.unsigned_value("split.count");
  if (!count) return count.error();
  if (count->value_or(0) < 2) return std::optional<Split>();
  const auto number = required(file, "split.no");
  if (!number) return number.error();
  const auto tensors = required(file, "split.tensors.count");
  if (!tensors) return tensors.error();
  if (**count > most_shards) {
    return Error{
        fmt::format("{}: split.count is {}; the limit is {}", file.path(), **count, most_shards)};
  }
  if (*number >= **count) {
    return Error{fmt::format("{}: split.no is {}, but there are only {} shards (numbered from 0)",
                             file.path(), *number, **count)};
  }
  return std::optional(Split{*number, **count, *tensors});
}

Result<std::vector<std::string>> shard_paths(const File& file, const Split& split) {
  const std::string& path = file.path();
  const std::string own_ending = ending(split.number, split.count);
  const bool named = path.size() > own_ending.size() && path.ends_with(own_ending);
  const std::string prefix = named ? path.substr(0, path.size() - own_ending.size()) : "";
  if (split.number != 0) {
    return Error{fmt::format(
        "{}: this is shard {} of {}; give the first, {}", path, split.number + 1, split.count,
        named ? prefix + ending(0, split.count) : "whose name ends in " + ending(0, split.count))};
  }
  if (!named) {
    return Error{fmt::format(
        "{}: this is shard 1 of {}, but its name does not end in {}, so the others can't be found",
        path, split.count, own_ending)};
  }
  std::vector<std::string> paths;
  for (uint64_t number = 0; number < split.count; ++number)
    paths.push_back(prefix + ending(number, split.count));
  return paths;
}

Status check_present(const std::string& path, uint64_t number, const Split& split) {
  std::error_code failed;
  if (std::filesystem::exists(path, failed) || failed) return ok();  // opening will tell what fails
  return Error{fmt::format("{}: shard {} of {} is missing", path, number + 1, split.count)};
}

Status check_shard(const File& first, const Split& split, const File& shard, uint64_t number) {
  const auto wrong = [&](const std::string& reason) {
    return Error{fmt::format("{}: not shard {} of {} of this model: {}", shard.path(), number + 1,
                             split.count, reason)};
  };
  const auto found = read_split(shard);
  if (!found) return found.error();
  if (!*found) return wrong("it is not a shard (split.count is absent or below 2)");
  const Split& stated = **found;
  if (stated.number != number || stated.count != split.count) {
    return wrong(fmt::format("it says that it is shard {} of {}", stated.number + 1, stated.count));
  }
  if (stated.tensors != split.tensors) {
    return wrong(fmt::format("its split.tensors.count is {}, the first shard's {}", stated.tensors,
                             split.tensors));
  }
  for (const auto& [key, value] : shard.metadata()) {
    if (own(key)) continue;
    const Value* same = first.find(key);
    if (same == nullptr) return wrong(fmt::format("the first shard has no {}", in_quotes(key)));
    if (!equal(*same, value)) {
      return wrong(fmt::format("its {} differs from the first shard's", in_quotes(key)));
    }
  }
  return ok();
}

Status check_tensor_count(const File& whole, const Split& split) {
  if (whole.tensors().size() == split.tensors) return ok();
  return Error{fmt::format("{}: split.tensors.count is {}, but the {} shards hold {} tensors",
                           whole.path(), split.tensors, split.count, whole.tensors().size())};
}

}  // namespace assay::gguf
