#include "base/mapped_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace assay {
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
Result<uint64_t> file_size(const Descriptor& file, const std::string& path, std::string_view what) {
  struct stat facts {};
  if (fstat(file.number, &facts) != 0) return system_error(path, "read the file's size");
  if (S_ISDIR(facts.st_mode))
    return Error{fmt::format("{}: this is a directory, not a {} file", path, what)};
  if (!S_ISREG(facts.st_mode)) return Error{fmt::format("{}: this is not a regular file", path)};
  if (facts.st_size == 0) return Error{fmt::format("{}: the file is empty (0 bytes)", path)};
  return static_cast<uint64_t>(facts.st_size);
}

}  // namespace

void MappedFile::Unmap::operator()(const uint8_t* address) const {
  munmap(const_cast<uint8_t*>(address), size);
}

Result<MappedFile> MappedFile::open(const std::string& path, std::string_view what) {
  // Non-blocking, so that a named pipe is refused rather than waited for.
  const Descriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (descriptor.number < 0) return system_error(path, "open the file");
  const auto size = file_size(descriptor, path, what);
  if (!size) return size.error();
  void* address = mmap(nullptr, *size, PROT_READ, MAP_PRIVATE, descriptor.number, 0);
  if (address == MAP_FAILED) return system_error(path, fmt::format("map {} bytes", *size));
  return MappedFile({static_cast<const uint8_t*>(address), Unmap{*size}});
}

void MappedFile::release(std::span<const uint8_t> range) const {
  const std::span<const uint8_t> all = bytes();
  if (range.empty() || range.data() < all.data() ||
      range.data() + range.size() > all.data() + all.size())
    return;
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const uint64_t first = static_cast<uint64_t>(range.data() - all.data());
  const uint64_t begin = (first + page - 1) / page * page;  // the mapping itself begins on a page
  const uint64_t end = (first + range.size()) / page * page;
  if (begin < end) madvise(const_cast<uint8_t*>(all.data()) + begin, end - begin, MADV_DONTNEED);
}

}  // namespace assay
