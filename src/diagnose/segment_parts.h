// Parts of what a segment's operation gave.
#pragma once

#include "diagnose/case.h"
#include "diff/segment.h"

namespace assay::diagnose {

/// Offers that all of an operation's output is scaled. `few` has the segment's first tokens, or all of
/// them, in which the factor is fitted; `contest` is carried to the recorded output.
void try_scaled(const diff::Segment& few, const Case& the, Contest& contest);
/// Offers what no hypothesis of the operation's kind is: a part of its output scaled or zero, a number
/// added to all of it, its channels moved; and factors far from 1.
void try_parts(const diff::Segment& few, const Case& the, Contest& contest);

}  // namespace assay::diagnose
