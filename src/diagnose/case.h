// A failing operation with all that a hypothesis may look at, and the contest of hypotheses.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "diff/diff.h"
#include "diff/side.h"
#include "judge/judge.h"
#include "op/program.h"
#include "trace/trace_file.h"

namespace assay::diagnose {

using diff::Cause;

/// What the engine was given and gave, and what it should have given.
struct Case {
  const op::Program& program;
  const op::Operation& operation;
  const trace::Trace* trace;  ///< nullptr: the operation stands alone
  const diff::Side* side;     ///< the trace, judged; nullptr with it
  diff::Scene scene;
  judge::Judged usual;
  judge::Seen seen;  ///< the output against `usual`

  const judge::Table& got() const { return scene.output; }
  const judge::Table& input(size_t i) const { return scene.inputs[i]; }
  uint64_t tokens() const { return scene.tokens.tokens.size(); }
  const std::vector<uint32_t>& positions() const { return scene.tokens.positions; }
  bool fails(uint64_t row, uint64_t column) const;
  /// The trace's steps; empty where the operation stands alone.
  std::span<const trace::TraceStep> steps() const;
  /// The trace at another place; empty where the operation stands alone.
  std::optional<diff::Scene> scene_at(uint32_t step, size_t operation) const;
  /// Another tensor of the same step; empty where the trace doesn't have it.
  judge::Table tensor(std::string_view name) const;
};

/// What a hypothesis pays for what was fitted, in bits: how many answers there were to choose from.
namespace price {
/// One of `n`.
inline double of(double n) {
  return n > 1 ? std::log2(n) : 0;
}
/// A number with this many digits, its sign and its size.
inline double number(int digits) {
  return 4 + 3.4 * digits;
}
/// `k` things of `n`.
double some_of(uint64_t k, uint64_t n);
}  // namespace price

/// Weighs hypotheses. Each element that failed and that a hypothesis brings inside its limits is worth
/// log2(its error / what is allowed) bits: so unlikely is it that a wrong hypothesis hits it. What was
/// fitted costs (price). A hypothesis counts where it explains all elements that failed (of more than
/// 200: all but one in 200), leaves those that passed as they are, and is worth 10 bits more than it
/// costs: one in a thousand by chance. Of those that count the cheapest wins, of equal ones that which
/// has most values to the last bit (zeros, not what is nearly zero); others as cheap are its ties.
class Contest {
 public:
  /// Where the operation's output was not recorded: another one was, which it leads to.
  struct Carried {
    const judge::Table& got;     ///< the recorded output
    const judge::Judged& usual;  ///< as it should be
    /// As it would be where the operation gave what is altered.
    std::function<judge::Judged(const judge::Judged& altered)> of;
    /// The same in the limits of correct engines with what is altered, which takes long: asked where
    /// `of` comes near.
    std::function<judge::Judged(const judge::Judged& altered)> closely;
    /// Only causes that these name (key_of) are tried; nullptr: all.
    const std::set<std::string>* only = nullptr;
  };

  explicit Contest(const Case& the) : Contest(the, the.got(), the.usual, nullptr) {}
  /// `carried` must outlive the contest. There is no pattern to fit in what was not recorded.
  Contest(const Case& the, const Carried& carried)
      : Contest(the, carried.got, carried.usual, &carried) {}
  static std::string key_of(const Cause& cause) { return cause.id + ": " + cause.evidence; }

  /// `judged` is the operation with one thing altered: everywhere, or, where that alone fits, in the
  /// tokens, heads or channels that fail. `shown` are bits that the values themselves are worth (all
  /// are f16's, say). True where it counts.
  bool offer(Cause cause, const judge::Judged& judged, double price = 0, double shown = 0);
  /// The same of what is another of whole tokens, such as their positions: channels that fail alone do
  /// not show it.
  bool offer_of_tokens(Cause cause, judge::Table want, double price = 0);
  /// The same of what makes numbers too large: where both are not finite, it reproduces the engine's.
  bool offer_overflow(Cause cause, const judge::Judged& judged, double price = 0, double shown = 0);
  /// The same with another `want` in the usual limits.
  bool offer(Cause cause, judge::Table want, double price = 0);
  /// A parameter that was fitted: tried as rounded to 1, 2 … 7 digits, then as it is, until one
  /// reproduces. `make` gives the cause and what the operation would be.
  bool offer_rounded(double value,
                     const std::function<std::pair<Cause, judge::Judged>(double)>& make,
                     double price = 0);
  /// As offer; where nothing reproduces what the engine gave exactly, the one that comes nearest
  /// counts, if it leaves under a twentieth of the difference's square: weights that were altered
  /// and then quantised again.
  bool offer_nearly(Cause cause, const judge::Judged& judged, double price = 0);
  /// Another name for what counted last, where more is known of it.
  void rename(Cause cause);
  /// Shown by other evidence than a reproduction (docs/diagnosis.md); loses against any of those.
  void adopt(Cause cause);

