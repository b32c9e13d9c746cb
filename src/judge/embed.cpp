#include "judge/kind.h"

namespace assay::judge {

template <>
Table formula_of(const Subject& subject, const op::Embed& p) {
  const auto& tokens = subject.inputs.step.tokens;
  return by_row(tokens.size(), subject.weight().columns, [&](uint64_t t) {
    return decode_row(subject.weight(), p.of_position ? subject.position(t) : uint64_t(tokens[t]));
  });
}

// Decoding rounds once, in one way; engines that keep scale and minimum apart round the product,
// too.
template <>
Judged expect_of(const Subject& subject, const op::Embed& p, const Coding&,
                 const Arithmetic& arithmetic) {
  return of_rows(formula_of(subject, p), arithmetic.own ? copy_limit : 2.0);
}

}  // namespace assay::judge
