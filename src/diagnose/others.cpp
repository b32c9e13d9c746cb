// Norms, activations, additions, embeddings, and what can happen to any result.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "diagnose/case.h"

namespace assay::diagnose {

using judge::Table;

namespace {

/// A norm as an engine may have it.
struct Norm {
  uint32_t parts;
  double eps;
  bool centred;
  std::vector<double> weight, bias;
};
Norm norm_of(const Case& the) {
  const auto* layer = the.operation.as<op::LayerNorm>();
  const auto* rms = the.operation.as<op::RmsNorm>();
  const op::Weight* bias = the.program.bias_of(the.operation);
  return {op::parts_of(the.operation), double(layer ? layer->eps : rms->eps), layer != nullptr,
          judge::decode_row(the.program.weights[the.operation.weight], 0),
          bias ? judge::decode_row(*bias, 0) : std::vector<double>()};
}

Table normed(const Case& the, const Norm& norm) {
  const Table& x = the.input(0);
  Table y(x.rows, x.width);
  for (uint64_t t = 0; t < x.rows; ++t) {
    const auto row = y.row(t);
    if (norm.centred)
      std::ranges::copy(judge::layer_norm(x.row(t), norm.parts, norm.weight, norm.bias, norm.eps),
                        row.begin());
    else
      std::ranges::copy(judge::rms_norm(x.row(t), norm.parts, norm.weight, norm.eps), row.begin());
    for (size_t i = 0; i < row.size() && !norm.centred && !norm.bias.empty(); ++i)
      row[i] += norm.bias[i % norm.bias.size()];
  }
  return y;
}

/// eps from the factor by which a part's results, less the bias, differ from the usual ones.
double fitted_eps(const Case& the, const Norm& norm) {
  double eps = -1, most = 0;
  const Table &x = the.input(0), &got = the.got(), &want = the.usual.want;
  const uint64_t n = got.width / norm.parts;
  const auto bias = [&](uint64_t i) {
    return norm.bias.empty() ? 0.0 : norm.bias[i % got.width % norm.bias.size()];
  };
  for (uint64_t first = 0; first < got.data.size(); first += n) {
    double mean = 0, squares = 0, along = 0, size = 0;
    for (uint64_t i = first; i < first + n && norm.centred; ++i) mean += x.data[i] / double(n);
    for (uint64_t i = first; i < first + n; ++i) {
      squares += (x.data[i] - mean) * (x.data[i] - mean) / double(n);
      along += (got.data[i] - bias(i)) * (want.data[i] - bias(i));
      size += (want.data[i] - bias(i)) * (want.data[i] - bias(i));
    }
    const double factor = along / size;
    if (!(std::fabs(factor - 1) > most)) continue;
    most = std::fabs(factor - 1);
    eps = (squares + norm.eps) / (factor * factor) - squares;
  }
  return eps;
}

/// bf16 has 8 significant bits.
double round_to_bf16(double x) {
  if (!std::isfinite(x) || x == 0) return x;
  const double spacing = std::ldexp(1.0, std::ilogb(x) - 7);
  return std::nearbyint(x / spacing) * spacing;
}

/// The factor that least squares finds between two tables.
double factor_between(const Table& got, const Table& want) {
  double along = 0, size = 0;
  for (size_t i = 0; i < want.data.size(); ++i) {
    if (!std::isfinite(got.data[i])) return NAN;
    along += got.data[i] * want.data[i];
    size += want.data[i] * want.data[i];
  }
  return double(float(along / size));
}

/// All of the result times one factor.
void offer_scaled(const Case& the, Contest& contest, const Cause& cause) {
  const double factor = factor_between(the.got(), the.usual.want);
  if (!std::isfinite(factor) || factor == 0) return;
  contest.offer_rounded(factor, [&](double by) {
    Cause named = cause;
    named.evidence = fmt::format("by {:.7g}", by);
    return std::pair(named, scaled_by(the, [by](uint64_t) { return by; }));
  });
}

/// A number fitted to fewer elements explains them whatever they are.
constexpr uint64_t enough_for_a_fit = 16;

/// Of silu: whether e^-gate, as the results tell it, is off by a small k·|gate|: what a compiler
/// that may reorder sums, or a short constant, makes of its range reduction.
void note_exponential(const Case& the, Contest& contest) {
  const Table &gate = the.input(0), &up = the.input(1);
  double along = 0, size = 0, square = 0, right_to = INFINITY;
  uint64_t below = 0, fitted = 0;
  std::set<size_t> tokens;
  std::vector<double> passed;
  for (size_t i = 0; i < gate.data.size(); ++i) {
    const double x = gate.data[i], got = the.got().data[i];
    if (!the.fails(i / gate.width, i % gate.width)) {
      passed.push_back(std::fabs(x));
      continue;
    }
    right_to = std::min(right_to, std::fabs(x));
    // Above, 1 + e^-x hides e^-x behind the rounding of 1.
    if (x > 0.5 || got == 0) continue;
    ++fitted;
    tokens.insert(i / gate.width);
    const double off = (x * up.data[i] / got - 1) * std::exp(x) - 1;
    along += off * -x;
    size += x * x;
    square += off * off;
  }
  if (fitted < enough_for_a_fit || tokens.size() < std::min<size_t>(2, gate.rows)) return;
  for (const double x : passed) below += x < right_to;
  const double k = along / size;
  const double left = 1 - k * along / square;
  // A wrong function is no approximation; a constant factor is not exact anywhere.
  if (!(std::fabs(k) < 1e-3) || !(left < 0.2) || below < 32) return;
  contest.adopt({"fast-math", "the exponential is approximated (a compiler's fast maths?)",
                 fmt::format("right for the {} elements with |x| < {:.3g}; beyond, e^x is off by "
                             "{:.2g}·|x|, which explains {:.0f} % of its error's square",
                             below, right_to, std::fabs(k), 100 * (1 - left))});
}

}  // namespace

void try_norm(const Case& the, Contest& contest) {
  const Norm own = norm_of(the);
  const auto with = [&](Cause cause, auto change, double price = 0) {
    Norm norm = own;
    change(norm);
    contest.offer(std::move(cause), normed(the, norm), price);
  };
  with({"norm-plus-one", "the norm's weight is w + 1", ""}, [](Norm& norm) {
    for (double& w : norm.weight) w += 1;
  });
  with({"norm-weight-minus-one", "the norm's weight is w - 1", "as where it is 1 + w in the model"},
       [](Norm& norm) {
         for (double& w : norm.weight) w -= 1;
       });
  contest.offer({"norm-missing", "the norm is left out", "it gives what it is given"},
                the.input(0));
  with({"norm-weight-twice", "the norm's weight is applied twice", ""}, [](Norm& norm) {
    for (double& w : norm.weight) w *= w;
  });
  with({"norm-weight-omitted", "the norm's weight is left out", ""},
       [](Norm& norm) { std::ranges::fill(norm.weight, 1.0); });
  if (!own.bias.empty()) {
    with({"bias", "the bias is not added", ""}, [](Norm& norm) { norm.bias.clear(); });
    with({"bias", "the bias is added twice", ""}, [](Norm& norm) {
      for (double& b : norm.bias) b *= 2;
    });
  }
  if (own.centred)
    with({"norm-mean-kept", "the mean is not taken away: an RMS norm", ""},
         [](Norm& norm) { norm.centred = false; });
  if (own.parts > 1)
    with({"norm-whole-row", "all heads are normed together", "each has a norm of its own"},
         [](Norm& norm) { norm.parts = 1; });
  if (own.parts > 1 && !contest.decided())
    offer_part_of_heads(the, contest, "they are not normed", the.input(0));
  const op::Weight& weight = the.program.weights[the.operation.weight];
  for (const op::Weight& other : the.program.weights)
    if (&other != &weight && other.rows == weight.rows && other.columns == weight.columns &&
        !contest.decided())
      with(
          {"weight-other", "the norm's weight is another's", other.name},
          [&](Norm& norm) { norm.weight = judge::decode_row(other, 0); },
          price::of(double(the.program.layers)));
  const auto with_eps = [&](double eps) {
    op::Operation altered = the.operation;
    if (auto* norm = altered.as<op::RmsNorm>()) norm->eps = float(eps);
    if (auto* norm = altered.as<op::LayerNorm>()) norm->eps = float(eps);
    return std::pair(Cause{"norm-eps", "the norm's eps is another",
                           fmt::format("{:.3g} instead of {:.3g}", eps, own.eps)},
                     expect_as(the, altered));
  };
  for (const double eps : {0.0, 1e-12, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1})
    if (eps != own.eps) {
      auto [cause, judged] = with_eps(eps);
      contest.offer(std::move(cause), judged, price::of(9));
    }
  if (const double fitted = fitted_eps(the, own); fitted > 0)
    contest.offer_rounded(fitted, with_eps);
}

namespace {

/// "gelu_tanh" as people write it.
std::string_view written(op::Activation activation) {
  switch (activation) {
    case op::Activation::silu:
      return "SiLU";
    case op::Activation::gelu_tanh:
      return "GELU (tanh)";
    case op::Activation::gelu_erf:
      return "GELU (erf)";
    case op::Activation::gelu_quick:
      return "GELU (by the sigmoid)";
    case op::Activation::relu:
      return "ReLU";
    case op::Activation::relu_squared:
      return "ReLU²";
    case op::Activation::sigmoid:
      return "the sigmoid";
    case op::Activation::softplus:
      return "softplus";
    case op::Activation::silu_clamped:
      return "SiLU, clamped";
  }
  return "";
}

std::string id_of(op::Activation activation) {
  std::string id = "activation-" + std::string(op::row_of(activation).name);
  std::ranges::replace(id, '_', '-');
  return id;
}

/// f(gate[i / r])·up[i], or f(x[i]) where there is no gate, with the activation that is tried.
judge::Judged activated(const Case& the, op::Activation activation) {
  const Table& x = the.input(0);
  const bool gates = the.operation.is<op::Gate>();
  const uint64_t r = the.got().width / x.width;
  Table want(the.got().rows, the.got().width), scale = want;
  for (uint64_t t = 0; t < want.rows; ++t)
    for (uint64_t i = 0; i < want.width; ++i) {
      const double g = x.row(t)[i / r], up = gates ? the.input(1).row(t)[i] : 1.0;
      want.row(t)[i] = judge::activate(activation, g) * up;
      // 1 + tanh and 1 + erf cancel for negative gates: their error is one of |gate·up|.
      scale.row(t)[i] = std::max(std::fabs(g * up), std::fabs(want.row(t)[i]));
    }
  judge::Judged judged = with_limits(the, std::move(want));
  judged.scale = std::move(scale);
  return judged;
}

}  // namespace

void try_activation(const Case& the, Contest& contest) {
  const auto* gate = the.operation.as<op::Gate>();
  const op::Activation own = gate ? gate->activation : the.operation.as<op::Activate>()->activation;
  const Table& x = the.input(0);
  if (gate && x.width == the.got().width) {
    const Table* exchanged[] = {&the.input(1), &x};
    contest.offer({"gate-up-swapped", "gate and up are exchanged", ""},
                  expect_from(the, the.operation, exchanged));
  }
  if (gate) contest.offer({"gate-missing", "the gate is left out", ""}, Table(the.input(1)));
  // Those that models have first: of two that fit as well the first is named.
  for (const auto other :
       {op::Activation::gelu_tanh, op::Activation::gelu_erf, op::Activation::relu,
        op::Activation::sigmoid, op::Activation::silu, op::Activation::gelu_quick,
        op::Activation::relu_squared, op::Activation::softplus})
    if (other != own)
      contest.offer({id_of(other), fmt::format("the activation is {}", written(other)), ""},
                    activated(the, other));
  if (gate && own == op::Activation::silu && x.width == the.got().width)
    note_exponential(the, contest);
}

void try_xielu(const Case& the, Contest& contest) {
  op::Operation altered = the.operation;
  altered.as<op::Xielu>()->beta = 0;
  contest.offer({"xielu-line-missing", "beta·x is not added", ""}, expect_as(the, altered));
}

void try_scale(const Case& the, Contest& contest) {
  const float factor = the.operation.as<op::Scale>()->factor;
  op::Operation altered = the.operation;
  altered.as<op::Scale>()->factor = 1;
  contest.offer({"factor-missing", "the factor is left out", fmt::format("{:.7g}", factor)},
                expect_as(the, altered));
  altered.as<op::Scale>()->factor = 1 / factor;
  judge::Judged divided = expect_as(the, altered);
  for (double& limit : divided.limit.data) limit += 1;  // 1/factor is rounded, too
  contest.offer(
      {"factor-divides", "the values are divided by the factor", fmt::format("{:.7g}", factor)},
      divided);
  if (the.operation.bias == op::none) return;
  altered = the.operation;
  altered.bias = op::none;
  judge::Judged without = expect_as(the, altered);
  contest.offer({"bias", "the bias is added twice", ""}, twice(the, without));
  contest.offer({"bias", "the bias is not added", ""}, without);
}

void try_soft_cap(const Case& the, Contest& contest) {
  contest.offer({"cap-missing", "the values are not capped", ""}, Table(the.input(0)));
}

void try_clamp(const Case& the, Contest& contest) {
  contest.offer({"clamp-missing", "the values are not clamped", ""}, Table(the.input(0)));
}

void try_position_scale(const Case& the, Contest& contest) {
  contest.offer({"temperature-missing", "the factor of the position is left out", ""},
                Table(the.input(0)));
}

/// A cache that is shown whole, where earlier rows are not as they were stored: whose they are.
static void try_earlier_rows(const Case& the, Contest& contest) {
  const uint64_t before = the.got().rows - the.tokens(), page = op::page_positions;
  const auto with = [&](const std::function<double(uint64_t row, uint64_t column)>& value) {
    Table want = the.usual.want;
    for (uint64_t t = 0; t < before; ++t)
      for (uint64_t i = 0; i < want.width; ++i)
        if (the.fails(t, i)) want.row(t)[i] = value(t, i);
    return want;
  };
  contest.offer({"kv-page", "keys and values that were stored are zeros in the cache", ""},
                with([](uint64_t, uint64_t) { return 0.0; }));
  for (int64_t shift : {int64_t(1), int64_t(-1), int64_t(page), -int64_t(page)}) {
    const auto from = [&](uint64_t t) { return int64_t(t) + shift; };
    const bool there = [&] {
      for (uint64_t t = 0; t < before; ++t)
        for (uint64_t i = 0; i < the.got().width; ++i)
          if (the.fails(t, i) && (from(t) < 0 || from(t) >= int64_t(the.got().rows))) return false;
      return true;
    }();
    if (there)
      contest.offer(
          {"kv-slot", "the cache holds another position's keys and values",
           fmt::format("those {} position{} {}", std::abs(shift), std::abs(shift) == 1 ? "" : "s",
                       shift > 0 ? "later" : "earlier")},
          with([&](uint64_t t, uint64_t i) { return the.usual.want.row(uint64_t(from(t)))[i]; }));
  }
}

void try_store(const Case& the, Contest& contest) {
  const Table &keys = the.input(0), &values = the.input(1);
  if (the.got().rows > keys.rows) return try_earlier_rows(the, contest);
  const auto stored = [&](const Table& k, const Table& v) {
    const Table* inputs[] = {&k, &v};
    return expect_from(the, the.operation, inputs);
  };
  if (keys.width == values.width)
    contest.offer({"kv-exchanged", "keys are stored as values, and values as keys", ""},
                  stored(values, keys));
  contest.offer({"kv-page", "positions of the cache hold something else", "zeros"},
                Table(the.got().rows, the.got().width));
  for (size_t i = 0; i < the.program.operations.size() && !contest.decided(); ++i) {
    const op::Operation& other = the.program.operations[i];
    if (!other.is<op::KvStore>() || &other == &the.operation) continue;
    auto scene = the.scene_at(the.scene.step, i);
    if (scene && scene->output.rows == the.got().rows && scene->output.width == the.got().width)
      contest.offer({"kv-page", "positions of the cache hold something else",
                     fmt::format("those of layer {}", other.layer)},
                    std::move(scene->output), price::of(double(the.program.layers)));
  }
  const uint32_t heads = the.program.caches[the.operation.as<op::KvStore>()->cache].kv_heads;
  for (const op::RopeTable& rope : the.program.rope_tables) {
    if (rope.growth || rope.dimensions > keys.width / heads || contest.decided()) continue;
    Table turned(keys.rows, keys.width);
    for (uint64_t t = 0; t < keys.rows; ++t)
      std::ranges::copy(judge::rope(keys.row(t), rope, heads, the.positions()[t]),
                        turned.row(t).begin());
    judge::Judged judged = stored(turned, values);
    // A turn is rounded before it is kept: its error may choose the other neighbour.
    if (judged.slack.data.empty()) judged.slack = Table(turned.rows, the.got().width);
    for (uint64_t t = 0; t < turned.rows; ++t)
      for (uint64_t i = 0; i < turned.width; ++i)
        judged.slack.row(t)[i] = std::fabs(turned.row(t)[i]) * 2 *
                                 std::max(judge::coarse_ulp(the.scene.arithmetic.kv.type), 0x1p-21);
    contest.offer({"rope-added", "keys are turned where the model has no RoPE", ""}, judged);
  }
}

/// Whether the tensor is a norm of what the branch is added to.
static bool is_norm_of_residual(const Case& the, std::string_view name) {
  return std::ranges::any_of(the.program.operations, [&](const op::Operation& other) {
    return other.name == name && (other.is<op::RmsNorm>() || other.is<op::LayerNorm>()) &&
           other.inputs[0] == the.operation.inputs[0];
  });
}

/// The last addition of a layer gives what the layer was given.
static bool try_missing_layer(const Case& the, Contest& contest) {
  if (the.operation.layer == op::none) return false;
  const op::Operation* first = nullptr;
  for (const op::Operation& other : the.program.operations)
    if (other.is<op::Add>() && other.layer == the.operation.layer && !first) first = &other;
  if (!first) return false;
  Table before = the.tensor(the.program.values[first->inputs[0]].name);
  if (before.rows != the.got().rows || before.width != the.got().width) return false;
  if (first != &the.operation)
    return contest.offer(
        {"layer-missing", "the layer is left out: what it gives is what it is given", ""},
        std::move(before));
  // The first of two: so is the second, which then gives the same.
  for (size_t i = 0; i < the.program.operations.size(); ++i) {
    const op::Operation& other = the.program.operations[i];
    if (!other.is<op::Add>() || other.layer != the.operation.layer || &other == &the.operation)
      continue;
    const auto scene = the.scene_at(the.scene.step, i);
    if (scene && scene->output.data == the.input(0).data)
      return contest.offer(
          {"layer-missing", "the layer is left out: what it gives is what it is given", ""},
          std::move(before));
  }
  return false;
}

void try_add(const Case& the, Contest& contest) {
  const Table &a = the.input(0), &b = the.input(1);
  contest.offer({"residual-missing", "the residual is not added", ""}, b);
  if (!try_missing_layer(the, contest))
    contest.offer({"branch-missing", "the block's branch is not added", ""}, a);
  const std::vector<trace::TraceTensor> none;
  // Another tensor of this step in the residual's place: its norm, an earlier residual.
  for (const auto& tensor : the.trace ? the.trace->tensors() : none) {
    if (contest.decided() || tensor.name == the.operation.name) break;
    if (tensor.step != the.scene.step || tensor.rows != a.rows || tensor.width != a.width) continue;
    const Table other = the.tensor(tensor.name);
    if (other.data.empty()) continue;
    const bool norm = is_norm_of_residual(the, tensor.name);
    contest.offer({norm ? "residual-after-norm" : "residual-parallel",
                   norm ? "the residual is taken after the norm"
                        : "another tensor is added in the residual's place",
                   tensor.name},
                  mapped(other, b, [](double x, double y) { return x + y; }));
  }
  const Table branch = mapped(the.got(), a, [](double y, double x) { return y - x; });
  const double factor = factor_between(branch, b);
  if (std::isfinite(factor))
    contest.offer_rounded(factor, [&](double by) {
      judge::Judged judged =
          with_limits(the, mapped(a, b, [&](double x, double y) { return x + by * y; }));
      // The product is rounded, too.
      judged.scale =
          mapped(a, b, [&](double x, double y) { return std::fabs(x) + 2 * std::fabs(by * y); });
      return std::pair(
          Cause{"residual-scale", "the branch is scaled", fmt::format("by {:.7g}", by)}, judged);
    });
  offer_scaled(the, contest, {"residual-scale", "the residual is scaled", ""});
}

/// Rows of the vocabulary that the tokens that fail have: all as far from their own, or each another's.
static void try_other_rows(const Case& the, Contest& contest, const op::Weight& weight) {
  const Table& got = the.got();
  std::vector<uint64_t> failing;
  for (uint64_t t = 0; t < got.rows; ++t)
    for (uint64_t i = 0; i < got.width; ++i)
      if (the.fails(t, i)) {
        failing.push_back(t);
        break;
      }
  // What the model makes of a row: its own token's factor, if there is one, is the same for all.
  const auto row_of = [&](uint64_t row) { return judge::decode_row(weight, row); };
  std::vector<uint64_t> rows(got.rows);
  for (uint64_t t = 0; t < got.rows; ++t) rows[t] = uint64_t(the.scene.tokens.tokens[t]);
  std::vector<uint64_t> found(got.rows, op::none);
  const double rounding = std::max(0x1p-22, judge::coarse_ulp(result_of(the)));
  for (uint64_t row = 0; row < weight.rows; ++row) {
    const std::vector<double> values = row_of(row);
    for (const uint64_t t : failing) {
      if (found[t] != op::none) continue;
      uint64_t right = 0;
      for (uint64_t i = 0; i < got.width; ++i)
        right += std::fabs(got.row(t)[i] - values[i]) <= rounding * std::fabs(values[i]);
      if (right * 200 >= got.width * 199) found[t] = row;
    }
  }
  Table want = the.usual.want;
  std::set<int64_t> distances;
  std::string evidence;
  for (const uint64_t t : failing) {
    if (found[t] == op::none) return;
    std::ranges::copy(row_of(found[t]), want.row(t).begin());
    distances.insert(int64_t(found[t]) - int64_t(rows[t]));
    if (evidence.size() < 80)
      evidence += fmt::format("{}token {} has the row of id {}, not {}",
                              evidence.empty() ? "" : ", ", t, found[t], rows[t]);
  }
  const bool shifted = distances.size() == 1 && std::abs(*distances.begin()) <= 16;
  if (shifted)
    contest.offer({"embedding-row", "another row of the embedding is read",
                   fmt::format("{} from the token's own", *distances.begin())},
                  Table(want), price::of(32) + (failing.size() < got.rows ? 6.0 : 0.0));
  contest.offer({"wrong-token", "another token is embedded", evidence}, std::move(want),
                double(failing.size()) * price::of(double(weight.rows)));
}

void try_embed(const Case& the, Contest& contest) {
  offer_scaled(the, contest, {"embedding-scale", "the embedding is scaled", ""});
  const op::Weight& weight = the.program.weights[the.operation.weight];
  if (the.operation.as<op::Embed>()->of_position) {
    for (uint32_t late = 1; late <= 4 && !contest.decided(); ++late) {
      Table shifted(the.got().rows, the.got().width);
      for (uint64_t t = 0; t < shifted.rows; ++t)
        std::ranges::copy(judge::decode_row(weight, std::min<uint64_t>(the.positions()[t] + late,
                                                                       weight.rows - 1)),
                          shifted.row(t).begin());
      contest.offer({"table-shifted", "the table of positions is read late",
                     fmt::format("by {} row{}", late, late == 1 ? "" : "s")},
                    std::move(shifted), price::of(4));
    }
    return;
  }
  if (!contest.decided()) try_other_rows(the, contest, weight);
  if (!the.trace || the.scene.step == 0) return;
  const auto& before = the.steps()[the.scene.step - 1].tokens;
  if (before.size() < the.tokens()) return;
  Table want(the.got().rows, the.got().width);
  for (uint64_t t = 0; t < want.rows; ++t)
    std::ranges::copy(judge::decode_row(weight, uint64_t(before[before.size() - the.tokens() + t])),
                      want.row(t).begin());
  contest.offer({"stale-input", "the tokens are those of the step before", ""}, std::move(want));
}

namespace {

/// Results of the last tokens that nobody wrote.
void try_unwritten(const Case& the, Contest& contest) {
  const Table& got = the.got();
  uint64_t first = got.rows;
  while (first > 0 && std::ranges::all_of(got.row(first - 1), [](double y) { return y == 0; }))
    --first;
  if (first == 0 || first == got.rows) return;
  Table want = the.usual.want;
  std::fill(want.data.begin() + std::ptrdiff_t(first * want.width), want.data.end(), 0.0);
  contest.offer({"unwritten", "results of the last tokens stay unwritten",
                 fmt::format("from row {} of {} on", first, got.rows)},
                std::move(want));
}

}  // namespace

void try_general(const Case& the, Contest& contest) {
  try_unwritten(the, contest);
  const Table &got = the.got(), &want = the.usual.want;
  double most = 0;
  bool above = false, halves = true, brains = true;
  for (size_t i = 0; i < got.data.size(); ++i) {
    if (std::isfinite(got.data[i])) most = std::max(most, std::fabs(got.data[i]));
    above = above || std::fabs(want.data[i]) > 65504;
    halves = halves && (std::isnan(got.data[i]) || judge::round_to_f16(got.data[i]) == got.data[i]);
    brains = brains && (std::isnan(got.data[i]) || round_to_bf16(got.data[i]) == got.data[i]);
  }
  const uint64_t at_most =
      uint64_t(std::ranges::count_if(got.data, [&](double y) { return std::fabs(y) == most; }));
  if (at_most >= 2 && most > 0)
    contest.offer({"clipped", "values are clipped", fmt::format("at {:.4g}", most)},
                  mapped(want, [&](double y) { return std::clamp(y, -most, most); }));
  // A type that the contract gives the result, or a finer one, is no cause.
  const double own = judge::half_ulp(result_of(the));
  if (brains && judge::half_ulp(judge::NumberType::bf16) > own) {
    judge::Judged judged = with_limits(the, mapped(want, round_to_bf16));
    // The engine's own f32 error may choose the other neighbour.
    judged.slack = mapped(want, [](double y) { return std::fabs(y) * 0x1p-7; });
    contest.offer({"bf16-result", "the result is kept as bf16", ""}, judged, 0,
                  16.0 * double(contest.failing().size()));
  }
  if (halves && judge::half_ulp(judge::NumberType::f16) > own) {
    judge::Judged judged =
        with_limits(the, mapped(want, [](double y) { return judge::round_to_f16(y); }));
    judged.slack = mapped(want, [](double y) { return std::fabs(y) * 0x1p-10 + 0x1p-24; });
    for (size_t i = 0; i < want.data.size(); ++i)
      if (!std::isfinite(judged.want.data[i])) judged.scale.data[i] = judged.slack.data[i] = 1;
    contest.offer_overflow(above ? Cause{"f16-overflow", "the result is kept as f16 and overflows",
                                         "its truth exceeds 65504"}
                                 : Cause{"f16-result", "the result is kept as f16", ""},
                           judged, 0, 13.0 * double(contest.failing().size()));
  }
  if (the.seen.not_finite > 0 && the.seen.not_finite == the.seen.failures)
    contest.adopt({"not-finite", "NaN or infinity",
                   fmt::format("{} of {} results", the.seen.not_finite, the.seen.elements)});
}

}  // namespace assay::diagnose
