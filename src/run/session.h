// A loaded model, ready to run: file, program, executor, and what each sequence's cache holds.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "gguf/file.h"
#include "op/executor.h"
#include "op/program.h"

namespace assay::run {

struct SessionOptions {
  std::string device = "cpu";    ///< by its own name (run/device.h)
  uint32_t context = 0;          ///< 0: the model's trained context
  op::ExecutorOptions executor;  ///< context is set by the session
  /// Makes the executor in the device's place; empty: the device does. For seeded faults.
  std::function<Result<std::unique_ptr<op::Executor>>(const op::Program&,
                                                      const op::ExecutorOptions&)>
      make;
};

class Session {
 public:
  /// Errors: what gguf, model and the executor refuse; a device that this build does not have.
  static Result<Session> open(const std::string& path, const SessionOptions& options);

  const gguf::File& file() const { return *file_; }
  const op::Program& program() const { return *program_; }
  const op::Executor& executor() const { return *executor_; }
  uint32_t context() const { return context_; }
  uint32_t position(uint32_t sequence) const {
    return held_[sequence];
  }  ///< tokens the cache holds

  struct Part {
    uint32_t sequence = 0;
    std::span<const int32_t> tokens;
  };
  enum class Wanted { last, all };  ///< logits of each part's last token, or of every token

  /// Runs the parts' tokens in one step, each continuing its sequence. Logits in order of the
  /// parts' tokens, (wanted, vocabulary). Errors: context full (needed, limit), a token beyond the
  /// vocabulary, more tokens than the batch holds.
  Result<std::span<const float>> step(std::span<const Part> parts, Wanted wanted,
                                      const op::Sink& sink = {});

  /// The same with Wanted::last, for drawing: the `most` (0: all) best logits of each part's last
  /// token.
  Result<std::vector<std::vector<op::Candidate>>> step_best(std::span<const Part> parts,
                                                            uint32_t most);

  /// Runs one token of each part, draws the next one as its `drawings` says, runs that, and so on:
  /// `count` (up to executor().most_ahead()) are drawn of each, (count, parts). The sequences then
  /// hold all but the last; truncate() takes back what is not wanted.
  Result<std::vector<int32_t>> run_ahead(std::span<const Part> parts,
                                         std::span<const op::Drawing> drawings, uint32_t count);

  /// Runs tokens of one sequence in steps of at most the batch; `each` sees every step's logits.
  /// Returns the last token's logits.
  Result<std::span<const float>> feed(uint32_t sequence, std::span<const int32_t> tokens,
                                      Wanted wanted,
                                      const std::function<void(std::span<const float>)>& each = {},
                                      const op::Sink& sink = {});

  /// Called with every step before it runs: what a recorder or a judge needs beside the sink.
  void watch_steps(std::function<void(const op::Step&)> watch) { watch_ = std::move(watch); }

  /// Forgets a sequence's tokens from `position` on.
  void truncate(uint32_t sequence, uint32_t position);

 private:
  Session() = default;
  Status run(std::span<const Part> parts, Wanted wanted, uint32_t drawn,
             const std::function<void(const op::Step&)>& run_step);
  std::unique_ptr<gguf::File> file_;
  std::unique_ptr<op::Program> program_;
  std::unique_ptr<op::Executor> executor_;
  std::function<void(const op::Step&)> watch_;
  std::vector<uint32_t> held_;
  uint32_t context_ = 0, batch_ = 0;
};

}  // namespace assay::run
