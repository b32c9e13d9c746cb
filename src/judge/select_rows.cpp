#include "judge/kind.h"

namespace assay::judge {

template <>
Table formula_of(const Subject& subject, const op::SelectRows&) {
  const auto& selected = subject.inputs.step.selected;
  return by_row(selected.size(), subject.x().width,
                [&](uint64_t i) { return subject.x().row(selected[i]); });
}

template <>
Judged expect_of(const Subject& subject, const op::SelectRows& p, const Coding&,
                 const Arithmetic&) {
  return of_rows(formula_of(subject, p), copy_limit);
}

}  // namespace assay::judge
