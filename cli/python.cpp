#include "python.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

using assay::Error;
using assay::Result;

extern char** environ;

namespace {

/// The folder that holds the package `assay`: of a checkout for a program in its build folder, of
/// the installation for an installed one; empty where it is in neither.
std::string package_folder() {
  std::error_code failed;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", failed);
  if (failed) return "";
  for (const char* place : {"../../python", "../share/assay/python"}) {
    const auto folder = program.parent_path() / place;
    if (std::filesystem::exists(folder / "assay" / "capture.py", failed))
      return std::filesystem::weakly_canonical(folder, failed).string();
  }
  return "";
}

std::vector<std::string> environment() {
  std::vector<std::string> out;
  std::string path = package_folder();
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (text.starts_with("PYTHONPATH="))
      path += (path.empty() ? "" : ":") + text.substr(std::strlen("PYTHONPATH="));
    else
      out.push_back(text);
  }
  if (!path.empty()) out.push_back("PYTHONPATH=" + path);
  return out;
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

std::string read_all(int pipe) {
  std::string text;
  char piece[4096];
  for (ssize_t got; (got = read(pipe, piece, sizeof piece)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) break;
    text.append(piece, size_t(got));
  }
  return text;
}

std::string last_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text.substr(text.rfind('\n') + 1);
}

}  // namespace

Result<std::string> run_capture(const std::string& python,
                                const std::vector<std::string>& arguments) {
  const char* set = std::getenv("ASSAY_PYTHON");
  const std::string program = !python.empty() ? python : set && *set ? set : "python3";
  std::vector<std::string> all = {program, "-m", "assay.capture"}, variables = environment();
  all.insert(all.end(), arguments.begin(), arguments.end());
  int ends[2];
  if (pipe(ends) != 0) return Error{fmt::format("cannot make a pipe: {}", std::strerror(errno))};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, program.c_str(), &actions, nullptr, pointers(all).data(),
                                  pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  const std::string text = failed ? "" : read_all(ends[0]);
  close(ends[0]);
  if (failed) return Error{fmt::format("cannot start '{}': {}", program, std::strerror(failed))};
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status))
    return Error{
        fmt::format("'{} -m assay.capture' was ended by signal {}", program, WTERMSIG(status))};
  if (WEXITSTATUS(status) != 0) return Error{last_line(text)};
  return text;
}
