// Another program, run to its end.
#pragma once

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

/// The last line that is not blank, without spaces around it; empty where there is none.
std::string last_line(std::string_view text);
