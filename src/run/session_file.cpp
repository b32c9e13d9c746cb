#include "run/session_file.h"

#include <fmt/format.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/atomic_file.h"

namespace assay::run {

namespace {

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

/// Copies the file to the first free PATH.N.
Result<std::string> copy_aside(const std::string& path) {
  for (uint32_t n = 1;; ++n) {
    const std::string copy = fmt::format("{}.{}", path, n);
    std::error_code failed;
    if (std::filesystem::copy_file(path, copy, failed)) return copy;
    if (failed != std::errc::file_exists)
      return Error{fmt::format("cannot copy '{}' to '{}': {}", path, copy, failed.message())};
  }
}

}  // namespace

Result<SessionFile> SessionFile::open(const std::string& path) {
  SessionFile session;
  session.path_ = path;
  if (const Status possible = can_write(path); !possible) return possible.error();
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    auto loaded = load_conversation(path);
    if (!loaded) return loaded.error();
    session.loaded_ = std::move(*loaded);
    session.known_ = content_of(path);
    session.current_ = to_text(*session.loaded_);
  }
  return session;
}

Result<std::string> SessionFile::save(const Conversation& conversation) {
  const std::string text = to_text(conversation);
  if (!another_ && text == current_) return std::string();
  const std::string now = content_of(path_);
  if (now.empty() && conversation.messages.empty()) return std::string();
  std::string copy;
  if (!now.empty() && (another_ || now != known_)) {
    auto copied = copy_aside(path_);
    if (!copied) return copied.error();
    copy = std::move(*copied);
  }
  if (const Status written = write_atomically(path_, {text}); !written) return written.error();
  known_ = current_ = text;
  another_ = false;
  return copy;
}

}  // namespace assay::run
