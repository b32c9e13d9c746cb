// Another program, run to its end.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

struct Ended {
  std::string out, err;
  int status = 0;  ///< as waitpid() gives it

  bool succeeded() const { return status == 0; }
  /// "ended with exit code 3", "was ended by signal 4 (Illegal instruction)", with the last line that
  /// it wrote to standard error.
  std::string how() const;
};

/// Runs a program, which is looked up in PATH, with nothing on its standard input. `environment`:
/// NAME=VALUE, as a whole; empty: this program's. Errors: it cannot be started.
assay::Result<Ended> run_child(std::vector<std::string> command,
                               std::vector<std::string> environment = {});

/// A program that answers each line with a line.
class Dialogue {
 public:
  /// Starts it; `command` and `environment` as in run_child. What it writes to standard error goes to
  /// the file `errors`. Errors: it cannot be started.
  static assay::Result<Dialogue> start(std::vector<std::string> command,
                                       std::vector<std::string> environment,
                                       const std::string& errors);
  Dialogue(Dialogue&& other) noexcept;
  Dialogue& operator=(Dialogue&&) = delete;
  /// Ends its input, and waits for its end.
  ~Dialogue();

  /// Sends a line, unless it is empty, and returns the next one that it writes, without the newline;
  /// nothing where it has ended.
  std::optional<std::string> ask(const std::string& line);
  /// Waits for its end, after ask() gave nothing. `out` stays empty.
  Ended finish();

 private:
  Dialogue() = default;
  pid_t child_ = 0;
  int to_ = -1, from_ = -1;
  std::string read_, errors_;
};

/// The last line that is not blank, without spaces around it; empty where there is none.
std::string last_line(std::string_view text);
