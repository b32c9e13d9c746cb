// A failing operation with all that a hypothesis may look at, and the contest of hypotheses.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
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

/// Keeps the hypothesis that reproduces most of what the engine gave.
class Contest {
 public:
  /// Where the operation's output was not recorded: what an altered output makes of one that was.
  struct Carry {
    std::function<judge::Seen(const judge::Table& want)> compare;
    uint64_t failures;  ///< of the recorded output, as it should be
  };

  explicit Contest(const Case& the) : case_(the) {}
  /// `carry` must outlive the contest. Notes and what comes near count for nothing there.
  Contest(const Case& the, const Carry& carry) : case_(the), carry_(&carry) {}

  /// `judged` is the operation with one thing altered. It counts where it explains all elements
  /// that failed (of more than 200: all but one in 200), and it wins where it explains more than
  /// those before it.
  bool offer(Cause cause, const judge::Judged& judged);
  /// The same with another `want` in the usual limits.
  bool offer(Cause cause, judge::Table want);
  /// A parameter that was fitted: tried as rounded to 3, 4 … 7 digits, then as it is, until one
  /// reproduces. `make` gives the cause and what the operation would be.
  bool offer_rounded(double value,
                     const std::function<std::pair<Cause, judge::Judged>(double)>& make);
  /// As offer; where nothing reproduces what the engine gave exactly, the one that comes nearest
  /// counts, if it leaves under a twentieth of the difference's square: weights that were altered
  /// and then quantised again.
  bool offer_nearly(Cause cause, const judge::Judged& judged);
  /// Another name for what won, where more is known of it.
  void rename(Cause cause);
  /// A pattern that needs no altered arithmetic; loses against any that was reproduced.
  void note(Cause cause);

  Cause result() const;
  bool decided() const { return best_.has_value(); }
  /// Elements that the best leaves unexplained.
  uint64_t left() const { return failures_; }

 private:
  const Case& case_;
  const Carry* carry_ = nullptr;
  std::optional<Cause> best_, near_, noted_;
  uint64_t failures_ = UINT64_MAX;
  double left_ = 0.05;
};

/// x rounded to this many significant digits.
double rounded(double x, int digits);
/// The usual limits around another result.
judge::Judged with_limits(const Case& the, judge::Table want);
/// What the operation would give with other parameters, without its bias or its weight, or from
/// other inputs: the judge's own formula and limits.
judge::Judged expect_as(const Case& the, const op::Operation& altered);
judge::Judged expect_from(const Case& the, const op::Operation& altered,
                          std::span<const judge::Table* const> inputs);

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

}  // namespace assay::diagnose
