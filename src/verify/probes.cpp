// Questions to a device's arithmetic. Each is asked through operations, as a model would.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "kernel/sampling.h"
#include "op/kinds.h"
#include "quant/formats.h"
#include "verify/builder.h"
#include "verify/verify.h"

namespace assay::verify {

namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// The value of an f16 code, by its definition.
float value_of_half(uint32_t code) {
  const int exponent = int(code >> 10 & 31), mantissa = int(code & 1023);
  const double magnitude = exponent == 31  ? (mantissa ? double(nan) : double(infinity))
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(mantissa + 1024, exponent - 25);
  return float(code >> 15 ? -magnitude : magnitude);
}

bool same_value(float got, float want) {
  return got == want || (std::isnan(got) && std::isnan(want));
}

/// Runs a builder's program on the device in one step.
class Bench {
 public:
  explicit Bench(const Settings& settings) : settings_(settings) {}
  Result<StepOutputs> all(const Case& one) const {
    auto executor = make(one);
    if (!executor) return executor.error();
    StepOutputs all;
    run(**executor, one, one.judged,
        [&](size_t, const Step&, const StepOutputs& outputs) { all = outputs; });
    return all;
  }
  /// The output of the last operation, or of the one that many operations before it.
  Result<std::vector<float>> last(Builder& builder, size_t before = 0) const {
    auto outputs = all(builder.finish("probe"));
    if (!outputs) return outputs.error();
    return std::move((*outputs)[outputs->size() - 1 - before]);
  }

  /// What the device finds to be the best of the last operation's row, which is of one token.
  Result<std::vector<op::Candidate>> best(Builder& builder, uint32_t most) const {
    const Case one = builder.finish("probe");
    auto executor = make(one);
    if (!executor) return executor.error();
    const int32_t token = 0;
    const uint32_t zero = 0;
    return std::move(
        (*executor)->run_best({{&token, 1}, {&zero, 1}, {&zero, 1}, {&zero, 1}}, most)[0]);
  }
  /// What the device draws after token 0 at position 0; empty where it draws none.
  Result<std::vector<int32_t>> drawn(const Case& one, const op::Drawing& how,
                                     uint32_t count) const {
    auto executor = make(one);
    if (!executor) return executor.error();
    if ((*executor)->most_ahead(how) < count) return std::vector<int32_t>();
    const int32_t token = 0;
    const uint32_t zero = 0;
    return (*executor)->run_ahead({{&token, 1}, {&zero, 1}, {&zero, 1}, {&zero, 1}}, {&how, 1},
                                  count);
  }

