// Another engine as the subject of the invariants: llama.cpp or a server, through the project's Python
// package (python/assay/invariants.py), which answers a line of JSON with one.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "child.h"
#include "invariants/schedule.h"
#include "python.h"
#include "temporary.h"

class ForeignEngine {
 public:
  /// Starts `PYTHON -m assay.invariants ARGUMENTS`. Errors: it cannot be started, or says why it
  /// cannot be asked.
  static assay::Result<std::unique_ptr<ForeignEngine>> start(
      const std::string& python, const std::vector<std::string>& arguments);

  /// This object must outlive it.
  const assay::invariants::Subject& subject() const { return subject_; }

 private:
  ForeignEngine(TemporaryFolder folder, PythonModule module, Dialogue dialogue);
  assay::Status greet();
  assay::Error ended();
  assay::Result<assay::invariants::Rows> run(const assay::invariants::Schedule& schedule,
                                             const assay::invariants::Texts& texts,
                                             const assay::invariants::Place* whole);

  TemporaryFolder folder_;
  PythonModule module_;
  Dialogue dialogue_;
  assay::invariants::Subject subject_;
};
