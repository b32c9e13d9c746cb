// What runs a program. One of the two virtual interfaces (the other is the device queue).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/result.h"
#include "op/best.h"
#include "op/program.h"

namespace assay::op {

enum class CacheType { f16, f32 };
enum class Contract {
  assay1,
  f32,   ///< activations are not quantised
  exact  ///< nothing is rounded but the weights: the reference's
};

struct ExecutorOptions {
  uint32_t threads = 0;    ///< 0: the machine's cores
  uint32_t context = 0;    ///< positions a sequence can hold
  uint32_t sequences = 1;  ///< rows of a page table
  uint32_t pages = 0;      ///< of a group of caches at most; 0: enough for every sequence's context
  uint32_t batch = 512;    ///< most tokens in one step
  CacheType cache = CacheType::f16;
  Contract contract = Contract::assay1;
  std::string isa;  ///< "" picks the best; else avx2, avx512, portable
  bool flush_denormals =
      false;  ///< runs with FTZ and DAZ set: a test of One Answer, no bit may change
  std::function<void(uint64_t done, uint64_t total)>
      progress;  ///< weight bytes prepared; may be empty
  std::function<void(std::span<const uint8_t>)>
      release;  ///< called with weight bytes no longer read; may be empty
};

/// The most tokens of a sequence that any executor draws in one run_ahead().
inline constexpr uint32_t most_drawn_ahead = 8;

/// How a token is drawn from the best logits (run/sampler.h).
struct Drawing {
  float temperature = 0;  ///< <= 0: the best
  float top_p = 1, min_p = 0;
  uint32_t top_k = 1;  ///< 0: of all
  uint64_t seed = 0;
};

/// Sees each operation's result as the executor finished it. `output` is (rows, width) f32; for
/// kv_store it is the new keys, then the new values, as the cache holds them (converted to f32),
/// each (tokens, kv_heads·dim).
using Sink = std::function<void(const Operation&, std::span<const float> output)>;

/// Thrown by run() when a device fails during a step. No caller in between can recover from it;
/// run::Engine turns it into an Error.
struct DeviceFailure : std::runtime_error {
  explicit DeviceFailure(const Error& what) : std::runtime_error(what.message), error(what) {}
  Error error;
};

class Executor {
 public:
  virtual ~Executor() = default;
  /// Runs one step and returns the logits, (selected, vocabulary) f32; valid until the next step.
  /// Throws DeviceFailure.
  virtual std::span<const float> run(const Step& step, const Sink& sink) = 0;
  /// Runs one step and returns the `most` (0: all) best logits of each selected token. A GPU finds
  /// them itself, so that not all logits are copied to the host. Throws DeviceFailure.
  virtual std::vector<std::vector<Candidate>> run_best(const Step& step, uint32_t most);
  /// The largest `count` that run_ahead() accepts, up to most_drawn_ahead; 0 if this executor cannot
  /// draw tokens itself.
  virtual uint32_t most_ahead(const Drawing&) const { return 0; }
  /// Runs a step of one token per sequence, all selected, draws the next token of each sequence as
  /// its entry of `drawings` says, runs that token, and so on, until `count` tokens per sequence
  /// are drawn. Returns them as (count, sequences); −1 where no token can be drawn. The last drawn
  /// tokens have not run, so the caches do not hold them. Throws DeviceFailure.
  virtual std::vector<int32_t> run_ahead(const Step& step, std::span<const Drawing> drawings,
                                         uint32_t count);
  /// Forgets what a sequence's cache holds from `position` on.
  virtual void truncate(uint32_t sequence, uint32_t position) = 0;
  /// Writes `value` into every place of the caches, used or not: a test that nothing is read that no
  /// token of the sequence has written. False if this executor cannot. Throws DeviceFailure.
  virtual bool fill_caches(float) { return false; }
  virtual std::string device() const = 0;    ///< "cpu", "cuda", "emulated", "reference"
  virtual std::string isa() const = 0;       ///< "avx2", …; "" where it has no meaning
  virtual std::string contract() const = 0;  ///< "assay/1", "assay/1 kv=f32", "f32", "exact", …
  virtual uint32_t threads() const = 0;      ///< of the host; 0 where a device of its own works
};

/// "cpu (avx2, 2 threads)", "cuda (NVIDIA H100 80GB HBM3)"
inline std::string text_of(const std::string& device, const std::string& isa, uint32_t threads) {
  std::string how = isa;
  if (threads > 0)
    how += (how.empty() ? "" : ", ") + std::to_string(threads) +
           (threads == 1 ? " thread" : " threads");
  return how.empty() ? device : device + " (" + how + ")";
}

}  // namespace assay::op
