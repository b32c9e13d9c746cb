// A model on a device: runs steps over parts of several sequences, and gives them their pages.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "op/executor.h"
#include "run/model.h"
#include "run/sequence.h"

namespace assay::run {

struct EngineOptions {
  std::string device = "cpu";    ///< by its own name (run/device.h)
  uint32_t context = 0;          ///< most positions of a sequence; 0: that of the model
  op::ExecutorOptions executor;  ///< the engine sets context, pages and release
  /// Makes the executor in the device's place; empty: the device does. For seeded faults.
  std::function<Result<std::unique_ptr<op::Executor>>(const op::Program&,
                                                      const op::ExecutorOptions&)>
      make;
};

enum class Wanted { last, all };  ///< logits of each part's last token, or of every token

/// Tokens that continue a sequence.
struct Part {
  Sequence& sequence;
  std::span<const int32_t> tokens;
};

class Engine {
 public:
  /// Errors: what the executor refuses; a context that the model refuses; a device that this build does not have.
  static Result<Engine> make(std::shared_ptr<const Model> model, const EngineOptions& options);
  /// The same with another form of the model's program, for options.context.
  static Result<Engine> make(std::shared_ptr<const Model> model,
                             std::shared_ptr<const op::Program> program,
                             const EngineOptions& options);
  /// The same of a model's file. Errors: also what gguf and model refuse.
  static Result<Engine> open(const std::string& path, const EngineOptions& options);

  const Model& model() const;
  const gguf::File& file() const { return model().file(); }
  const op::Program& program() const;  ///< the model's for this context
  const op::Executor& executor() const;
  const PagePool& pages(uint32_t group = 0) const;  ///< of a group of the program's caches
  uint32_t context() const;                         ///< most positions of a sequence

  /// Starts an empty sequence. Errors: all sequences that the executor has room for are in use.
  Result<Sequence> start();

  /// Runs the tokens of all parts in one step. Returns the logits in the order of these tokens,
  /// (wanted, vocabulary), valid until the next step. Errors, after which every sequence can go on
  /// as before: a sequence of another engine, or the same sequence twice; context full (needed,
  /// limit); a token beyond the vocabulary; no tokens, or more than the batch; too few free pages;
  /// a failing device.
  Result<std::span<const float>> step(std::span<const Part> parts, Wanted wanted,
                                      const op::Sink& sink = {});

  /// The same with Wanted::last, for drawing: returns the `most` (0: all) best logits of each
  /// part's last token.
  Result<std::vector<std::vector<op::Candidate>>> step_best(std::span<const Part> parts,
                                                            uint32_t most);

  /// Runs the one token of each part, draws the next token as the part's entry of `drawings` says,
  /// runs that, and so on, until `count` tokens per part are drawn (at most
  /// executor().most_ahead()). Returns them as (count, parts). The sequences then hold all but the
  /// last; truncate() removes what is not wanted. Further errors: a part that does not have exactly
  /// one token, or not one drawing per part.
  Result<std::vector<int32_t>> run_ahead(std::span<const Part> parts,
                                         std::span<const op::Drawing> drawings, uint32_t count);

  /// Runs the tokens of one sequence in steps no larger than the batch; `each` is called with every
  /// step's logits. Returns the last token's logits. If a step fails, the sequence holds the tokens
  /// of the steps before it.
  Result<std::span<const float>> feed(Sequence& sequence, std::span<const int32_t> tokens,
                                      Wanted wanted,
                                      const std::function<void(std::span<const float>)>& each = {},
                                      const op::Sink& sink = {});

  /// Writes `value` into every place of the caches: sequences that are alive lose what they hold.
  /// Errors: an executor that cannot; a failing device.
  Status fill_caches(float value);

  /// Sets a function that is called with every step before it runs, which a recorder or a judge
  /// needs in addition to the sink.
  void watch_steps(std::function<void(const op::Step&)> watch) { watch_ = std::move(watch); }

 private:
  Engine() = default;
  Status check_sequences(std::span<const Part> parts) const;
  Status run(std::span<const Part> parts, Wanted wanted, uint32_t drawn,
             const std::function<void(const op::Step&)>& run_step);
  Status extend_pages(std::span<const Part> parts, uint32_t drawn);
  void give_back_pages(std::span<const Part> parts);

  std::shared_ptr<Core> core_;
  std::function<void(const op::Step&)> watch_;
  uint32_t batch_ = 0;
  uint32_t stride_ = 0;          // pages of a whole context
  std::vector<uint32_t> table_;  // (sequences, groups, stride): behind a sequence's pages anything
};

}  // namespace assay::run
