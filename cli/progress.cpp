#include "progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <mutex>
#include <thread>
#include <utility>

#include "help.h"

namespace {

using Clock = std::chrono::steady_clock;

std::mutex terminal;          // guards what is below, and the terminal's last line
const void* shown = nullptr;  // the Progress whose turn it is: the innermost
size_t drawn = 0;             // characters that the line has now

void erase_line() {
  if (drawn == 0) return;
  fmt::print(stderr, "\r{:<{}}\r", "", drawn);
  std::fflush(stderr);
  drawn = 0;
}

}  // namespace

struct Progress::Line {
  std::string label;
  Clock::time_point start = Clock::now();
  const void* outer = nullptr;
  std::atomic<uint64_t> done = 0, total = 0;
  bool ended = false;
  std::condition_variable end;
  std::thread thread;

  void draw() {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(Clock::now() - start);
    std::string text = label;
    if (const uint64_t all = total) {
      const uint64_t percent = std::min<uint64_t>(100, 100 * done / all);
      text += fmt::format(" [{:<40}] {:3} %", std::string(percent * 40 / 100, '='), percent);
    }
    text += fmt::format("  {} s", seconds.count());
    // A line that the terminal breaks could not be erased.
    text = text.substr(0, columns_of_terminal(STDERR_FILENO) - 1);
    fmt::print(stderr, "\r{:<{}}", text, drawn);
    std::fflush(stderr);
    drawn = std::max(drawn, text.size());
  }

  void run() {
    std::unique_lock lock(terminal);
    auto wait = std::chrono::milliseconds(1000);
    while (!end.wait_for(lock, wait, [&] { return ended; })) {
      wait = std::chrono::milliseconds(250);
      if (shown == this) draw();
    }
  }
};

Progress::Progress(std::string label) {
  if (!isatty(STDERR_FILENO)) return;
  line_ = std::make_unique<Line>();
  line_->label = std::move(label);
  {
    const std::lock_guard lock(terminal);
    line_->outer = std::exchange(shown, line_.get());
  }
  line_->thread = std::thread([line = line_.get()] { line->run(); });
}

Progress::~Progress() {
  erase();
}

void Progress::show(uint64_t done, uint64_t total) {
  if (!line_) return;
  line_->done = done;
  line_->total = total;
}

void Progress::erase() {
  if (!line_) return;
  {
    const std::lock_guard lock(terminal);
    line_->ended = true;
    shown = line_->outer;
    erase_line();
  }
  line_->end.notify_all();
  line_->thread.join();
  line_.reset();
}

void erase_progress() {
  const std::lock_guard lock(terminal);
  erase_line();
}
