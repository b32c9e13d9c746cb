#include "gguf/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "gguf/parse.h"
#include "gguf/split.h"

namespace assay::gguf {
namespace {

/// An open file that closes itself.
struct Descriptor {
  int number;
  explicit Descriptor(int opened) : number(opened) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number >= 0) close(number);
  }
};

Error system_error(const std::string& path, std::string_view doing) {
  return {fmt::format("{}: cannot {}: {}", path, doing, std::strerror(errno))};
}

/// The size of a regular file with something in it.
Result<uint64_t> file_size(const Descriptor& file, const std::string& path) {
  struct stat facts {};
  if (fstat(file.number, &facts) != 0) return system_error(path, "read the file's size");
  if (S_ISDIR(facts.st_mode))
    return Error{fmt::format("{}: this is a directory, not a GGUF file", path)};
  if (!S_ISREG(facts.st_mode)) return Error{fmt::format("{}: this is not a regular file", path)};
  if (facts.st_size == 0) return Error{fmt::format("{}: the file is empty (0 bytes)", path)};
  return static_cast<uint64_t>(facts.st_size);
}

Error wrong_type(const std::string& path, std::string_view key, const Value& value,
                 std::string_view wanted) {
  return {fmt::format("{}: {} has the type {}; wanted {}", path, in_quotes(key),
                      value_type_name(value.type), wanted)};
}

}  // namespace

void File::Unmap::operator()(const uint8_t* address) const {
  munmap(const_cast<uint8_t*>(address), size);
}

Result<File> File::open_one(const std::string& path) {
  // Non-blocking, so that a named pipe is refused rather than waited for.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.number < 0) return system_error(path, "open the file");
  const auto size = file_size(descriptor, path);
  if (!size) return size.error();
  void* address = mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, descriptor.number, 0);
  if (address == MAP_FAILED) return system_error(path, fmt::format("map {} bytes", *size));
  const auto* bytes = static_cast<const uint8_t*>(address);
  Mapping mapping(bytes, Unmap{*size});
  auto file = parse_one({bytes, *size}, path);
  if (file) file->mappings_.push_back(std::move(mapping));
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
  for (Mapping& mapping : shard.mappings_) mappings_.push_back(std::move(mapping));
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
  if (mappings_.empty() || range.empty()) return;
  const auto holds = [&](std::span<const uint8_t> part) {
    return range.data() >= part.data() && range.data() + range.size() <= part.data() + part.size();
  };
  const auto part = std::ranges::find_if(parts_, holds);
  if (part == parts_.end()) return;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = static_cast<uint64_t>(range.data() - part->data());
  const uint64_t begin = (first + page - 1) / page * page;  // the mapping itself begins on a page
  const uint64_t end = (first + range.size()) / page * page;
  if (begin < end) madvise(const_cast<uint8_t*>(part->data()) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace assay::gguf
