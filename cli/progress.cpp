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

#include "paragraph.h"

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::mutex terminal;          // guards what is below, and the terminal's last line
const void* shown = nullptr;  // the Progress whose turn it is: the innermost
size_t drawn = 0;             // characters that the line has now

// Several pieces of work in a row may be short, and take long together: the second of silence is
// counted from the first of them, where they follow each other closely.
constexpr milliseconds patience{1000}, closely{500};
Clock::time_point silent_since = Clock::now(), last_end = silent_since;

void erase_line() {
  if (drawn == 0) return;
  fmt::print(stderr, "\r{:<{}}\r", "", drawn);
  std::fflush(stderr);
  drawn = 0;
  silent_since = Clock::now();
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
    auto next = silent_since + patience;
    while (!end.wait_until(lock, next, [&] { return ended; })) {
      next = Clock::now() + milliseconds(250);
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
    if (!shown && line_->start - last_end > closely) silent_since = line_->start;
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
    last_end = Clock::now();
  }
  line_->end.notify_all();
  line_->thread.join();
  line_.reset();
}

void erase_progress() {
  const std::lock_guard lock(terminal);
  erase_line();
}
