#include "common.h"

const char* commit() {
  return ASSAY_COMMIT;
}
