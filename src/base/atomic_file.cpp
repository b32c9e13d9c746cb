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

}  // namespace

Status write_atomically(const std::string& name, const std::vector<std::string_view>& pieces) {
  const auto refuse = [&](const std::string& reason) {
    return Error{fmt::format("cannot write '{}': {}", name, reason)};
  };
  // Through a symbolic link to the file it names, as any editor would.
  std::error_code failed;
  const std::string target = std::filesystem::weakly_canonical(name, failed).string();
  const std::string& path = failed ? name : target;
  struct stat old {};
  const bool exists = ::stat(path.c_str(), &old) == 0;
  if (exists && !S_ISREG(old.st_mode)) return refuse("it is not a regular file");
  std::string part = path + ".XXXXXX";
  const int file = ::mkstemp(part.data());
  if (file < 0) return refuse(std::strerror(errno));
  // mkstemp's 0600 is stricter than what the old file had, or the umask asks for.
  const mode_t mask = ::umask(0);
  ::umask(mask);
  bool good = ::fchmod(file, exists ? old.st_mode & 07777 : 0666 & ~mask) == 0;
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
  return refuse(std::strerror(reason));
}

}  // namespace assay
