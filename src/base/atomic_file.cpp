#include "base/atomic_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace assay {

namespace {

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes.remove_prefix(size_t(written));
  }
  return true;
}

Error refuse(const std::string& name, const std::string& reason) {
  return {fmt::format("cannot write '{}': {}", name, reason)};
}

/// A new file beside the one that is to be written.
struct Part {
  std::string path;  ///< of the file that it will be renamed to
  std::string name;  ///< its own
  int file;
  mode_t mode;
};

Result<Part> make_part(const std::string& name) {
  // Through a symbolic link to the file it names, as any editor would.
  std::error_code failed;
  const std::string target = std::filesystem::weakly_canonical(name, failed).string();
  const std::string& path = failed ? name : target;
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (exists && !S_ISREG(old.st_mode)) return refuse(name, "it is not a regular file");
  if (exists && ::access(path.c_str(), W_OK) != 0) return refuse(name, std::strerror(errno));
  std::string part = path + ".XXXXXX";
  const int file = ::mkstemp(part.data());
  if (file < 0) return refuse(name, std::strerror(errno));
  // mkstemp's 0600 is stricter than what the old file had, or the umask asks for.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  return Part{path, part, file, mode_t(exists ? old.st_mode & 07777 : 0666 & ~mask)};
}

}  // namespace

Status can_write(const std::string& name) {
  const auto part = make_part(name);
  if (!part) return part.error();
  ::close(part->file);
  ::unlink(part->name.c_str());
  return ok();
}

Status write_atomically(const std::string& name, const std::vector<std::string_view>& pieces) {
  const auto made = make_part(name);
  if (!made) return made.error();
  const auto& [path, part, file, mode] = *made;
  bool good = ::fchmod(file, mode) == 0;
  for (const std::string_view piece : pieces) good = good && write_all(file, piece);
  good = good && ::fsync(file) == 0;
  int reason = good ? 0 : errno;
  if (::close(file) != 0 && good) {
    good = false;
    reason = errno;
  }
  if (good && std::rename(part.c_str(), path.c_str()) != 0) {
    good = false;
    reason = errno;
  }
  if (good) return ok();
  ::unlink(part.c_str());
  return refuse(name, std::strerror(reason));
}

}  // namespace assay