 private:
  Result<std::unique_ptr<op::Executor>> make(const Case& one) const {
    op::ExecutorOptions options = options_for(one);
    options.isa = settings_.path.isa;
    options.threads = settings_.path.threads;
    return settings_.device(*one.program, options);
  }
  const Settings& settings_;
};

/// The verdict on a row of values, element by element.
Probe judged(std::string name, const std::vector<float>& got, const std::vector<float>& want,
             std::string_view passed) {
  Probe probe{std::move(name), std::string(passed), got.size() == want.size()};
  for (size_t i = 0; i < want.size() && probe.pass; ++i) {
    if (same_value(got[i], want[i])) continue;
    probe.pass = false;
    probe.found = fmt::format("element {} is {:.9g}, {:.9g} is right", i, got[i], want[i]);
  }
  return probe;
}

Result<Probe> half_weights(const Bench& bench) {
  Builder builder(1);
  std::vector<uint8_t> bytes;
  std::vector<float> want;
  for (uint32_t code = 0; code < 65536; ++code) {
    bytes.push_back(uint8_t(code)), bytes.push_back(uint8_t(code >> 8));
    want.push_back(value_of_half(code));
  }
  builder.add(op::Matmul{}, {builder.given(1, {1.0f})},
              builder.weight(quant::F16::id, 65536, 1, std::move(bytes)));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("f16 weights", *got, want, "all 65536 codes");
}

/// Every f16 value, the midpoint to the next (a tie, which goes to the even code), and both
/// neighbours of the midpoint.
Result<Probe> half_cache(const Bench& bench) {
  constexpr uint32_t width = 64;
  std::vector<float> rows, want;
  for (uint32_t code = 0; code < 65536; ++code) {
    const float value = value_of_half(code);
    rows.push_back(value), want.push_back(value);
    if ((code & 0x7FFF) > 0x7BFF) continue;      // no value beyond
    const float next = value_of_half(code + 1);  // infinity after 65504, as if it were 65536
    const float middle = std::isinf(next) ? std::copysign(65520.0f, value)
                                          : float((double(value) + double(next)) / 2);
    rows.insert(rows.end(),
                {middle, std::nextafterf(middle, value), std::nextafterf(middle, next)});
    want.insert(want.end(), {code & 1 ? next : value, value, next});
  }
  while (rows.size() % (2 * width)) rows.push_back(0), want.push_back(0);
  const auto tokens = uint32_t(rows.size() / (2 * width));
  const auto half = int64_t(rows.size() / 2);
  Builder builder(tokens);
  builder.program().caches = {{1, width, width}};
  const uint32_t keys = builder.given(width, {rows.begin(), rows.begin() + half});
  builder.add(op::KvStore{0}, {keys, builder.given(width, {rows.begin() + half, rows.end()})});
  builder.input(1);  // a program ends with a value
  const auto got = bench.last(builder, 1);
  if (!got) return got.error();
  return judged("f16 cache", *got, want, "all codes exact, ties to even");
}

/// A query of zeros weighs all keys alike: y = RN(Σv/n) with an exact sum.
Result<Probe> division(const Bench& bench) {
  constexpr uint32_t width = 64, keys = 63;
  Random random(3);
  std::vector<float> values, want;
  std::vector<double> sum(width, 0.0);
  for (uint32_t t = 0; t < keys; ++t)
    for (uint32_t i = 0; i < width; ++i) {
      values.push_back(float(int32_t(random.below(2047)) - 1023));
      sum[i] += double(values.back());
      // a quotient of two f32 rounds the same by way of double (53 >= 2·24 + 2 bits)
      want.push_back(float(sum[i] / double(t + 1)));
    }
  Builder builder(keys);
  builder.program().caches = {{1, width, width}};
  const uint32_t zeros = builder.given(width, std::vector<float>(size_t(keys) * width, 0.0f));
  builder.add(op::KvStore{0}, {zeros, builder.given(width, values)});
  builder.add(op::Attend{0, 1, 1.0f}, {zeros});
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("division", *got, want, "correctly rounded");
}

/// y = RN(RN(x·r)·w), r = RN(1/RN(√RN(mean + eps))), of rows (1, x): the first element is r.
Result<Probe> square_root(const Bench& bench) {
  constexpr uint32_t tokens = 4096;
  constexpr float eps = 0x1p-20f;
  Random random(4);
  std::vector<float> rows, want;
  for (uint32_t t = 0; t < tokens; ++t) {
    const float x = 4 * random.uniform();
    rows.insert(rows.end(), {1.0f, x});
    const float square = x * x;  // both lanes' squares round before the tree adds them
    const float mean = (1.0f + square) / 2;
    const auto root = float(std::sqrt(double(mean + eps)));  // as in `division`
    const auto r = float(1.0 / double(root));
    want.insert(want.end(), {r, x * r});
  }
  Builder builder(tokens);
  builder.add(op::RmsNorm{eps}, {builder.given(2, rows)}, builder.weight({1.0f, 1.0f}));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("square root", *got, want, "correctly rounded");
}

/// Pairs whose product is not exact.
std::vector<float> factors(uint32_t count, uint64_t seed) {
  Random random(seed);
  std::vector<float> x(count);
  for (float& value : x) value = 1 + random.uniform() / 4;
  return x;
}

/// scale: RN(RN(x·factor) + b) with b = −RN(x·factor) is 0; a contracted one gives the rest.
Result<Probe> contraction(const Bench& bench) {
  constexpr uint32_t width = 257;
  constexpr float factor = 0x1.555556p-1f;
  const std::vector<float> x = factors(width, 5);
  std::vector<float> b;
  for (const float value : x) b.push_back(-(value * factor));
  Builder builder(1);
  builder.add(op::Scale{factor}, {builder.given(width, x)}, op::none, builder.weight(b));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("contraction", *got, std::vector<float>(width, 0.0f), "none");
}

/// matmul in f32: fma(w₁, x₁, fma(w₀, x₀, 0)) with w₀·x₀ = −RN(w₁·x₁) is the rest of the product.
Result<Probe> written_fma(const Bench& bench) {
  constexpr uint32_t rows = 257;
  const std::vector<float> a = factors(rows, 6);
  const float b = 0x1.333334p-1f;
  std::vector<float> weights, want;
  for (const float value : a) {
    const float product = value * b;
    weights.insert(weights.end(), {-product, value});
    want.push_back(float(double(value) * double(b) - double(product)));
  }
  std::vector<uint8_t> bytes(weights.size() * sizeof(float));
  for (size_t i = 0; i < weights.size(); ++i)
    for (size_t k = 0; k < 4; ++k)
      bytes[4 * i + k] = uint8_t(std::bit_cast<uint32_t>(weights[i]) >> 8 * k);
  Builder builder(1);
  builder.add(op::Matmul{}, {builder.given(2, {1.0f, b})},
              builder.weight(quant::F32::id, rows, 2, std::move(bytes)));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("written fma", *got, want, "one rounding");
}

/// (a + b) − a by two additions: RN(RN(a + b) − a), which is not b.
Result<Probe> reassociation(const Bench& bench) {
  constexpr uint32_t width = 257;
  const std::vector<float> a = factors(width, 7);
  std::vector<float> b = factors(width, 8), minus(width), want(width);
  for (uint32_t i = 0; i < width; ++i) {
    b[i] *= 0x1p-12f;
    minus[i] = -a[i];
    const float sum = a[i] + b[i];
    want[i] = sum - a[i];
  }
  Builder builder(1);
  const uint32_t x = builder.given(width, a), y = builder.given(width, b),
                 z = builder.given(width, minus);
  builder.add(op::Add{}, {builder.add(op::Add{}, {x, y}), z});
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("(a + b) - a", *got, want, "not reassociated");
}

/// The codes of activations: with max|x| = 127 a code is rne(x), seen through weights of 1.
Result<Probe> ties(const Bench& bench) {
  std::vector<float> rows, want;
  for (int i = -126; i < 126; ++i) {
    std::vector<float> row(32, 0.0f);
    row[0] = 127.0f;
    row[1] = float(i) + 0.5f;
    rows.insert(rows.end(), row.begin(), row.end());
    want.push_back(127.0f + float(i & 1 ? i + 1 : i));
  }
  std::vector<uint8_t> block = {0x00, 0x3C, 1, 1};  // Q8_0: scale 1 as f16, then 32 codes
  block.resize(34, 0);
  Builder builder(uint32_t(want.size()));
  builder.add(op::Matmul{}, {builder.given(32, rows)},
              builder.weight(quant::Q8_0::id, 1, 32, std::move(block)));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("codes", *got, want, "ties to even");
}

/// A denormal plus 0. Either answer holds the contract, where none arises.
Result<Probe> denormals(const Bench& bench) {
  constexpr float least = 0x1p-149f;
  Builder builder(1);
  const uint32_t x = builder.given(2, {least, 0x1p-127f}), zero = builder.given(2, {0.0f, 0.0f});
  builder.add(op::Add{}, {x, zero});
  const auto got = bench.last(builder);
  if (!got) return got.error();
  const bool kept = (*got)[0] == least && (*got)[1] == 0x1p-127f;
  const bool flushed =
      std::bit_cast<uint32_t>((*got)[0]) == 0 && std::bit_cast<uint32_t>((*got)[1]) == 0;
  return Probe{"denormals",
               kept      ? "kept"
               : flushed ? "flushed to zero"
                         : "neither kept nor zero",
               kept || flushed};
}

/// Outputs below 2^-72 become 0, so that no denormal can arise after them.
Result<Probe> floor(const Bench& bench) {
  Builder builder(1);
  builder.add(op::RmsNorm{0x1p-40f}, {builder.given(3, {1.0f, 1.0f, 1.0f})},
              builder.weight({0x1p-71f, -0x1p-74f, 0x1p-130f}));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("floor", *got, {0x1p-71f, 0, 0}, "below 2^-72 is 0");
}

/// What reads a NaN gives NaN, and so does a quantised row with an infinity.
Result<Probe> special(const Bench& bench, float value) {
  constexpr uint32_t width = 64;
  Builder builder(1);
  builder.program().caches = {{1, width, width}};
  std::vector<float> row(width, 0.5f), ones(width, 1.0f);
  row[37] = value;
  const uint32_t x = builder.given(width, row), y = builder.given(width, ones);
  struct Seen {
    std::string kind;
    size_t index;
    uint64_t element;  // one that must be NaN
  };
  std::vector<Seen> wanted;
  const auto add = [&](op::Parameters of, std::vector<uint32_t> inputs, uint64_t element,
                       uint32_t weight = op::none) {
    wanted.push_back({std::string(op::name_of(of)), builder.program().operations.size(), element});
    builder.add(of, std::move(inputs), weight);
  };
  const uint32_t routing = builder.given(2, {0.0f, 1.0f});  // the first expert, by 1
  for (const uint32_t type : {quant::F32::id, quant::F16::id, quant::Q8_0::id, quant::Q4_1::id}) {
    if (type == quant::F32::id && !std::isnan(value)) continue;  // there infinity stays infinity
    if (type == quant::F16::id && !std::isnan(value)) continue;
    add(op::Matmul{}, {x}, 1, builder.weight(type, 3, width));
    add(op::MatmulExperts{2}, {x, routing}, 1, builder.weight(type, 6, width));
  }
  add(op::RmsNorm{1e-5f}, {x}, 37, builder.weight(ones));
  add(op::LayerNorm{1e-5f}, {x}, 37, builder.weight(ones));
  if (std::isnan(value)) {
    add(op::Add{}, {x, y}, 37);
    for (const op::ActivationRow& activation : op::activations) {
      add(op::Gate{activation.activation}, {x, y}, 37);
      add(op::Gate{activation.activation}, {y, x}, 37);
      add(op::Activate{activation.activation}, {x}, 37);
    }
    add(op::Xielu{0.8f, 1.3f, 0.5f, -1e-6f}, {x}, 37);
    add(op::SoftCap{30}, {x}, 37);
    add(op::Clamp{-1, 1}, {x}, 37);
    add(op::ScaleExperts{}, {x, routing}, 37, builder.weight(std::vector<float>(2, 1.0f)));
    add(op::SpreadExperts{}, {x, routing}, 37);
    add(op::MixExperts{1}, {x, routing}, 37);
    add(op::Route{.used = 2}, {x}, 2);                  // the first weight: of the NaN itself
    add(op::Route{.used = 2, .of_chosen = 1}, {x}, 3);  // what stands beside it
    add(op::KvStore{0}, {y, x}, width + 37);
    add(op::Attend{0, 1, 1.0f}, {y}, 37);
    add(op::Attend{.heads = 1, .scale = 1.0f, .window = 1, .soft_cap = 30}, {y}, 37);
  }
  const size_t count = builder.program().operations.size();
  const std::string name = std::isnan(value) ? "NaN" : "infinity";
  Probe probe{name, std::isnan(value) ? "reaches all that reads it" : "gives NaN where quantised"};
  const Case one = builder.finish("probe");
  const auto outputs = bench.all(one);
  if (!outputs) return outputs.error();
  if (outputs->size() != count) return Probe{name, "operations are missing", false};
  for (const Seen& seen : wanted) {
    if (std::isnan((*outputs)[seen.index][seen.element]) || !probe.pass) continue;
    probe.pass = false;
    probe.found = fmt::format("{} hides it: element {} is {:.9g}", seen.kind, seen.element,
                              (*outputs)[seen.index][seen.element]);
  }
  return probe;
}

/// A row whose squares add up to more than f32 holds gives NaN, not zeros.
Result<Probe> range(const Bench& bench) {
  constexpr uint32_t width = 64;
  std::vector<float> rows(width, 0x1p60f), want(width, 1.0f);  // 64·2^120 is finite
  rows.insert(rows.end(), width, 0x1p62f);                     // 64·2^124 is not
  want.insert(want.end(), width, nan);
  Builder builder(2);
  builder.add(op::RmsNorm{1e-5f}, {builder.given(width, rows)},
              builder.weight(std::vector<float>(width, 1.0f)));
  const auto got = bench.last(builder);
  if (!got) return got.error();
  return judged("norm's range", *got, want, "squares beyond f32 give NaN");
}

/// x + zeros, as logits: rows that were selected.
void add_logits(Builder& builder, uint32_t x, uint32_t zeros) {
  op::Program& program = builder.program();
  const uint32_t logits = program.add_value("logits", program.values[x].width, true);
  builder.add({.name = "logits",
               .of = op::Add{},
               .inputs = {x, zeros},
               .output = logits,
               .role = op::Role::logits});
}

/// The best of 20000 logits, many of them equal.
Result<Probe> best_logits(const Bench& bench) {
  constexpr uint32_t width = 20000;
  Random random(9);
  std::vector<float> logits(width);
  for (float& logit : logits) logit = float(int32_t(random.below(2000)) - 1000) / 8;
  logits[7] = logits[4321] = infinity, logits[8] = -infinity, logits[9] = logits[2048] = nan;
  Probe probe{"best logits", "in order, ties to the lower id"};
  for (const uint32_t most : {1u, 40u, 256u}) {
    Builder builder(1);
    const uint32_t x = builder.given(width, logits);
    const uint32_t zeros = builder.given(width, std::vector<float>(width, 0.0f));
    add_logits(builder, x, zeros);
    const auto got = bench.best(builder, most);
    if (!got) return got.error();
    const auto want = op::best_of(logits, most);
    if (got->size() != want.size())
      return Probe{probe.name, fmt::format("{} of {}", got->size(), want.size()), false};
    for (size_t i = 0; i < want.size(); ++i)
      if ((*got)[i].id != want[i].id || (*got)[i].logit != want[i].logit)
        return Probe{probe.name,
                     fmt::format("number {} of {} is token {} with {:.9g}, {} with {:.9g} is right",
                                 i, most, (*got)[i].id, (*got)[i].logit, want[i].id, want[i].logit),
                     false};
  }
  return probe;
}

/// The token that a rule draws, by its definition (docs/numbers.md, "Drawing a token").
int32_t drawn_by(const op::Drawing& how, std::span<const float> logits, uint64_t position) {
  auto best = op::best_of(logits, how.top_k);
  const auto weights = [&](float temperature) {
    std::vector<uint64_t> list;
    for (const op::Candidate& c : best)
      list.push_back(weight_of_share(share_of_best(c.logit, best[0].logit, temperature)));
    return list;
  };
  const auto keep_up_to = [&](const std::vector<uint64_t>& list, uint64_t wanted) {
    uint64_t sum = 0;
    size_t keep = 0;
    while (keep < best.size() && sum < wanted) sum += list[keep++];
    best.resize(std::max<size_t>(keep, 1));
  };
  const auto sum_of = [](const auto& list) {
    return std::accumulate(list.begin(), list.end(), uint64_t(0));
  };
  const auto plain = weights(1.0f);
  keep_up_to(plain, top_p_of(sum_of(plain), how.top_p));
  const auto likely = std::ranges::find_if(
      best, [&](auto& c) { return share_of_best(c.logit, best[0].logit, 1.0f) < how.min_p; });
  best.erase(likely, best.end());
  const auto last = weights(how.temperature);
  keep_up_to(last, high_product(random_bits(how.seed, position), sum_of(last)) + 1);
  return best.back().id;
}

/// Eight tokens in a row that the device draws by itself, from a table of logits by token. Nothing
/// where it draws none.
Result<std::optional<Probe>> drawn_tokens(const Bench& bench) {
  constexpr uint32_t width = 300, count = 8;
  Random random(11);
  std::vector<float> table(width * width);
  for (float& logit : table) logit = float(random.below(4096)) / 256;
  Builder builder(width);
  const uint32_t x = builder.given(width, table);
  const uint32_t zeros = builder.given(width, std::vector<float>(table.size(), 0.0f));
  add_logits(builder, x, zeros);
  const Case one = builder.finish("probe");
  uint32_t draws = 0;
  for (const op::Drawing& how : {op::Drawing{0.8f, 0.95f, 0.05f, 40, 1},
                                 op::Drawing{4.0f, 0.7f, 0.0f, 256, uint64_t(1) << 40}}) {
    const auto got = bench.drawn(one, how, count);
    if (!got) return got.error();
    if (got->empty()) return std::optional<Probe>();
    int32_t token = 0;
    for (uint32_t i = 0; i < count; ++i, ++draws) {
      token = drawn_by(how, std::span(table).subspan(uint64_t(token) * width, width), i + 1);
      if ((*got)[i] != token)
        return std::optional(Probe{
            "drawn tokens",
            fmt::format("draw {} is token {}, {} is right", draws + 1, (*got)[i], token), false});
    }
  }
  return std::optional(Probe{"drawn tokens", fmt::format("{} in their turn", draws)});
}

}  // namespace

Result<std::vector<Probe>> probe(const Settings& settings) {
  const Bench bench(settings);
  std::vector<Probe> probes;
  using Ask = Result<Probe> (*)(const Bench&);
  for (const Ask ask : std::initializer_list<Ask>{
           half_weights, half_cache, division, square_root, written_fma, contraction, reassociation,
           ties, denormals, floor, [](const Bench& b) { return special(b, nan); },
           [](const Bench& b) { return special(b, infinity); }, range, best_logits}) {
    const auto answer = ask(bench);
    if (!answer) return answer.error();
    probes.push_back(*answer);
  }
  const auto drawn = drawn_tokens(bench);
  if (!drawn) return drawn.error();
  if (*drawn) probes.push_back(**drawn);
  return probes;
}

}  // namespace assay::verify
