// The f64 formula of each kind of operation, in plain loops: no SIMD, no threads, no caches of what
// was computed before. It shares no code with an executor that it judges, but the formats' own
// decode. Beside each formula stands its bound: how far an executor of the contract may be from it,
// per element, in u = 2^-24 (half an ulp of f32 at 1). An element passes where |got − want| <=
// limit·u·scale + 2^-72; the scale stands with each limit. The 2^-72 is the contract's own: results
// of smaller magnitude become zero. Source of the rules: Higham, Accuracy and Stability of Numerical
// Algorithms, 3.1 and 3.5; for √n instead of n, Higham and Mary 2019: where roundings are
// independent and of mean zero, n of them add up to more than 4√n·u with a chance below 2·e^−8
// (Hoeffding). Each kind's file (NAME.cpp) holds both, and what expect() (judge.h) makes of them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "judge/contract.h"
#include "judge/table.h"
#include "op/program.h"

namespace assay::judge {

inline constexpr double unit = 0x1p-24;
inline constexpr double absolute_floor = 0x1p-72;

/// Above 1 where an element fails; an error where none is allowed is worse than any other.
inline double badness(double error_u, double limit_u) {
  return limit_u > 0 ? error_u / limit_u : error_u * 1e30;
}

/// select_rows, kv_store (whose rounding to f16 is exact by definition), embed.
inline constexpr double copy_limit = 0.0;

/// w[c] = decode(W[row, c])                                                   (columns)
std::vector<double> decode_row(const op::Weight& weight, uint64_t row);

/// y[i] = x[i] / √(Σ x²/n + eps) · w[i], each part of n values by itself   x, y: (parts·n), w: (n)
/// or (parts·n)
std::vector<double> rms_norm(std::span<const double> x, uint32_t parts, std::span<const double> w,
                             double eps);

/// Rule 1 of the contract: per 32 values, in f32, m = max|x|, d = m/127, code = rne(x·(127/m));
/// returns d·code. d = 0 where m < 2^-72; d = NaN where a value is NaN or infinite.          (n) →
/// (n)
std::vector<double> quantise(std::span<const double> x);

/// True where the contract quantises the activations that meet this weight: formats of blocks.
bool meets_quantised(const op::Weight& weight);

/// y[t, r] = Σ_c W[r, c]·x[t, c] (+ b[r])                      x: (tokens, columns) → (tokens,
/// rows)
Table matmul(const op::Weight& weight, const op::Weight* bias, const Table& x);

/// What is added up in a row: whole weights, or, where a chain of integer blocks adds them one by
/// one, the parts scale·code and minimum of each. The parts can cancel: |W| may be far smaller.
enum class Terms { weights, parts };

/// Σ_c |W|[r, c]·|x[t, c]| (+ |b[r]|), |W| as `terms` says: what rounding errors are measured
/// against.
Table matmul_magnitude(const op::Weight& weight, const op::Weight* bias, const Table& x,
                       Terms terms);

/// y₀ = (x₀·cos − x₁·sin)·magnitude, y₁ = (x₀·sin + x₁·cos)·magnitude, angle =
/// position·frequency[i], each pair of each head; the lanes from rope.dimensions on pass. x, y:
/// (heads·head_dim)
std::vector<double> rope(std::span<const double> x, const op::RopeTable& rope, uint32_t heads,
                         uint32_t position);

/// The f16 nearest to x (ties to even), infinity from 65520 on.
double round_to_f16(double x);

/// p[j] = e^(s[j] − max s) / Σ_k e^(s[k] − max s)
std::vector<double> softmax(std::span<const double> scores);

/// One head of one query over the keys that it sees, first … position.
struct Attended {
  uint32_t first = 0;               ///< position of the first key
  std::vector<double> score;        ///< op::Attend's s[j]                    (keys)
  std::vector<double> magnitude;    ///< scale·Σ_d |q[d]·K[j, d]|             (keys)
  std::vector<double> slack;        ///< scale·Σ_d |q[d]|·key_slack[j, d]     (keys)
  std::vector<double> probability;  ///< softmax(s), of s and the sink        (keys)
  std::vector<double> output;       ///< y[i] = Σ_j p[j]·V[j, i]              (value_dim)
  double slope = 0;                 ///< ALiBi's
  std::optional<double> sink = {};
};
/// `head` is the query's; its sink, where there is one.
Attended attend(std::span<const double> query, const Cache& cache, uint32_t position, uint32_t head,
                const op::AttentionShape& attention, std::optional<double> sink = {});

/// All heads: head h reads KV head h / (heads/kv_heads).      query: (heads·key_dim), sinks: (heads)
/// or none → (heads·value_dim)
std::vector<double> attention(std::span<const double> query, const Cache& cache, uint32_t position,
                              const op::AttentionShape& attention,
                              std::span<const double> sinks = {});

/// f(x), as the activation's row says
double activate(op::Activation activation, double x);

/// y[i] = f(g[i / r])·u[i], r = |u| / |g|
std::vector<double> gate(op::Activation activation, std::span<const double> g,
                         std::span<const double> u);

/// y[i] = (x[i] − m)·w[i] / √(Σ (x − m)²/n + eps) + b[i], each part of n values by itself; w and b
/// (n) or (parts·n), b may be empty.
std::vector<double> layer_norm(std::span<const double> x, uint32_t parts, std::span<const double> w,
                               std::span<const double> b, double eps);

/// A routing: the ids of the chosen experts, then their weights (op::Route). b may be empty.
/// `chosen`, where not empty, are the ids that an engine chose: their weights.
std::vector<double> route(std::span<const double> logits, std::span<const double> b,
                          const op::Route& router, std::span<const uint32_t> chosen = {});

/// y[i] = a[i] + b[i]
std::vector<double> add(std::span<const double> a, std::span<const double> b);

/// y[i] = x[i]·factor + b[i]; b empty: no bias
std::vector<double> scale(std::span<const double> x, double factor, std::span<const double> b);

/// 4 + √n/4, of |y|. The sum has terms of one sign, n/32 fma a lane and 5 steps of the tree: √(n/32
/// + 5) at random, halved by the root. Then mean, + eps, root, quotient and two products.
double rms_norm_limit(uint64_t n);

/// 4 + position·2^-28, of the pair's norm times the magnitude of the rotation. With N = |(x₀, x₁)|
/// and c² + s² = 1, |x₀·c| + |x₁·s| <= N. Table: c and s rounded once, u·(|x₀c| + |x₁s|) <= u·N;
/// products: the same again; sum: u·|y| <= u·N; together 3, one spare. The f64 angle
/// position·frequency (frequency <= 1) is off by position·2^-53 = position·2^-29·u.
double rope_limit(uint32_t position);

/// Of (|W||x̂|)_row, x̂ the activations as quantised: blocks of 32 are exact integers, the chain over
/// them makes a few roundings a block: 8 + 4√(K/32). Where the format has a minimum the chain adds
/// scale·Σ code·x̂ and minimum·Σ x̂ apart, so |W| is |scale·code| + |minimum|
/// (Terms::parts). The decoded |w| would be wrong: one activation that outweighs its row
/// and a weight whose parts cancel give any number of u (default model, blk.28.down, token 0: 31).
/// A chunk of 256 with one large first group and nothing after it rounds a full sum at every step,
/// so the limit must pass √steps: one or two steps a block do (4√16 of 19.3), Q2_K's four (4√32)
/// get 8 + 4√(2·K/32).
double quantised_matmul_limit(uint64_t columns, uint32_t steps = 2);

/// The number of fma that the contract's chain makes for 32 columns: one per group, one more if it
/// has a minimum.
uint32_t chain_steps(uint32_t weight_type);

/// Of (|W||x|)_row: 8 + 4√K, and never more than γ_K = K·u/(1 − K·u), which no order of K fma can
/// pass; + 1 for a bias.
double float_matmul_limit(uint64_t columns, bool bias);

struct Limit {
  double scale;    ///< what the error is measured against
  double limit_u;  ///< how many u of it
};

/// 6 + √n/4, of (|x − m| + Σ|x|/n)·|w|·r + |b|, r the root's inverse: as rms_norm_limit, with one
/// rounding more for x − m and one for b; the mean itself is off by up to (√n/4 + 2)·u·Σ|x|/n, which
/// x − m takes over.
double layer_norm_limit(uint64_t n);

/// For one head, each output i. With w[j] = e^(s[j] − max s) and w'[j] what an executor has in its
/// place, y' − y = Σ (w'[j] − w[j])·(V[j,i] − y[i]) / Σ w'[j], as Σ w·(V − y) = 0: a factor common
/// to all weights cancels. w'[j] lies in w[j]·e^±e[j], and e[j], in u, is the sum of
///   - the score: float_matmul_limit(key_dim) of scale·Σ|q·K| for the dot, |s[j]| for its scaling;
///   - max s − s[j]: the differences s − m_c, m_c − M', M − M' … add up to it, each rounded once;
///   - 4 for each exponential: one for p[j] and at most one for each later chunk;
/// or it is 0, where s[j] may be 49 or more below the maximum: exp is 0 below −50. So
///   limit·scale = Σ max|w' − w|·|V[j,i] − y[i]| / Σ min w'  +  sums·scale
///   scale = Σ max w'·|V[j,i]| / Σ min w'
/// neither further off than the values are: max|V[j,i] − y[i]|, max|V[j,i]|. For ordinary scores
/// this is Σ p·|V − y|·e and Σ p·|V|; where scores are so large (above 2^20) that u of one is more
/// than the distance between two, any key can win, and only that remains.
/// `sums`: V in order inside a chunk (float_matmul_limit of 64 keys at most), four roundings a
/// chunk where chunks combine (two for O, two for L), and 8 for the lanes and the tree of L and the
/// last division.
/// A soft cap adds 4 u of the cap to a score (lang/activation.h) and makes no error larger; ALiBi
/// adds 4 u of what it takes away (its slope is a power that engines round); a sink is a key whose
/// score is exact and whose value is 0.
/// Coarser types (t is half an ulp of one) add to e[j], absolute: 2·t of scale·Σ|q·K| for rounded
/// queries and keys; √key_dim/2·t of it for sums of scores; 2·t of |s[j]| for scores that are kept, after
/// the dot and after its scaling (of scale·Σ|q·K| under a soft cap), and t of max s − s[j] where
/// sums are coarse, too; and to the sums, in Σ p·|V|: 2·t for weights of the softmax (each, and
/// their sum), t for rounded values, (2 + 4√keys)·t for sums of values. Those begin at up to 2^-3 of their value (the
/// softmax is shifted against overflow), where f16 is spaced by 2^-24: 2^-22 a rounding. Cached
/// values that may as well be their neighbour (Cache::key_slack) move a score by |q|·slack, and the
/// output by p·slack.
std::vector<Limit> attention_limits(const Attended& head, const Cache& cache, uint32_t kv_head,
                                    const op::AttentionShape& attention,
                                    const Roundings& roundings = {});

}  // namespace assay::judge
