#include "verify/stored.h"
namespace assay::verify {
const Stored& stored_bits() {
  static const Stored stored = {"emulated", "assay/1", Level::quick, {}};
  return stored;
}
}  // namespace assay::verify
