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
#include <fstream>
#include <iterator>
#include <utility>

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

Result<Dialogue> Dialogue::start(std::vector<std::string> command,
                                 std::vector<std::string> environment, const std::string& errors) {
  Pipe in, out;
  if (!in.open() || !out.open())
    return Error{fmt::format("cannot make a pipe: {}", std::strerror(errno))};
  // The parent's ends must not live on in other children.
  fcntl(in.ends[1], F_SETFD, FD_CLOEXEC);
  fcntl(out.ends[0], F_SETFD, FD_CLOEXEC);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors.c_str(),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  for (const int end : {in.ends[0], out.ends[1]}) posix_spawn_file_actions_addclose(&actions, end);
  Dialogue dialogue;
  dialogue.errors_ = errors;
  const int failed = posix_spawnp(&dialogue.child_, command[0].c_str(), &actions, nullptr,
                                  pointers(command).data(), pointers(environment).data());
  posix_spawn_file_actions_destroy(&actions);
  if (failed) {
    dialogue.child_ = 0;
    return Error{fmt::format("cannot start '{}': {}", command[0], std::strerror(failed))};
  }
  dialogue.to_ = std::exchange(in.ends[1], -1);
  dialogue.from_ = std::exchange(out.ends[0], -1);
  return dialogue;
}

Dialogue::Dialogue(Dialogue&& other) noexcept
    : child_(std::exchange(other.child_, 0)),
      to_(std::exchange(other.to_, -1)),
      from_(std::exchange(other.from_, -1)),
      read_(std::move(other.read_)),
      errors_(std::move(other.errors_)) {}

Dialogue::~Dialogue() {
  if (child_) finish();
  if (from_ >= 0) close(from_);
}

std::optional<std::string> Dialogue::ask(const std::string& line) {
  const std::string sent = line.empty() ? "" : line + "\n";
  for (size_t at = 0; at < sent.size();) {
    const ssize_t done = write(to_, sent.data() + at, sent.size() - at);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) break;  // it has ended; what it wrote before may still be read
    at += size_t(done);
  }
  for (;;) {
    if (const size_t end = read_.find('\n'); end != read_.npos) {
      std::string answer = read_.substr(0, end);
      read_.erase(0, end + 1);
      return answer;
    }
    char piece[1 << 16];
    const ssize_t got = read(from_, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    read_.append(piece, size_t(got));
  }
}

Ended Dialogue::finish() {
  Ended ended;
  if (to_ >= 0) close(std::exchange(to_, -1));
  while (waitpid(child_, &ended.status, 0) < 0 && errno == EINTR) {
  }
  child_ = 0;
  std::ifstream file(errors_);
  ended.err.assign(std::istreambuf_iterator<char>(file), {});
  return ended;
}
