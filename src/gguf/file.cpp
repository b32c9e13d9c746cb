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
  return {fmt::format("{}: {} has the type {}; wanted {}", path, quoted(key),
                      value_type_name(value.type), wanted)};
}

}  // namespace

void File::Unmap::operator()(const uint8_t* address) const {
  munmap(const_cast<uint8_t*>(address), size);
}

Result<File> File::open(const std::string& path) {
  // Non-blocking, so that a named pipe is refused rather than waited for.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.number < 0) return system_error(path, "open the file");
  const auto size = file_size(descriptor, path);
  if (!size) return size.error();
  void* address = mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, descriptor.number, 0);
  if (address == MAP_FAILED) return system_error(path, fmt::format("map {} bytes", *size));
  const auto* bytes = static_cast<const uint8_t*>(address);
  std::unique_ptr<const uint8_t, Unmap> mapping(bytes, Unmap{*size});
  auto file = parse({bytes, *size}, path);
  if (file) file->mapping_ = std::move(mapping);
  return file;
}

Result<File> File::parse(std::span<const uint8_t> bytes, const std::string& path) {
  auto contents = parse_contents(bytes, path);
  if (!contents) return contents.error();
  File file;
  file.path_ = path;
  file.bytes_ = bytes;
  file.contents_ = std::move(*contents);
  return file;
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
        fmt::format("{}: {} is {}; it must not be negative", path_, quoted(key), *integer)};
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
  if (mapping_ == nullptr || range.empty()) return;
  if (range.data() < bytes_.data() || range.data() + range.size() > bytes_.data() + bytes_.size())
    return;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = static_cast<uint64_t>(range.data() - bytes_.data());
  const uint64_t begin = (first + page - 1) / page * page;  // the mapping itself begins on a page
  const uint64_t end = (first + range.size()) / page * page;
  if (begin < end) madvise(const_cast<uint8_t*>(bytes_.data()) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace assay::gguf
