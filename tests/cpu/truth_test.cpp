// Kernels against f64 from the same inputs, each element inside its derived bound in u = 2^-24, and
// the mirror: over the sweep the worst error comes within a thousandth of each bound, so that no
// bound is too loose to see anything. The 2^-72 beside each bound is the contract's own floor.
#include "data.h"
#include "op/rope.h"

namespace assay::tests {
namespace {

constexpr double u = 0x1p-24;

/// The largest error of a sweep, as a share of its limit.
class Worst {
 public:
  explicit Worst(std::string name) : name_(std::move(name)) {}
  ~Worst() {
    EXPECT_GE(share_, 1e-3) << name_ << ": the bound is a thousand times too loose";
    testing::Test::RecordProperty(
        name_, std::to_string(share_) + " of the limit, " + std::to_string(worst_u_) + " u");
  }
  Worst(const Worst&) = delete;

  /// |got − want| <= limit_u·u·scale + 2^-72.
  void see(float got, double want, double limit_u, double scale, const std::string& where) {
    const double error = std::fabs(double(got) - want);
    ASSERT_TRUE(error <= limit_u * u * scale + 0x1p-72)
        << name_ << " " << where << ": got " << got << ", want " << want << ", error "
        << error / (u * scale) << " u, limit " << limit_u << " u";
    if (!(error > 0x1p-71)) return;
    share_ = std::max(share_, error / (limit_u * u * scale));
    worst_u_ = std::max(worst_u_, error / (u * scale));
  }

