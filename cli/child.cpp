#include "child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

using assay::Error;
using assay::Result;

extern char** environ;

namespace {

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> out;
  for (std::string& text : strings) out.push_back(text.data());
  out.push_back(nullptr);
  return out;
}

struct Pipe {
  int ends[2] = {-1, -1};

  bool open() { return pipe(ends) == 0; }
  void close_end(int which) {
    if (ends[which] >= 0) close(ends[which]);
    ends[which] = -1;
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
};

/// Reads both until both have ended, so that neither fills up.
void read_both(const std::array<Pipe*, 2>& pipes, const std::array<std::string*, 2>& texts) {
  std::array<pollfd, 2> waiting{};
  for (size_t i = 0; i < 2; ++i) waiting[i] = {pipes[i]->ends[0], POLLIN, 0};
  while (waiting[0].fd >= 0 || waiting[1].fd >= 0) {
    if (poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
    for (size_t i = 0; i < 2; ++i) {
      if (waiting[i].fd < 0 || waiting[i].revents == 0) continue;
      char piece[4096];
      const ssize_t got = read(waiting[i].fd, piece, sizeof piece);
      if (got > 0)
        texts[i]->append(piece, size_t(got));
      else if (got == 0 || errno != EINTR)
        waiting[i].fd = -1;
    }
  }
}

}  // namespace

std::string last_line(std::string_view text) {
  const auto blank = [](char c) { return c == '\n' || c == '\r' || c == ' ' || c == '\t'; };
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  const size_t begin = text.find_last_of("\n\r");
  if (begin != text.npos) text.remove_prefix(begin + 1);
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  return std::string(text);
}

std::string Ended::how() const {
  std::string text = WIFSIGNALED(status)
                         ? fmt::format("was ended by signal {} ({})", WTERMSIG(status),
                                       strsignal(WTERMSIG(status)))
                         : fmt::format("ended with exit code {}", WEXITSTATUS(status));
  if (const std::string line = last_line(err); !line.empty())
    text += fmt::format("; its last line: {}", line);
  return text;
}

Result<Ended> run_child(std::vector<std::string> command, std::vector<std::string> environment) {
  Pipe out, err;
  if (!out.open() || !err.open())
    return Error{fmt::format("cannot make a pipe: {}", std::strerror(errno))};
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, err.ends[1], STDERR_FILENO);
  for (const Pipe* one : {&out, &err})
    for (const int end : one->ends) posix_spawn_file_actions_addclose(&actions, end);
  pid_t child = 0;
  const int failed =
      posix_spawnp(&child, command[0].c_str(), &actions, nullptr, pointers(command).data(),
                   environment.empty() ? environ : pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed) return Error{fmt::format("cannot start '{}': {}", command[0], std::strerror(failed))};
  out.close_end(1);
  err.close_end(1);
  Ended ended;
  read_both({&out, &err}, {&ended.out, &ended.err});
  while (waitpid(child, &ended.status, 0) < 0 && errno == EINTR) {
  }
  return ended;
}
