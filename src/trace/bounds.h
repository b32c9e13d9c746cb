// How far an executor of the contract may be from the judge, per element, in u = 2^-24 (half an ulp
// of f32 at 1). An element passes where |got − want| <= limit·u·scale + 2^-72; the scale stands
// with each limit. The 2^-72 is the contract's own: results of smaller magnitude become zero.
// Source of the rules: Higham, Accuracy and Stability of Numerical Algorithms, 3.1 and 3.5; for √n
// instead of n, Higham and Mary 2019: where roundings are independent and of mean zero, n of them
// add up to more than 4√n·u with a chance below 2·e^−8 (Hoeffding).
#pragma once

#include <cstdint>
#include <vector>

#include "reference/operations.h"

namespace assay::trace {

inline constexpr double unit = 0x1p-24;
inline constexpr double absolute_floor = 0x1p-72;

/// Above 1 where an element fails; an error where none is allowed is worse than any other.
inline double badness(double error_u, double limit_u) {
  return limit_u > 0 ? error_u / limit_u : error_u * 1e30;
}

/// embed, select_rows, kv_store (whose rounding to f16 is exact by definition).
inline constexpr double copy_limit = 0.0;

/// RN(a + b): half an ulp, of |y|.
inline constexpr double add_limit = 1.0;

/// RN(RN(x·factor) + b), of |x·factor| + |b|: one a rounding.
inline constexpr double scale_limit = 2.0;

/// RN(k_silu(g)·u), of |y|: e^−g 4 (its relative error is under 2^-22), 1 + e^−g 1, quotient 1,
/// product 1, one spare.
inline constexpr double swiglu_limit = 8.0;

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
/// (reference::Terms::parts). The decoded |w| would be wrong: one activation that outweighs its row
/// and a weight whose parts cancel give any number of u (default model, blk.28.down, token 0: 31).
/// A chunk of 256 with one large first group and nothing after it rounds a full sum at every step,
/// so the limit must pass √steps: one or two steps a block do (4√16 of 19.3), Q2_K's four (4√32)
/// get 8 + 4√(2·K/32).
double quantised_matmul_limit(uint64_t columns, uint32_t steps = 2);

/// The fma that the contract's chain makes for 32 columns: one a group, one more where it has a
/// minimum.
uint32_t chain_steps(uint32_t weight_type);

/// Of (|W||x|)_row: 8 + 4√K, and never more than γ_K = K·u/(1 − K·u), which no order of K fma can
/// pass; + 1 for a bias.
double float_matmul_limit(uint64_t columns, bool bias);

struct Limit {
  double scale;    ///< what the error is measured against
  double limit_u;  ///< how many u of it
};

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
std::vector<Limit> attention_limits(const reference::Attended& head, const reference::Cache& cache,
                                    uint32_t kv_head, const op::Attention& attention);

}  // namespace assay::trace
