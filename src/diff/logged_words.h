// What a comparison of a log says: its notes and its verdict.
#pragma once

#include "diff/logged.h"

namespace assay::diff {

/// Fills in verdict, sentence, notes and `first` from the judged values, which are brought into the
/// program's order. `strange`: a line of a layer that the model doesn't have; nullptr: none.
void conclude(const op::Program& program, const trace::TextLog& log, const trace::LogRow* strange,
              LogReport& report);

}  // namespace assay::diff
