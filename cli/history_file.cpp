#include "history_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"

namespace {

using Json = nlohmann::json;

std::string json_line(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string default_history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  const bool has_state = state && *state;
  if (!has_state && !(home && *home)) return "";
  const std::filesystem::path folder =
      has_state ? std::filesystem::path(state) : std::filesystem::path(home) / ".local" / "state";
  return folder / "assay" / "history";
}

std::vector<std::string> read_history(const std::string& name) {
  std::vector<std::string> lines;
  std::ifstream file(name, std::ios::binary);
  for (std::string text; !name.empty() && std::getline(file, text);) {
    const Json json = Json::parse(text, nullptr, false);
    if (json.is_string()) lines.push_back(json);
  }
  if (lines.size() <= most_kept_lines) return lines;
  const bool much = lines.size() > 2 * most_kept_lines;
  lines.erase(lines.begin(), lines.end() - most_kept_lines);
  if (!much) return lines;
  std::string kept;
  for (const std::string& line : lines) kept += json_line(line);
  // A file that can't be made shorter is as good as before.
  static_cast<void>(assay::write_atomically(name, {kept}));
  return lines;
}

void add_to_history(const std::string& name, const std::string& line) {
  if (name.empty()) return;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(name).parent_path(), ignored);
  const int file = ::open(name.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  const std::string text = json_line(line);
  // One write, so that two chats at once don't mix their lines.
  const bool written = file >= 0 && ::write(file, text.data(), text.size()) == ssize_t(text.size());
  const int reason = errno;
  if (file >= 0) ::close(file);
  static bool told = false;
  if (written || std::exchange(told, true)) return;
  fmt::print(stderr, "assay: the history can't be kept in '{}': {}; --history off does without\n",
             name, std::strerror(reason));
}
