// Routers and experts: rows 33 and 34 of the catalogue.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "diagnose/case.h"
#include "judge/product.h"

namespace assay::diagnose {

using judge::Judged;
using judge::Table;

namespace {

/// With another routing in its place.
Judged expect_by(const Case& the, const Table& routing) {
  const Table* inputs[] = {&the.input(0), &routing};
  return expect_from(the, the.operation, inputs);
}

// --- routers ---

/// The router's weights before they are renormalised and scaled, of the usual choice.
Judged plain_weights(const Case& the) {
  op::Operation altered = the.operation;
  altered.as<op::Route>()->renormalise = 0;
  altered.as<op::Route>()->scale = 1;
  return expect_as(the, altered);
}

/// Offers weights that `change` makes of a token's plain ones, then renormalised and scaled as usual.
template <class Change>
void offer_weights(const Case& the, Contest& contest, Cause cause, const Change& change) {
  const auto& router = *the.operation.as<op::Route>();
  Judged judged = plain_weights(the);
  for (uint64_t t = 0; t < judged.want.rows; ++t) {
    const auto ids = judged.want.row(t).first(router.used);
    const auto weights = judged.want.row(t).subspan(router.used);
    change(t, ids, weights);
    const double sum =
        router.renormalise ? std::accumulate(weights.begin(), weights.end(), 0.0) : 1.0;
    for (double& weight : weights)
      weight *= double(router.scale) / std::max(sum, judge::absolute_floor);
    for (uint32_t u = 0; u < router.used; ++u)
      judged.scale.row(t)[router.used + u] = std::fabs(weights[u]);
  }
  judged.limit = the.usual.limit;
  contest.offer(std::move(cause), judged);
}

}  // namespace

void try_route(const Case& the, Contest& contest) {
  const op::Route own = *the.operation.as<op::Route>();
  const bool biased = the.operation.bias != op::none;
  const auto with = [&](Cause cause, const auto& change) {
    op::Operation altered = the.operation;
    change(altered, *altered.as<op::Route>());
    contest.offer(std::move(cause), expect_as(the, altered));
  };
  using op::Operation, op::Route;
  if (own.renormalise)
    with({"route-not-renormalised", "the weights are not divided by their sum", ""},
         [](Operation&, Route& r) { r.renormalise = 0; });
  else
    with({"route-renormalised", "the weights are divided by their sum", ""},
         [](Operation&, Route& r) { r.renormalise = 1; });
  if (own.scale != 1)
    with({"route-scale-missing", "the weights are not scaled",
          fmt::format("the factor is {:.7g}", own.scale)},
         [](Operation&, Route& r) { r.scale = 1; });
  if (biased)
    with({"route-bias-ignored", "the choice does not ask the bias", ""},
         [](Operation& o, Route&) { o.bias = op::none; });
  if (own.used_groups < own.groups)
    with({"route-groups-ignored", "experts of every group are chosen", ""},
         [](Operation&, Route& r) { r.groups = r.used_groups = 1, r.by_two = 0; });
  if (!contest.decided())
    with({"route-other-function",
          own.sigmoid     ? "the weights are a softmax, not sigmoids"
          : own.of_chosen ? "the softmax is taken before the choice"
                          : "the softmax is taken after the choice",
          ""},
         [](Operation&, Route& r) {
           if (!r.sigmoid) r.of_chosen = !r.of_chosen;
           r.sigmoid = 0;
         });
  if (!own.sigmoid && !own.of_chosen && !contest.decided())
    with({"route-other-function", "the weights are sigmoids, not a softmax", ""},
         [](Operation&, Route& r) { r.sigmoid = 1; });
  if (contest.decided()) return;
  if (biased && !own.of_chosen) {
    const auto b = judge::decode_row(*the.program.bias_of(the.operation), 0);
    offer_weights(the, contest, {"route-bias-in-weight", "the bias stays in the weights", ""},
                  [&](uint64_t, auto ids, auto weights) {
                    for (size_t u = 0; u < weights.size(); ++u) weights[u] += b[size_t(ids[u])];
                  });
  }
  // What stands in the places that are left is nobody's choice.
  for (uint32_t used = own.used - 1; used > 0 && !contest.decided(); --used)
    offer_weights(the, contest,
                  {"route-one-short",
                   own.used - used == 1 ? "one expert less is chosen" : "fewer experts are chosen",
                   fmt::format("{} instead of {}", used, own.used)},
                  [&](uint64_t t, auto ids, auto weights) {
                    std::ranges::fill(weights.subspan(used), 0.0);
                    std::ranges::copy(the.got().row(t).subspan(used, own.used - used),
                                      ids.begin() + used);
                  });
}

// --- products ---

namespace {

/// Each expert's results: token and slot, in the order of tokens.
using Places = std::map<uint64_t, std::vector<std::pair<uint64_t, uint64_t>>>;

Places places_of(const Table& routing, uint64_t experts) {
  Places places;
  for (uint64_t t = 0; t < routing.rows; ++t)
    for (uint64_t slot = 0; slot < routing.width / 2; ++slot)
      if (const double id = routing.row(t)[slot]; id >= 0 && id < double(experts))
        places[uint64_t(id)].emplace_back(t, slot);
  return places;
}

/// The routing with other ids: of(id, token, slot).
template <class Of>
Table renamed(const Table& routing, const Of& of) {
  Table out = routing;
  for (uint64_t t = 0; t < out.rows; ++t)
    for (uint64_t slot = 0; slot < out.width / 2; ++slot)
      out.row(t)[slot] = of(routing.row(t)[slot], slot);
  return out;
}

/// An expert's tokens beyond whole tiles stay unwritten.
void try_tiles(const Case& the, Contest& contest, const Places& places) {
  const uint64_t rows = the.got().width / (the.input(1).width / 2);
  for (const uint64_t tile : {2u, 4u, 8u, 16u, 32u, 64u}) {
    if (contest.decided()) return;
    Table want = the.usual.want;
    for (const auto& [expert, list] : places)
      for (uint64_t i = list.size() > tile ? list.size() / tile * tile : list.size();
           i < list.size(); ++i) {
        const auto part = want.row(list[i].first).subspan(list[i].second * rows, rows);
        std::ranges::fill(part, 0.0);
      }
    contest.offer({"expert-tail", "an expert's last tokens stay unwritten",
                   fmt::format("those beyond whole tiles of {}", tile)},
                  std::move(want), price::of(6));
  }
}

/// One expert's products as a matmul of its own.
Cause cause_of_expert(const Case& the, uint64_t expert,
                      const std::vector<std::pair<uint64_t, uint64_t>>& list) {
  const op::Weight& whole = the.program.weights[the.operation.weight];
  const uint64_t rows = whole.rows / the.operation.as<op::MatmulExperts>()->experts;
  op::Program program;
  program.layers = 1;
  program.caches = {{1, 1, 1}};
  op::Weight weight = whole;
  weight.rows = rows;
  weight.data = whole.data.subspan(expert * rows * whole.row_bytes(), rows * whole.row_bytes());
  op::Operation operation{.name = the.operation.name, .of = op::Matmul{}, .layer = 0};
  operation.inputs = {program.add_value("x", uint32_t(whole.columns))};
  operation.weight = program.add_weight(weight);
  if (const op::Weight* bias = the.program.bias_of(the.operation)) {
    op::Weight one = *bias;
    one.rows = 1;
    one.data = bias->row(expert);
    operation.bias = program.add_weight(one);
  }
  program.append(operation);
  diff::Scene scene = the.scene;
  scene.operation = 0;
  scene.tokens.tokens.assign(list.size(), 0);
  scene.tokens.positions.resize(list.size());
  std::iota(scene.tokens.positions.begin(), scene.tokens.positions.end(), 0u);
  const Table& x = the.input(0);
  const bool each = x.width != whole.columns;
  scene.inputs = {Table(list.size(), whole.columns)};
  scene.output = Table(list.size(), rows);
  for (size_t i = 0; i < list.size(); ++i) {
    const auto [t, slot] = list[i];
    std::ranges::copy(x.row(t).subspan(each ? slot * whole.columns : 0, whole.columns),
                      scene.inputs[0].row(i).begin());
    std::ranges::copy(the.got().row(t).subspan(slot * rows, rows), scene.output.row(i).begin());
  }
  Case one{program, program.operations[0], nullptr, nullptr, std::move(scene), {}, {}};
  one.usual = diff::expect(program, one.scene);
  one.seen = judge::compare(one.got(), one.usual);
  if (one.seen.failures == 0) return {"right", "", ""};
  Contest contest(one);
  try_matmul(one, contest);
  return contest.result();
}

/// What a product can have, where every expert that fails has the same.
void try_each_expert(const Case& the, Contest& contest, const Places& places) {
  std::map<std::string, Cause> causes;
  uint64_t failing = 0;
  for (const auto& [expert, list] : places) {
    Cause cause = cause_of_expert(the, expert, list);
    if (cause.id == "right") continue;
    ++failing;
    causes.emplace(cause.id, std::move(cause));
    if (causes.size() > 1) return;
  }
  if (causes.empty() || causes.begin()->first == "unknown") return;
  Cause cause = causes.begin()->second;
  cause.evidence += fmt::format("; so in each of the {} experts that fail", failing);
  contest.adopt(std::move(cause));
}

}  // namespace

void try_experts(const Case& the, Contest& contest) {
  const uint64_t experts = the.operation.as<op::MatmulExperts>()->experts;
  const Table& routing = the.input(1);
  const Places places = places_of(routing, experts);
  if (the.operation.bias != op::none) {
    op::Operation altered = the.operation;
    altered.bias = op::none;
    contest.offer({"bias", "the bias is not added", ""}, expect_as(the, altered));
  }
  for (uint64_t ahead = 1; ahead < std::min<uint64_t>(experts, 4); ++ahead)
    contest.offer({"expert-off-by-one", "another expert's rows are read",
                   fmt::format("expert e reads those of e + {}", ahead)},
                  expect_by(the, renamed(routing,
                                         [&](double id, uint64_t) {
                                           const bool known = id >= 0 && id < double(experts);
                                           return known ? double((uint64_t(id) + ahead) % experts)
                                                        : id;
                                         })),
                  price::of(3));
  contest.offer({"expert-of-first-token", "every token has the first token's experts", ""},
                expect_by(the, renamed(routing, [&](double, uint64_t slot) {
                            return routing.row(0)[slot];
                          })));
  try_tiles(the, contest, places);
  if (!the.scene.coding.is_plain() && !contest.decided()) {
    Case plain = the;
    plain.scene.coding = {};
    contest.offer({"contract-f32", "activations are not quantised", "", true},
                  expect_as(plain, the.operation));
  }
  if (!contest.decided()) try_each_expert(the, contest, places);
}

void try_expert_scale(const Case& the, Contest& contest) {
  const op::Operation& own = the.operation;
  if (own.bias == op::none)
    return void(contest.offer({"expert-scale-missing", "the experts' factors are left out", ""},
                              Table(the.input(0))));
  op::Operation altered = own;
  altered.bias = op::none;
  contest.offer({"bias", "the bias is not added", ""}, expect_as(the, altered));
  // What the bias adds is the difference of the two.
  const Table product = expect_as(the, altered).want;
  Table want = the.input(0);
  for (size_t i = 0; i < want.data.size(); ++i)
    want.data[i] += the.usual.want.data[i] - product.data[i];
  contest.offer({"expert-scale-missing", "the experts' factors are left out", ""}, std::move(want));
}

void try_weights(const Case& the, Contest& contest) {
  const auto reweighted = [&](const auto& change) {
    Table routing = the.input(1);
    for (uint64_t t = 0; t < routing.rows; ++t)
      for (double& weight : routing.row(t).subspan(routing.width / 2)) weight = change(weight);
    return routing;
  };
  const auto* mix = the.operation.as<op::MixExperts>();
  if (mix && !mix->weighted) {
    op::Operation altered = the.operation;
    altered.as<op::MixExperts>()->weighted = 1;
    contest.offer({"experts-weighted-twice", "the experts are weighted once more", ""},
                  expect_as(the, altered));
    return;
  }
  contest.offer({"experts-unweighted", "the experts' weights are left out", ""},
                expect_by(the, reweighted([](double) { return 1.0; })));
  contest.offer({"experts-weighted-twice", "the experts' weights are applied twice", ""}, [&] {
    Judged judged = expect_by(the, reweighted([](double w) { return w * w; }));
    for (double& limit : judged.limit.data) limit += 1;  // the square is rounded
    return judged;
  }());
}

}  // namespace assay::diagnose