  Cause result() const;
  /// Something simple counts: what would have to be fitted need not be tried.
  bool decided() const;
  /// The operation's own output was not recorded: what the case has of it is what it should be.
  bool is_carried() const { return carried_ != nullptr; }
  /// What counts, by key.
  std::set<std::string> keys() const;
  /// The price of the result; infinite where it is unknown.
  double price() const;

  /// Elements that fail, as indices of the recorded output.
  const std::vector<uint64_t>& failing() const { return failing_; }

 private:
  struct Counted {
    Cause cause;
    std::string key;
    uint64_t left, exact;
    double gain, price;
    bool everywhere;
  };
  struct Fit {
    uint64_t left = 0;   ///< elements outside
    uint64_t exact = 0;  ///< elements that failed, to the last bit of f32
    double gain = 0;
  };
  Fit fit(const judge::Judged& judged, const std::vector<bool>* within) const;
  bool count(Cause& cause, std::string key, const Fit& fit, double price, bool everywhere);
  /// The parts of the output in which nothing passes by design: (token, head), tokens, channels.
  struct Region {
    std::vector<bool> within;
    double price = 0;
    std::string name;
    bool of_channels = false;
  };
  void make_regions();

  Contest(const Case& the, const judge::Table& got, const judge::Judged& usual,
          const Carried* carried);
  bool offer_recorded(Cause cause, const judge::Judged& judged, double price, double shown);
  const Counted* best() const;

  const Case& case_;
  const judge::Table& got_;
  const judge::Judged& usual_;
  const Carried* carried_;
  std::vector<uint64_t> failing_;
  std::vector<double> error_;  ///< of each of them
  std::vector<Region> regions_;
  std::vector<Counted> counted_;
  std::optional<Cause> near_, adopted_;
  double left_ = 0.05;
  bool overflows_ = false, of_tokens_ = false;
};

/// x rounded to this many significant digits.
double rounded(double x, int digits);
/// The square of how far two tables are apart.
double distance(const judge::Table& a, const judge::Table& b);
/// Where a function is least between two bounds: by a grid of so many points, then golden section.
double least_along(double low, double high, int points, const std::function<double(double)>& of);
/// The type that the contract gives the operation's results.
judge::NumberType result_of(const Case& the);
/// A product with the limits of the operation's contract.
judge::Judged judged(const Case& the, judge::Product product);
/// The usual limits around another result.
judge::Judged with_limits(const Case& the, judge::Table want);
/// What the operation would give with other parameters, without its bias or its weight, or from
/// other inputs: the judge's own formula and limits.
judge::Judged expect_as(const Case& the, const op::Operation& altered);
judge::Judged expect_from(const Case& the, const op::Operation& altered,
                          std::span<const judge::Table* const> inputs);

/// The usual result times a factor of each token, which is rounded.
judge::Judged scaled_by(const Case& the, const std::function<double(uint64_t token)>& factor);
/// With what lacks in `without`, a bias, added twice.
judge::Table twice(const Case& the, const judge::Judged& without);

/// What each element becomes.
template <class Function>
judge::Table mapped(const judge::Table& a, Function function) {
  judge::Table out = a;
  for (double& value : out.data) value = function(value);
  return out;
}
template <class Function>
judge::Table mapped(const judge::Table& a, const judge::Table& b, Function function) {
  judge::Table out = a;
  for (size_t i = 0; i < out.data.size(); ++i) out.data[i] = function(a.data[i], b.data[i]);
  return out;
}

/// The hypotheses of the operation's kind.
void try_kind(const Case& the, Contest& contest);
// One function a kind of operation; each offers its hypotheses.
void try_matmul(const Case& the, Contest& contest);
/// Products of which a small part is wrong.
void try_products(const Case& the, Contest& contest);
void try_rope(const Case& the, Contest& contest);
void try_attention(const Case& the, Contest& contest);
void try_norm(const Case& the, Contest& contest);
void try_activation(const Case& the, Contest& contest);
void try_xielu(const Case& the, Contest& contest);
void try_scale(const Case& the, Contest& contest);
void try_soft_cap(const Case& the, Contest& contest);
void try_clamp(const Case& the, Contest& contest);
void try_position_scale(const Case& the, Contest& contest);
void try_store(const Case& the, Contest& contest);
void try_route(const Case& the, Contest& contest);
void try_experts(const Case& the, Contest& contest);
void try_expert_scale(const Case& the, Contest& contest);
/// spread_experts and mix_experts
void try_weights(const Case& the, Contest& contest);
void try_add(const Case& the, Contest& contest);
void try_embed(const Case& the, Contest& contest);
/// Clipped, kept as f16, a constant factor: of any operation.
void try_general(const Case& the, Contest& contest);
/// Where all that fails is zero: nobody wrote it.
void offer_zeros(const Case& the, Contest& contest);
/// Some of the heads are `instead`, the others are right: they were left out.
void offer_part_of_heads(const Case& the, Contest& contest, std::string evidence,
                         judge::Table instead);
/// Patterns of any result: scaled, moved, unwritten, in bits.
void try_patterns(const Case& the, Contest& contest);

}  // namespace assay::diagnose
