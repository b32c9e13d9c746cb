#include "convert/folder.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/read_file.h"
#include "gguf/reader.h"

namespace assay::convert {
namespace {

using gguf::in_quotes;
using nlohmann::json;

constexpr const char* whole = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";
constexpr uint64_t packed_bytes = 16;                   // of a group of 32 values in MXFP4
constexpr uint64_t longest_text = uint64_t{256} << 20;  // the largest tokenizer.json has 34 MB

/// A plain name of a file in the folder itself: no path, no parent, nothing hidden.
bool is_plain_name(std::string_view name) {
  return !name.empty() && name[0] != '.' && name.find('/') == name.npos &&
         name.find('\\') == name.npos && name.find('\0') == name.npos &&
         name.ends_with(".safetensors");
}

}  // namespace

Result<Folder> Folder::open(const std::string& path) {
  std::error_code failed;
  if (!std::filesystem::is_directory(path, failed))
    return Error{fmt::format(
        "{}: {}", path,
        std::filesystem::exists(path, failed)
            ? "this is not a folder; give the folder that holds config.json and model.safetensors"
            : "no such folder")};
  Folder folder;
  folder.path_ = path;
  return folder;
}

std::string Folder::path_of(std::string_view name) const {
  return (std::filesystem::path(path_) / name).string();
}

bool Folder::holds(const std::string& path) const {
  std::error_code failed;
  const std::filesystem::path file(path);
  const auto parent = file.has_parent_path() ? file.parent_path() : std::filesystem::path(".");
  return std::filesystem::exists(file, failed) && file.extension() != ".gguf" &&
         std::filesystem::equivalent(parent, path_, failed);
}

Result<std::optional<std::string>> Folder::text(std::string_view name) const {
  const std::string path = path_of(name);
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) return std::optional<std::string>();
  const uint64_t size = std::filesystem::file_size(path, failed);
  if (!failed && size > longest_text)
    return Error{
        fmt::format("{}: {} bytes are more than the {} that are read", path, size, longest_text)};
  const auto bytes = read_file(path, "file");
  if (!bytes) return bytes.error();
  return std::optional(std::string(bytes->begin(), bytes->end()));
}

Result<std::optional<json>> Folder::json(std::string_view name) const {
  const auto text = this->text(name);
  if (!text) return text.error();
  if (!*text) return std::optional<nlohmann::json>();
  auto parsed = nlohmann::json::parse(**text, nullptr, false);
  if (!parsed.is_object())
    return Error{fmt::format("{}: this is not a JSON object", path_of(name))};
  return std::optional(std::move(parsed));
}

Status Folder::open_tensors() {
  const Status opened = open_files();
  return opened ? join_packed() : opened;
}

Status Folder::join_packed() {
  constexpr std::string_view blocks_end = "_blocks";
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors_)
    if (name.ends_with(blocks_end) && tensor.dtype == "U8")
      names.push_back(name.substr(0, name.size() - blocks_end.size()));
  for (const std::string& name : names) {
    const auto scales = tensors_.find(name + "_scales");
    if (scales == tensors_.end()) continue;  // it has no place, and is refused by its name
    const auto blocks = tensors_.find(name + std::string(blocks_end));
    std::vector<uint64_t> shape = scales->second.shape;
    shape.push_back(packed_bytes);
    if (scales->second.dtype != "U8" || shape.size() < 3 || blocks->second.shape != shape)
      return Error{fmt::format("{}: {} and {} are not the {} bytes and the scale of each group",
                               path_, in_quotes(blocks->first), in_quotes(scales->first),
                               packed_bytes)};
    trace::StoredTensor whole = blocks->second;
    whole.name = name;
    whole.dtype = "MXFP4";
    whole.shape.pop_back();
    whole.shape.back() *= 2 * packed_bytes;
    whole.elements *= 2;
    scales_[name] = scales->second;
    tensors_.erase(blocks);
    tensors_.erase(scales);
    if (!tensors_.emplace(name, std::move(whole)).second)
      return Error{fmt::format("{}: the tensor {} is there as MXFP4 and as another", path_,
                               in_quotes(name))};
  }
  return ok();
}

std::span<const uint8_t> Folder::scales_of(const std::string& name) const {
  const auto found = scales_.find(name);
  return found == scales_.end() ? std::span<const uint8_t>() : found->second.bytes;
}

Status Folder::open_files() {
  std::error_code failed;
  if (std::filesystem::exists(path_of(whole), failed)) {
    const auto opened = open_part(whole);
    return opened ? ok() : opened.error();
  }
  const auto index = json(index_name);
  if (!index) return index.error();
  if (*index) return open_index(**index);
  return Error{
      fmt::format("{}: neither {} nor {} is there{}", path_, whole, index_name,
                  std::filesystem::exists(path_of("pytorch_model.bin"), failed) ||
                          std::filesystem::exists(path_of("pytorch_model.bin.index.json"), failed)
                      ? "; weights in pytorch_model.bin are not read"
                      : "")};
}

Result<std::vector<std::string>> Folder::open_part(const std::string& name) {
  const std::string path = path_of(name);
  auto file = MappedFile::open(path, "safetensors");
  if (!file) return file.error();
  auto parsed = trace::parse_safetensors(file->bytes(), path);
  if (!parsed) return parsed.error();
  std::vector<std::string> names;
  for (trace::StoredTensor& tensor : parsed->tensors) {
    names.push_back(tensor.name);
    if (!tensors_.emplace(names.back(), std::move(tensor)).second)
      return Error{
          fmt::format("{}: the tensor {} is in another part, too", path, in_quotes(names.back()))};
  }
  parts_.push_back(std::move(*file));
  return names;
}

Status Folder::open_index(const nlohmann::json& index) {
  const std::string path = path_of(index_name);
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object() || map->empty())
    return Error{fmt::format("{}: there is no 'weight_map' of tensors and files", path)};
  std::set<std::string> names;
  for (const auto& [tensor, file] : map->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (!is_plain_name(name))
      return Error{
          fmt::format("{}: the tensor {} is said to be in {}, which is not the name of a "
                      "safetensors file of this folder",
                      path, in_quotes(tensor), in_quotes(file.is_string() ? name : file.dump()))};
    names.insert(name);
  }
  for (const std::string& name : names) {
    std::error_code failed;
    if (!std::filesystem::exists(path_of(name), failed))
      return Error{fmt::format("{}: the part {} is missing", path_, in_quotes(name))};
    const auto tensors = open_part(name);
    if (!tensors) return tensors.error();
    for (const std::string& tensor : *tensors) {
      const auto said = map->find(tensor);
      if (said == map->end() || *said != name)
        return Error{fmt::format("{}: the tensor {} is in {}, but the index does not say so", path,
                                 in_quotes(tensor), in_quotes(name))};
    }
  }
  for (const auto& [tensor, file] : map->items())
    if (!tensors_.contains(tensor))
      return Error{fmt::format("{}: the tensor {} is not in {}", path, in_quotes(tensor),
                               in_quotes(file.get<std::string>()))};
  return ok();
}

void Folder::release(const trace::StoredTensor& tensor) const {
  for (const MappedFile& part : parts_) part.release(tensor.bytes);
}

}  // namespace assay::convert
