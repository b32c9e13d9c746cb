// Row 25: two runs of one engine on equal inputs. A hypothesis cannot reproduce a race, but two
// traces show it.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "diagnose/race.h"

namespace assay::diagnose {

namespace {

using trace::Trace;

bool one_engine(const Trace& a, const Trace& b) {
  for (const char* key : {"engine", "contract", "model_sha256"})
    if (a.metadata(key).empty() || a.metadata(key) != b.metadata(key)) return false;
  return std::ranges::equal(a.steps(), b.steps(), [](const auto& x, const auto& y) {
    return x.tokens == y.tokens && x.positions == y.positions && x.selected == y.selected;
  });
}

}  // namespace

Result<std::optional<Race>> find_race(const Trace& a, const Trace& b) {
  if (!one_engine(a, b)) return std::optional<Race>();
  for (const auto& tensor : a.tensors()) {
    const auto* other = b.find(tensor.step, tensor.name);
    if (!other || other->rows != tensor.rows || other->width != tensor.width) continue;
    const auto x = a.values(tensor), y = b.values(*other);
    if (!x) return x.error();
    if (!y) return y.error();
    const auto same = [](double p, double q) { return std::memcmp(&p, &q, sizeof p) == 0; };
    const auto at = size_t(std::ranges::mismatch(x->data, y->data, same).in1 - x->data.begin());
    if (at == x->data.size()) continue;
    uint64_t unequal = 0;
    for (size_t i = at; i < x->data.size(); ++i) unequal += !same(x->data[i], y->data[i]);
    return std::optional(
        Race{tensor.name,
             {"race", "a race, a missing barrier or aliasing",
              fmt::format("two runs of this engine differ in {} of step {} on equal inputs: {} of "
                          "{} elements, from token {} channel {} on ({:.7g} and {:.7g})",
                          tensor.name, tensor.step, unequal, x->data.size(), at / x->width,
                          at % x->width, x->data[at], y->data[at])}});
  }
  return std::optional<Race>();
}

}  // namespace assay::diagnose