 private:
  std::string name_;
  double share_ = 0, worst_u_ = 0;
};

std::string at(const cpu::Kernels& kernels, uint32_t seed, uint64_t n, uint64_t i) {
  return std::string(kernels.isa) + " seed " + std::to_string(seed) + " size " + std::to_string(n) +
         " element " + std::to_string(i);
}

/// γ_n = n·u/(1 − n·u), in u: what n roundings can do at most (Higham 3.1).
double gamma_u(double n) {
  return n / (1 - n * u);
}

/// 4√n in place of n for sums of independent roundings (Higham and Mary 2019), 8 for the rest.
double float_dot_limit(uint64_t n) {
  return std::min(8 + 4 * std::sqrt(double(n)), gamma_u(double(n)));
}

/// RN(a + b): half an ulp, at most u·|y|.
TEST(Truth, Add) {
  Worst worst("add");
  Random random(1);
  const auto a = random.floats(4096), b = random.floats(4096);
  for (const cpu::Kernels* kernels : all_kernels()) {
    std::vector<float> y(4096);
    kernels->add(a.data(), b.data(), 4096, y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      const double want = double(a[i]) + double(b[i]);
      worst.see(y[i], want, 1, std::fabs(want), at(*kernels, 1, 4096, i));
    }
  }
}

/// 4 + √n/4 of |y|: n/32 fma a lane and 5 steps of the tree, all terms of one sign, halved by the
/// root; mean, + eps, root, quotient and two products.
TEST(Truth, RmsNorm) {
  for (uint64_t n : {1u, 31u, 32u, 33u, 255u, 257u, 576u, 4096u}) {
    Worst worst("rms_norm " + std::to_string(n));
    for (uint32_t seed = 0; seed < 8; ++seed) {
      Random random(seed);
      const auto x = random.floats(n), w = random.floats(n);
      double sum = 0;
      for (float v : x) sum += double(v) * v;
      const double r = 1 / std::sqrt(sum / double(n) + double(1e-5f));
      for (const cpu::Kernels* kernels : all_kernels()) {
        std::vector<float> y(n);
        kernels->rms_norm(x.data(), w.data(), n, 1e-5f, y.data());
        for (uint64_t i = 0; i < n; ++i) {
          const double want = x[i] * r * w[i];
          worst.see(y[i], want, 4 + std::sqrt(double(n)) / 4, std::fabs(want),
                    at(*kernels, seed, n, i));
        }
      }
    }
  }
}

/// 6 + √n/4 of (|x − m| + Σ|x|/n)·|w|·r + |b|: as RmsNorm's, one rounding more for x − m and one for b;
/// x − m takes over the mean's error.
TEST(Truth, LayerNorm) {
  for (uint64_t n : {2u, 31u, 32u, 33u, 255u, 257u, 509u, 4096u}) {
    Worst worst("layer_norm " + std::to_string(n));
    for (uint32_t seed = 0; seed < 8; ++seed) {
      Random random(seed);
      auto x = random.floats(n);
      const auto w = random.floats(n), b = random.floats(n);
      for (float& value : x) value += float(seed);  // means of 0 … 7
      double mean = 0, size = 0, squares = 0;
      for (float v : x) mean += double(v) / double(n), size += std::fabs(double(v)) / double(n);
      for (float v : x) squares += (v - mean) * (v - mean);
      const double r = 1 / std::sqrt(squares / double(n) + double(1e-5f));
      for (const cpu::Kernels* kernels : all_kernels()) {
        std::vector<float> y(n);
        kernels->layer_norm(x.data(), w.data(), b.data(), n, 1e-5f, y.data());
        for (uint64_t i = 0; i < n; ++i) {
          const double product = (x[i] - mean) * r * w[i];
          const double scale = (std::fabs(x[i] - mean) + size) * r * std::fabs(double(w[i]));
          worst.see(y[i], product + b[i], 6 + std::sqrt(double(n)) / 4,
                    scale + std::fabs(double(b[i])), at(*kernels, seed, n, i));
        }
      }
    }
  }
}

/// 8 of |y|: e^-g at most 4 (relative error under 2^-22), 1 + e^-g, quotient, product; one spare.
TEST(Truth, SwiGlu) {
  Worst worst("swiglu");
  Random random(3);
  auto gate = random.floats(20000), up = random.floats(20000);
  for (size_t i = 0; i < gate.size(); i += 2) gate[i] = 88 * random.uniform();
  for (const cpu::Kernels* kernels : all_kernels()) {
    std::vector<float> y(gate.size());
    kernels->gate(activation_silu, gate.data(), up.data(), y.size(), y.data());
    for (size_t i = 0; i < y.size(); ++i) {
      const double want = double(gate[i]) / (1 + std::exp(-double(gate[i]))) * double(up[i]);
      worst.see(y[i], want, 8, std::fabs(want), at(*kernels, 3, y.size(), i));
    }
  }
}

/// 4 of the pair's norm N, given the table: |x₀·c| + |x₁·s| <= N. The product rounds once, u·N, the
/// fma once, u·|y| <= u·N; the table's own rounding is another u·N where the judge has angles.
TEST(Truth, Rope) {
  Worst worst("rope");
  op::RopeParameters parameters;
  parameters.dimensions = 128;
  const op::RopeTable rope = op::make_rope(parameters, true);
  for (uint32_t position : {0u, 1u, 63u, 1024u, 131071u})
    for (bool adjacent : {true, false}) {
      Random random(position);
      const auto x = random.floats(128);
      std::vector<float> table(128), y(128);
      op::rope_row(rope, position, table);
      for (const cpu::Kernels* kernels : all_kernels()) {
        kernels->rope(x.data(), table.data(), 128, 128, adjacent, y.data());
        for (size_t i = 0; i < 64; ++i) {
          const size_t a = adjacent ? 2 * i : i, b = adjacent ? 2 * i + 1 : i + 64;
          const double c = table[2 * i], s = table[2 * i + 1];
          const double norm = std::hypot(double(x[a]), double(x[b]));
          worst.see(y[a], x[a] * c - x[b] * s, 4, norm, at(*kernels, position, 128, a));
          worst.see(y[b], x[a] * s + x[b] * c, 4, norm, at(*kernels, position, 128, b));
        }
      }
    }
}

/// d and x̂: |x − code·d| <= d/2 up to the roundings of d and of x·(127/max): 3 of |x| each way.
TEST(Truth, Quantise) {
  Random random(4);
  const auto x = random.floats(32 * 500);
  for (const cpu::Kernels* kernels : all_kernels()) {
    const contract::Row row = quantise(*kernels, x);
    double worst = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double d = row.scale[i / 32], error = std::fabs(x[i] - row.codes[i] * d);
      ASSERT_TRUE(error <= d / 2 + 6 * u * std::fabs(x[i])) << at(*kernels, 4, x.size(), i);
      worst = std::max(worst, d == 0 ? 0 : error / d);
    }
    EXPECT_GE(worst, 0.499);  // 16000 values: some code lies near the middle
  }
}

/// 8 + 4√(K/32) of (|W||x̂|), |W| = |scale·code| + |minimum|: exact integers in a group, then a few
/// roundings a group. Q2_K, of groups of 16 with a minimum, makes twice as many: twice the K.
TEST(Truth, QuantisedMatmul) {
  for (uint32_t type : block_formats) {
    const uint64_t block = quant::info(type).block_size;
    for (uint64_t columns : {block, 3 * block, 5 * block, 2048ul}) {
      const std::string name = std::string(quant::info(type).name) + " " + std::to_string(columns);
      Worst worst("matmul " + name);
      Random random(uint32_t(columns) + type);
      const Matrix matrix = random_matrix(type, 257, columns, random);
      std::vector<contract::Row> x = {contract::quantise(random.floats(columns)),
                                      contract::quantise(random.floats(columns))};
      std::vector<double> want(2 * 257), scale(2 * 257);
      for (uint64_t r = 0; r < 257; ++r)
        quant::visit(type, [&]<class F>() {
          if constexpr (!quant::is_float_format<F>)
            for (uint64_t k = 0; k < columns; ++k) {
              const uint8_t* bytes = matrix.weight.row(r).data() + k / block * F::block_bytes;
              const uint32_t i = uint32_t(k % block), group = i / F::group_size;
              const double w =
                  double(F::scale(bytes, group)) * double(quant::value_of<F>(F::code(bytes, i)));
              double minimum = 0;
              if constexpr (F::has_minimum) minimum = double(F::minimum(bytes, group));
              for (size_t t = 0; t < 2; ++t) {
                const double activation = x[t].codes[k] * double(x[t].scale[k / 32]);
                want[t * 257 + r] += (w + minimum) * activation;
                scale[t * 257 + r] += (std::fabs(w) + std::fabs(minimum)) * std::fabs(activation);
              }
            }
        });
      const double blocks = double(columns) / (type == quant::Q2_K::id ? 16 : 32);
      for (const cpu::Kernels* kernels : all_kernels()) {
        const auto y = multiply(*kernels, matrix.weight, x);
        for (size_t i = 0; i < y.size(); ++i)
          worst.see(y[i], want[i], 8 + 4 * std::sqrt(blocks), scale[i],
                    at(*kernels, uint32_t(columns) + type, columns, i));
      }
    }
  }
}

/// 8 + 4√K of (|W||x|), never more than γ_K.
TEST(Truth, FloatMatmul) {
  for (uint32_t type : all_formats) {
    const uint64_t block = quant::info(type).block_size;
    for (uint64_t columns : {block, 3 * block, 31 * block, 2048ul}) {
      const std::string name = std::string(quant::info(type).name) + " " + std::to_string(columns);
      // F16 × f32 rounds once at K = 1, as f32 × f32: never exact for random values.
      Worst worst("matmul_f32 " + name);
      Random random(uint32_t(columns) + type);
      const Matrix matrix = random_matrix(type, 129, columns, random);
      const std::vector<std::vector<float>> x = {random.floats(columns, 1000)};
      for (const cpu::Kernels* kernels : all_kernels()) {
        const auto y = multiply_f32(*kernels, matrix.weight, x);
        for (uint64_t r = 0; r < 129; ++r) {
          const auto w = contract::decoded(matrix.weight, r);
          double want = 0, scale = 0;
          for (uint64_t k = 0; k < columns; ++k) {
            want += double(w[k]) * double(x[0][k]);
            scale += std::fabs(double(w[k]) * double(x[0][k]));
          }
          worst.see(y[r], want, float_dot_limit(columns), scale,
                    at(*kernels, uint32_t(columns) + type, columns, r));
        }
      }
    }
  }
}

/// The f64 attention of one head and the limit of each output (as limit·scale).
struct AttentionTruth {
  std::vector<double> y, limit;
};

/// limit[i] = Σ_j p_j·|V_ji − y_i|·e_j + sums·Σ_j p_j·|V_ji|, in u. To first order a weight that is
/// wrong by the factor 1 + e moves y = ΣpV/Σp by p·(V − y)·e.
///   e_j: the score's dot (float_dot_limit of key_dim, of scale·Σ|qK|) and product (|s_j|); the
///        differences s − m, m − M … add up to max − s_j, one rounding each; 4 for an exponential,
///        of which there is one for p and at most one for each later chunk
///   sums: V in order of j inside a chunk, four roundings a chunk for O and L, 8 for the lanes, the
///        tree and the division
/// Scores here stay within 40 of their maximum, so no exponential is cut to zero.
AttentionTruth attention_truth(const std::vector<float>& query, const std::vector<float>& keys,
                               const std::vector<float>& values, float scale) {
  const size_t key_dim = query.size(), count = keys.size() / key_dim, dim = values.size() / count;
  std::vector<double> s(count), error(count);
  for (size_t j = 0; j < count; ++j) {
    double magnitude = 0;
    for (size_t d = 0; d < key_dim; ++d) {
      const double product = double(query[d]) * double(keys[j * key_dim + d]) * double(scale);
      s[j] += product;
      magnitude += std::fabs(product);
    }
    error[j] = float_dot_limit(key_dim) * magnitude + std::fabs(s[j]);
  }
  const double max = *std::max_element(s.begin(), s.end()), chunks = double((count + 63) / 64);
  double sum = 0;
  for (size_t j = 0; j < count; ++j) {
    EXPECT_LT(max - s[j], 40);
    error[j] += (max - s[j]) + 4 * (1 + (chunks - double(j / 64) - 1));
    sum += std::exp(s[j] - max);
  }
  AttentionTruth truth{std::vector<double>(dim), std::vector<double>(dim)};
  const double sums = float_dot_limit(std::min<uint64_t>(count, 64)) + 4 * chunks + 8;
  for (size_t i = 0; i < dim; ++i) {
    for (size_t j = 0; j < count; ++j)
      truth.y[i] += std::exp(s[j] - max) / sum * double(values[j * dim + i]);
    for (size_t j = 0; j < count; ++j) {
      const double p = std::exp(s[j] - max) / sum, v = double(values[j * dim + i]);
      truth.limit[i] += p * (std::fabs(v - truth.y[i]) * error[j] + sums * std::fabs(v));
    }
  }
  return truth;
}

template <class Element>
void attention_against_truth(const char* name) {
  for (uint32_t keys : {1u, 31u, 64u, 65u, 257u, 1025u}) {
    double worst = 0;
    for (uint32_t dim : {16u, 64u, 80u, 128u}) {
      const uint32_t seed = keys + dim;
      Random random(seed);
      std::vector<float> query(dim), k(uint64_t(keys) * dim), v(uint64_t(keys) * dim);
      for (auto* list : {&query, &k, &v})
        for (float& value : *list) value = 2 * random.uniform();
      const float scale = 1 / std::sqrt(float(dim));
      const HeadCache<Element> cache(keys, dim, dim, k, v);
      const AttentionTruth truth =
          attention_truth(query, cache.plain_keys, cache.plain_values, scale);
      for (const cpu::Kernels* kernels : all_kernels()) {
        const auto y = cache.attend(*kernels, query, scale);
        for (size_t i = 0; i < dim; ++i) {
          const double error = std::fabs(double(y[i]) - truth.y[i]);
          ASSERT_TRUE(error <= u * truth.limit[i] + 0x1p-72)
              << name << " " << at(*kernels, seed, keys, i) << ": " << error / u << " u of "
              << truth.limit[i];
          worst = std::max(worst, error / (u * truth.limit[i]));
        }
      }
    }
    // One key: y = V·1/1, exact. Else within a thousandth.
    if (keys == 1)
      EXPECT_EQ(worst, 0);
    else
      EXPECT_GE(worst, 1e-3) << name << " keys " << keys << ": the bound is too loose";
  }
}

TEST(Truth, AttentionWithAnF16Cache) {
  attention_against_truth<uint16_t>("f16");
}
TEST(Truth, AttentionWithAnF32Cache) {
  attention_against_truth<float>("f32");
}

}  // namespace
}  // namespace assay::tests
