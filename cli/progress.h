// A line on stderr while something takes long.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

/// While it lives and stderr is a terminal, a line says what goes on, after a second without one; it
/// is erased at the end. Of several at once, the one made last is shown.
class Progress {
 public:
  explicit Progress(std::string label);
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress();

  /// How much is done, for a bar; without it the line counts the seconds.
  void show(uint64_t done, uint64_t total);
  /// Ends it, before anything else is printed.
  void erase();

 private:
  struct Line;
  std::unique_ptr<Line> line_;  // none where stderr is no terminal, and after the end
};

/// Takes the line that is shown off the terminal, so that a message can be printed in its place.
void erase_progress();
